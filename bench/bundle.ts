/**
 * Bundles the programs that benchmarks run as processes of their own, all of them once: compiled at every start they would take
 * longer to load than many measurements last, and what is measured would be the compiler's idea of an import.
 */
import { mkdtempSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, relative } from "node:path";
import { pathToFileURL } from "node:url";
import { type Plugin, rolldown } from "rolldown";
import { paths, root } from "../scripts/lib/checkout.mjs";

const HERE = join(root, "bench");

/** What `bundle` is asked for; they share most of what they import, so each alone would take about as long as all. */
const PROGRAMS = [
  "allocation/draw-worker.ts",
  "allocation/node-worker.ts",
  "contention/node-worker.ts",
  "floor-worker.ts",
  "host-worker.ts",
  "latency-submitter.ts",
  "rivals/bullmq-worker.ts",
  "scale/node-worker.ts",
  "submit-worker.ts",
];

let bundled: Promise<string> | undefined;

/** Path of a program that Node runs as it is. `file` is one of `PROGRAMS`, as a path. */
export async function bundle(file: string): Promise<string> {
  const name = relative(HERE, file);
  if (!PROGRAMS.includes(name)) throw new Error(`bench/${name} is not among the programs of bench/bundle.ts`);
  bundled ??= bundleAll();
  return programIn(await bundled, name);
}

async function bundleAll(): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), "vgas-bench-programs-"));
  await bundleInto(dir, PROGRAMS);
  return dir;
}

/** `names` are files of bench/; `programIn` tells where each is then. */
export async function bundleInto(dir: string, names: readonly string[]): Promise<void> {
  symlinkSync(paths.nodeModules, join(dir, "node_modules"));
  const built = await rolldown({
    cwd: root,
    input: Object.fromEntries(names.map((name) => [entryOf(name), join(HERE, name)])),
    // Native code cannot be bundled.
    external: ["msgpackr-extract", "rolldown"],
    platform: "node",
    plugins: [whereItWas],
    logLevel: "silent",
  });
  await built.write({ dir, format: "esm", entryFileNames: "[name].mjs", chunkFileNames: "[name]-[hash].mjs" });
  await built.close();
}

export function programIn(dir: string, name: string): string {
  return join(dir, `${entryOf(name)}.mjs`);
}

function entryOf(name: string): string {
  return name.replace(/\.ts$/, "");
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
    id.includes("node_modules") ? null : code.replace(OWN_URL, JSON.stringify(pathToFileURL(homeOf(id)).href)),
};

const OWN_URL = /\bimport\.meta\.url\b/g;

function homeOf(id: string): string {
  return id.startsWith(paths.src) ? join(paths.dist, `${basename(id, ".ts")}.js`) : id;
}
