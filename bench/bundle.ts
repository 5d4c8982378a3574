/**
 * Bundles the programs that benchmarks run as processes of their own, each once: compiled at every start they would take longer
 * to load than many measurements last, and what is measured would be the compiler's idea of an import.
 */
import { mkdtempSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Plugin, rolldown } from "rolldown";
import { paths, root } from "../scripts/lib/checkout.mjs";

const bundled = new Map<string, Promise<string>>();

/** Path of a program that Node runs as it is. */
export function bundle(file: string): Promise<string> {
  const known = bundled.get(file) ?? make(file);
  bundled.set(file, known);
  return known;
}

async function make(file: string): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), "vgas-bench-program-"));
  symlinkSync(paths.nodeModules, join(dir, "node_modules"));
  const built = await rolldown({
    cwd: root,
    input: file,
    external: ["msgpackr-extract"],
    platform: "node",
    plugins: [whereItWas],
    logLevel: "silent",
  });
  const path = join(dir, `${basename(file, ".ts")}.mjs`);
  await built.write({ file: path, format: "esm", codeSplitting: false });
  await built.close();
  return path;
}

/**
 * `vgas` is the build, as its users have it; what a module looks for beside itself, it finds where its source is, and one of src in the
 * build: a node's heartbeat thread is there.
 */
const whereItWas: Plugin = {
  name: "where-it-was",
  resolveId: (source) =>
    source === "vgas" ? { id: pathToFileURL(join(paths.dist, "index.js")).href, external: true } : null,
  transform: (code, id) =>
    code.includes("import.meta.url") && !id.includes("node_modules")
      ? code.replaceAll("import.meta.url", JSON.stringify(pathToFileURL(homeOf(id)).href))
      : null,
};

function homeOf(id: string): string {
  return id.startsWith(paths.src) ? join(paths.dist, `${basename(id, ".ts")}.js`) : id;
}
