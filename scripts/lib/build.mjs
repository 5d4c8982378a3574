/**
 * src -> dist, when a source has changed. The new dist is built beside the old one and takes its place by a rename.
 *
 * The compiler checks the sources and writes the declarations. The code is bundled with what it imports: Node spends most of the
 * start of a command on finding and reading some three hundred small files, and a node does it again for its heartbeat thread.
 * What the entries share is in files that they share, so a class is the same one in a node and in a user's module. All files lie
 * directly in dist, where `import.meta.url` finds the entries beside it.
 */
import { existsSync, renameSync } from "node:fs";
import { join } from "node:path";
import { paths, root } from "./checkout.mjs";
import { filesBelow, hashFiles, readIfThere, removeLeftover, unique, writeWhole } from "./files.mjs";
import { SetupError, say } from "./log.mjs";
import { run } from "./run.mjs";
import { withSetupLock } from "./setup-lock.mjs";

const STAMP_NAME = ".vgas-build";

/** What is started or imported from outside: the command, the package, the thread of a node, the process of a behaviour. */
const ENTRIES = {
  main: "src/cli/main.ts",
  index: "src/index.ts",
  testing: "src/testing.ts",
  "run-tests": "src/testing/run-tests.ts",
  "heartbeat-thread": "src/actors/agent/heartbeat-thread.ts",
  "agent-process": "src/actors/agent/isolation/agent-process.ts",
};

/**
 * Left where they are: jiti finds its compiler beside itself, native code cannot be bundled, and of statecharts and telemetry a
 * user's module is to have the same copy.
 */
const EXTERNAL = ["jiti", "msgpackr-extract", "@opentelemetry/api", "xstate"];

/** @throws {SetupError} if the sources do not compile */
export async function ensureBuild() {
  if (isFresh(sourceHash())) return;
  await withSetupLock(async () => {
    const hash = sourceHash();
    if (!isFresh(hash)) await build(hash);
  });
}

/** @param {string} hash of the sources */
async function build(hash) {
  say("building");
  // In the same folder as dist, so that the relative paths in the source maps stay right after the rename.
  const fresh = `${paths.dist}.${unique()}`;
  const old = `${paths.dist}.${unique()}`;
  const clean = () => {
    for (const folder of [fresh, old]) removeLeftover(folder);
  };
  process.once("exit", clean);
  try {
    const compiler = join(paths.nodeModules, "typescript", "bin", "tsc");
    const { code } = await run(process.execPath, [compiler, "-p", "tsconfig.build.json", "--outDir", fresh], {
      cwd: root,
      show: true,
    });
    if (code !== 0) throw new SetupError(`the build failed with exit code ${code}; its messages are above`);
    await bundle(fresh);
    writeWhole(join(fresh, STAMP_NAME), hash);
    if (existsSync(paths.dist)) renameSync(paths.dist, old);
    renameSync(fresh, paths.dist);
  } finally {
    process.off("exit", clean);
    clean();
  }
}

/** @param {string} dir */
async function bundle(dir) {
  // Only now: set-up runs before there are dependencies.
  const { rolldown } = await import("rolldown");
  const bundled = await rolldown({ cwd: root, input: ENTRIES, external: EXTERNAL, platform: "node" });
  try {
    await bundled.write({
      dir,
      format: "esm",
      sourcemap: true,
      entryFileNames: "[name].js",
      chunkFileNames: "[name]-[hash].js",
    });
  } finally {
    await bundled.close();
  }
}

/** @param {string} hash */
function isFresh(hash) {
  return readIfThere(join(paths.dist, STAMP_NAME)) === hash;
}

function sourceHash() {
  const configs = [
    "tsconfig.json",
    "tsconfig.build.json",
    "package.json",
    "package-lock.json",
    "scripts/lib/build.mjs",
  ];
  return hashFiles([...filesBelow(paths.src), ...configs.map((name) => join(root, name))]);
}
