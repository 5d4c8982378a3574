/**
 * The process of `vgas test`: loads test files as a node loads modules, so that TypeScript and `vgas` work in any folder. They use
 * node:test, which runs what they say and sets the exit code.
 */
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { createLoader } from "../modules.ts";

const loader = createLoader();
for (const file of process.argv.slice(2)) {
  try {
    await loader.import(pathToFileURL(file).href);
  } catch (error) {
    // As a failed test it is in the summary, and the other files run.
    test(file, () => {
      throw error;
    });
  }
}
