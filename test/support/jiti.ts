import { createRequire } from "node:module";
import { join } from "node:path";

/** The program that runs a TypeScript program, as `npx jiti` does: for examples, which are run as their users run them. */
export const JITI = join(createRequire(import.meta.url).resolve("jiti/package.json"), "..", "lib", "jiti-cli.mjs");
