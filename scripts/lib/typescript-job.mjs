/** Runs a TypeScript program of this checkout inside this process, so that signals and the exit code are its own. */

import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { root } from "./checkout.mjs";

/**
 * @param {string} file relative to the checkout
 * @param {readonly string[]} args what the program sees as process.argv from index 2
 */
export async function runTypeScript(file, args) {
  const path = join(root, file);
  process.argv = [process.execPath, path, ...args];
  // Not a static import: this module is loaded before the dependencies are there.
  const { createJiti } = await import("jiti");
  await createJiti(pathToFileURL(join(root, "package.json")).href, { fsCache: false }).import(path);
}
