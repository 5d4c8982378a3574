/**
 * Set-up, then the faults of test/faults (main.ts says what its flags mean), then the tests that look for what happens rarely, with all
 * rounds (test/support/rounds.ts): `--only rounds` for those alone, and any other `--only` leaves them out. `--only vanishing` asks a
 * nats-server alone whether it has the defect that loses tasks in a cluster (test/faults/vanishing.ts).
 */
import "./lib/node-version.mjs";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { paths } from "./lib/checkout.mjs";
import { endWithNpm } from "./lib/npm-parent.mjs";
import { setUp } from "./lib/setup.mjs";
import { runTypeScript } from "./lib/typescript-job.mjs";

const ROUNDS = "rounds";
const VANISHING = "vanishing";
const FILES = ["test/e2e", "test/bus/codec", "test/actors/vault/calls", "test/actors/vault/trail"];

endWithNpm();
const args = process.argv.slice(2);
const at = args.findIndex((arg) => arg === "--only" || arg.startsWith("--only="));
const only = (at < 0 ? "" : ((args[at] === "--only" ? args[at + 1] : args[at]?.slice("--only=".length)) ?? "")).split(
  ",",
);
const faults = only.filter((name) => name !== ROUNDS);
const help = args.some((arg) => arg === "--help" || arg === "-h");
const withRounds = !help && (at < 0 || faults.length < only.length);

if (help) {
  await setUp();
  await runTypeScript("test/faults/main.ts", ["--help"]);
} else if (faults.includes(VANISHING)) {
  await setUp();
  await runTypeScript("test/faults/vanishing.ts", []);
} else if (faults.length > 0) {
  await setUp();
  if (at >= 0) args.splice(at, args[at] === "--only" ? 2 : 1, "--only", faults.join(","));
  // It ends the process, so what follows is hung on that end; not where it was interrupted, or never began.
  if (withRounds)
    process.once("exit", (code) => {
      if (code <= 1) process.exitCode = rounds() || code;
    });
  await runTypeScript("test/faults/main.ts", args);
} else process.exitCode = rounds();

/** @returns {number} exit code */
function rounds() {
  const report = process.env["VGAS_TEST_REPORT"] ?? join(paths.cache, "test-faults-report.json");
  const env = { ...process.env, VGAS_TEST_ROUNDS: "all", VGAS_TEST_REPORT: report };
  const script = fileURLToPath(new URL("test.mjs", import.meta.url));
  return spawnSync(process.execPath, [script, ...FILES], { stdio: "inherit", env }).status ?? 1;
}
