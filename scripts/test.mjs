/**
 * Set-up, then all tests. Arguments go to vitest (`npm test -- test/bus`).
 * VGAS_TEST_REPORT names the JSON report; by default it is .cache/test-report.json.
 */
import "./lib/node-version.mjs";
import { accessSync, constants, mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { paths } from "./lib/checkout.mjs";
import { unique } from "./lib/files.mjs";
import { endWithNpm } from "./lib/npm-parent.mjs";
import { become } from "./lib/run.mjs";
import { setUp } from "./lib/setup.mjs";

endWithNpm();
await setUp();

const report = reportPath();
// A report of an earlier run must not be taken for this one's.
rmSync(report, { force: true });
const vitest = join(paths.nodeModules, "vitest", "vitest.mjs");
process.exitCode = await become(process.execPath, [
  vitest,
  "run",
  // Loads vitest.config.ts without writing a temporary file into node_modules, which may be another user's.
  "--configLoader=runner",
  "--reporter=default",
  "--reporter=json",
  `--outputFile.json=${report}`,
  ...process.argv.slice(2),
]);

function reportPath() {
  const named = process.env["VGAS_TEST_REPORT"];
  if (named !== undefined && named !== "") return named;
  try {
    mkdirSync(paths.cache, { recursive: true });
    accessSync(paths.cache, constants.W_OK);
    return join(paths.cache, "test-report.json");
  } catch {
    // Somebody else's checkout: the tests run all the same.
    return join(tmpdir(), `vgas-test-report-${unique()}.json`);
  }
}
