/** What there is to know about one installed package, from its files alone. Nothing of it is run. */
import { createHash, type Hash } from "node:crypto";
import { type FileHandle, lstat, open, readdir, readFile, readlink } from "node:fs/promises";
import { join } from "node:path";

export interface PackageAudit {
  readonly name: string;
  readonly version: string;
  /** SPDX expression as the package gives it, or "unknown". */
  readonly licence: string;
  readonly files: number;
  readonly bytes: number;
  /** Over all contents in the order of their paths, hexadecimal: the same for the same package on any machine. */
  readonly sha256: string;
  /** What npm runs when it installs the package: `postinstall: node install.js`. */
  readonly installScripts: readonly string[];
  /** What is compiled: `binding.gyp`, and paths of `.node` files. */
  readonly native: readonly string[];
  /** What is wrong with its package.json. */
  readonly problem?: string;
}

const INSTALL_SCRIPTS = ["preinstall", "install", "postinstall"];
/** Longest list of `.node` files that is reported; a package with more has said enough. */
const MAX_NATIVE = 20;
const CHUNK_BYTES = 256 * 1024;

/** @throws the file system's errors; whatever `signal` is aborted with */
export async function inspectPackage(folder: string, location: string, signal: AbortSignal): Promise<PackageAudit> {
  const { fields, problem } = await readManifest(join(folder, "package.json"));
  const paths = (await pathsBelow(folder, "")).sort();
  const hash = createHash("sha256");
  let bytes = 0;
  for (const path of paths) {
    signal.throwIfAborted();
    bytes += await hashFile(hash, folder, path);
  }
  return {
    name: text(fields["name"]) ?? location.slice(location.lastIndexOf("node_modules/") + "node_modules/".length),
    version: text(fields["version"]) ?? "?",
    licence: licenceOf(fields),
    files: paths.length,
    bytes,
    sha256: hash.digest("hex"),
    installScripts: installScriptsOf(fields, paths),
    native: paths.filter((path) => path === "binding.gyp" || path.endsWith(".node")).slice(0, MAX_NATIVE),
    ...(problem === undefined ? {} : { problem }),
  };
}

async function readManifest(path: string): Promise<{ fields: Record<string, unknown>; problem?: string }> {
  const content = await readFile(path, "utf8");
  try {
    // Some editors begin a file with a byte order mark, and npm takes it.
    const value: unknown = JSON.parse(content.replace(/^\uFEFF/, ""));
    if (isRecord(value)) return { fields: value };
    return { fields: {}, problem: "package.json is no object" };
  } catch (error) {
    return { fields: {}, problem: `package.json is not JSON: ${(error as Error).message}` };
  }
}

/** Relative paths of files and links, with slashes. The package's own node_modules holds packages of their own. */
async function pathsBelow(folder: string, below: string): Promise<string[]> {
  const paths: string[] = [];
  for (const entry of await readdir(join(folder, below), { withFileTypes: true })) {
    const path = below === "" ? entry.name : `${below}/${entry.name}`;
    if (entry.isDirectory()) {
      if (path !== "node_modules") paths.push(...(await pathsBelow(folder, path)));
    } else if (entry.isFile() || entry.isSymbolicLink()) paths.push(path);
  }
  return paths;
}

/** Path, length and contents go into the hash, so that no two different trees look the same. Returns the length. */
async function hashFile(hash: Hash, folder: string, path: string): Promise<number> {
  const full = join(folder, path);
  if ((await lstat(full)).isSymbolicLink()) {
    const target = await readlink(full);
    hash.update(`${path}\0link\0${target}\0`);
    return 0;
  }
  const file = await open(full);
  try {
    const { size } = await file.stat();
    hash.update(`${path}\0${size}\0`);
    return await hashContents(hash, file, size, path);
  } finally {
    await file.close();
  }
}

async function hashContents(hash: Hash, file: FileHandle, size: number, path: string): Promise<number> {
  const chunk = new Uint8Array(Math.min(size, CHUNK_BYTES) || 1);
  let total = 0;
  for (;;) {
    const { bytesRead } = await file.read(chunk, 0, chunk.length, null);
    if (bytesRead === 0) break;
    hash.update(chunk.subarray(0, bytesRead));
    total += bytesRead;
  }
  if (total !== size) throw new Error(`${path} changed while it was read`);
  return total;
}

/** All forms that packages of the last fifteen years use. */
function licenceOf(fields: Record<string, unknown>): string {
  const one = (value: unknown): string | undefined =>
    text(value) ?? (isRecord(value) ? text(value["type"]) : undefined);
  const several = [fields["licenses"], fields["license"]].find(Array.isArray);
  const found =
    one(fields["license"]) ?? one(fields["licence"]) ?? several?.map((each) => one(each) ?? "unknown").join(" OR ");
  return found || "unknown";
}

function installScriptsOf(fields: Record<string, unknown>, paths: readonly string[]): readonly string[] {
  const scripts = isRecord(fields["scripts"]) ? fields["scripts"] : {};
  const found = INSTALL_SCRIPTS.flatMap((name) => {
    const command = text(scripts[name]);
    return command === undefined ? [] : [`${name}: ${command}`];
  });
  // npm compiles by itself what has a binding.gyp and says nothing else.
  const compiles = paths.includes("binding.gyp") && fields["gypfile"] !== false;
  if (compiles && text(scripts["install"]) === undefined && text(scripts["preinstall"]) === undefined) {
    found.push("install: node-gyp rebuild (npm's own)");
  }
  return found;
}

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
