/** Everything that can be checked without running the tests. All checks run, also after one has failed. */
import "./lib/node-version.mjs";
import { join } from "node:path";
import { paths, root } from "./lib/checkout.mjs";
import { run } from "./lib/run.mjs";
import { setUp } from "./lib/setup.mjs";

/** @type {[string, string[]][]} */
const CHECKS = [
  ["format, lint, import direction, cycles", [join(paths.nodeModules, "@biomejs/biome/bin/biome"), "check", "."]],
  ["types", [join(paths.nodeModules, "typescript/bin/tsc"), "-p", "tsconfig.json"]],
  ["dead files, exports, dependencies", [join(paths.nodeModules, "knip/bin/knip.js"), "--no-progress"]],
  ["API pages match the docstrings", [join(root, "scripts/docs.mjs"), "--check"]],
  ["documents match the code", [join(root, "scripts/check-docs.mjs")]],
];

await setUp(["dependencies"]);

const failed = [];
for (const [name, command] of CHECKS) {
  process.stderr.write(`verify: ${name}\n`);
  const { code } = await run(process.execPath, command, { cwd: root, show: true });
  if (code !== 0) failed.push(name);
}
for (const name of failed) process.stderr.write(`verify: FAILED: ${name}\n`);
if (failed.length === 0) process.stderr.write("verify: all checks passed\n");
process.exitCode = failed.length === 0 ? 0 : 1;
