/** src -> dist, when a source has changed. The new dist is built beside the old one and takes its place by a rename. */
import { existsSync, renameSync } from "node:fs";
import { join } from "node:path";
import { paths, root } from "./checkout.mjs";
import { filesBelow, hashFiles, readIfThere, removeLeftover, unique, writeWhole } from "./files.mjs";
import { SetupError, say } from "./log.mjs";
import { run } from "./run.mjs";
import { withSetupLock } from "./setup-lock.mjs";

const STAMP_NAME = ".vgas-build";

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
    writeWhole(join(fresh, STAMP_NAME), hash);
    if (existsSync(paths.dist)) renameSync(paths.dist, old);
    renameSync(fresh, paths.dist);
  } finally {
    process.off("exit", clean);
    clean();
  }
}

/** @param {string} hash */
function isFresh(hash) {
  return readIfThere(join(paths.dist, STAMP_NAME)) === hash;
}

function sourceHash() {
  const configs = ["tsconfig.json", "tsconfig.build.json", "package.json", "package-lock.json"];
  return hashFiles([...filesBelow(paths.src), ...configs.map((name) => join(root, name))]);
}
