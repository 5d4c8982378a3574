/** What a nats-server binary says it is. */
import { outputOf } from "./run.mjs";

/** 2.12 brought atomic batches, scheduled messages and per-key TTL, and closes known vulnerabilities of older ones. */
export const MINIMUM_VERSION = "2.12.0";

/** @typedef {{path: string, version: string}} Broker */

/**
 * @param {string} path a file, or a name to look up on PATH
 * @returns {string | undefined} its version, undefined if it is no nats-server that runs here
 */
export function versionOf(path) {
  return /nats-server:\s+v?(\d+\.\d+\.\d+\S*)/.exec(outputOf(path, ["--version"]) ?? "")?.[1];
}

/**
 * A pre-release such as 2.12.0-RC.1 counts as older than 2.12.0.
 * @param {string} version
 */
export function isNewEnough(version) {
  return compareVersions(version, MINIMUM_VERSION) >= 0;
}

/**
 * @param {string} a
 * @param {string} b
 * @returns {number} negative if a is older than b
 */
export function compareVersions(a, b) {
  const [left, right] = [parse(a), parse(b)];
  for (let i = 0; i < 3; i++) {
    const difference = (left.numbers[i] ?? 0) - (right.numbers[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return Number(left.final) - Number(right.final);
}

/** @param {string} version */
function parse(version) {
  const [core = "", ...rest] = version.split("-");
  return { numbers: core.split(".").map(Number), final: rest.length === 0 };
}
