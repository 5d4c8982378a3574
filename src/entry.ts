import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Whether the sources run, and not the build. */
const fromSources = import.meta.url.endsWith(".ts");

/** File of an entry of this package that is imported: `index`, `testing`. */
export function entryFile(name: string): string {
  return fileURLToPath(new URL(`./${name}.${fromSources ? "ts" : "js"}`, import.meta.url));
}

/**
 * Arguments of Node that start an entry of its own: as it is from the build; from the sources, `source` below src, with the
 * compiler that also loads users' modules.
 */
export function entryArguments(name: string, source: string): readonly string[] {
  if (!fromSources) return [entryFile(name)];
  const jiti = dirname(createRequire(import.meta.url).resolve("jiti/package.json"));
  return [join(jiti, "lib/jiti-cli.mjs"), fileURLToPath(new URL(source, import.meta.url))];
}
