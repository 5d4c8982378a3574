/**
 * One set-up at a time per checkout.
 *
 * Role: mutual exclusion between processes that share the folder, also across containers. Owns: `.cache/setup.lock`.
 * Invariants:
 * 1. The lock file appears with its content, never empty: it is written aside and hard-linked into place.
 * 2. A holder touches it every 2 s. It is stale after 30 s without a touch, or at once if its process on this host is gone.
 * 3. A release removes only the own lock.
 * What is done under the lock is written to temporary names and renamed, so that even a wrongly taken lock corrupts nothing.
 */
import { linkSync, mkdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { dirname } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { readIfThere, unique } from "./files.mjs";
import { say } from "./log.mjs";

const TOUCH_MS = 2_000;
const STALE_MS = 30_000;
const POLL_MS = 200;

/**
 * @template T
 * @param {string} path
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function withLock(path, work) {
  const own = JSON.stringify({ pid: process.pid, host: hostname(), nonce: unique() });
  mkdirSync(dirname(path), { recursive: true });
  let told = false;
  while (!tryTake(path, own)) {
    if (breakIfStale(path)) continue;
    if (!told) say("another set-up of this checkout is running; waiting for it");
    told = true;
    await delay(POLL_MS);
  }
  const release = () => {
    if (readIfThere(path) === own) rmSync(path, { force: true });
  };
  const touching = setInterval(() => touch(path), TOUCH_MS);
  process.once("exit", release);
  try {
    return await work();
  } finally {
    clearInterval(touching);
    process.off("exit", release);
    release();
  }
}

/**
 * @param {string} path
 * @param {string} own
 */
function tryTake(path, own) {
  const aside = `${path}.${unique()}`;
  writeFileSync(aside, own);
  try {
    linkSync(aside, path);
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  } finally {
    rmSync(aside, { force: true });
  }
}

/**
 * @param {string} path
 * @returns {boolean} whether it is worth trying again at once
 */
function breakIfStale(path) {
  const content = readIfThere(path);
  if (content === undefined) return true;
  if (!isStale(path, content)) return false;
  const aside = `${path}.${unique()}`;
  try {
    renameSync(path, aside);
    // Between the look and the rename somebody else may have broken it and taken it: then it is put back.
    if (readIfThere(aside) !== content) linkSync(aside, path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT" && codeOf(error) !== "EEXIST") throw error;
  } finally {
    rmSync(aside, { force: true });
  }
  return true;
}

/**
 * @param {string} path
 * @param {string} content
 */
function isStale(path, content) {
  try {
    if (Date.now() - statSync(path).mtimeMs > STALE_MS) return true;
    const { pid, host } = JSON.parse(content);
    if (host !== hostname() || !Number.isInteger(pid) || pid <= 0) return false;
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return codeOf(error) === "ESRCH" || codeOf(error) === "ENOENT" || error instanceof SyntaxError;
  }
}

/** @param {string} path */
function touch(path) {
  const now = new Date();
  try {
    utimesSync(path, now, now);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
}

/** @param {unknown} error */
function codeOf(error) {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
