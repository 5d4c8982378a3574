/** The lock that all steps of set-up share. Whoever gets it first removes what killed predecessors left. */
import { existsSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { paths, root } from "./checkout.mjs";
import { removeLeftover } from "./files.mjs";
import { withLock } from "./lock.mjs";

/**
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export function withSetupLock(work) {
  return withLock(paths.setupLock, () => {
    removeLeftovers();
    return work();
  });
}

/** Only names that set-up itself makes: mkdtemp's six letters, or the pid and eight hex digits of unique(). */
function removeLeftovers() {
  const inCache = /^(?:(?:install|fetch)-\w{6}|nats-server(?:\.json)?\.\d+-[0-9a-f]{8})$/;
  const inRoot = new RegExp(`^${basename(paths.dist)}\\.\\d+-[0-9a-f]{8}$`);
  for (const [folder, pattern] of /** @type {const} */ ([
    [paths.cache, inCache],
    [root, inRoot],
  ])) {
    if (!existsSync(folder)) continue;
    for (const name of readdirSync(folder)) if (pattern.test(name)) removeLeftover(join(folder, name));
  }
}
