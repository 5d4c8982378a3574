/** File operations that an interruption cannot leave half done. */
import { createHash, randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { root } from "./checkout.mjs";

/** A suffix for temporary names, unique to this process and call. */
export function unique() {
  return `${process.pid}-${randomBytes(4).toString("hex")}`;
}

/**
 * Writes the whole file or nothing.
 * @param {string} path
 * @param {string} text
 */
export function writeWhole(path, text) {
  mkdirSync(dirname(path), { recursive: true });
  const temporary = `${path}.${unique()}`;
  try {
    writeFileSync(temporary, text);
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/**
 * @param {string} path
 * @returns {string | undefined} undefined if there is no such file
 */
export function readIfThere(path) {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR"))
      return undefined;
    throw error;
  }
}

/**
 * @param {string} path
 * @returns {Record<string, unknown> | undefined} undefined if there is no such file, or it holds no JSON object
 */
export function readJsonIfThere(path) {
  const text = readIfThere(path);
  if (text === undefined) return undefined;
  try {
    const value = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/**
 * SHA-256 over names (relative to the checkout) and contents, in a fixed order. A missing file counts as absent, not as an error.
 * @param {readonly string[]} files
 * @returns {string} hex
 */
export function hashFiles(files) {
  const hash = createHash("sha256");
  for (const file of files) {
    const text = readIfThere(file);
    const name = relative(root, file);
    hash.update(`${name.length}:${name}:${text === undefined ? "absent" : text.length}:`).update(text ?? "");
  }
  return hash.digest("hex");
}

/**
 * @param {string} folder
 * @returns {string[]} every file below it, sorted; empty if there is no such folder
 */
export function filesBelow(folder) {
  /** @type {string[]} */
  const found = [];
  /** @param {string} at */
  const walk = (at) => {
    for (const entry of readdirSync(at, { withFileTypes: true })) {
      const path = join(at, entry.name);
      if (entry.isDirectory()) walk(path);
      else found.push(path);
    }
  };
  try {
    walk(folder);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ENOENT")) throw error;
  }
  return found.sort();
}

/**
 * Removes a temporary file or folder. A process that was interrupted may still be writing in it: then a later set-up does it.
 * @param {string} path
 */
export function removeLeftover(path) {
  try {
    rmSync(path, { recursive: true, force: true, maxRetries: 2 });
  } catch (error) {
    if (!(error instanceof Error && "code" in error)) throw error;
  }
}
