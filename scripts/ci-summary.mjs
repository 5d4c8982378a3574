/**
 * The last line of .ci/run: "N passed, N failed[, N skipped]", from vitest's JSON report and the steps' exit codes.
 *
 *   node scripts/ci-summary.mjs REPORT SETUP-CODE VERIFY-CODE TEST-CODE
 */
import { readJsonIfThere } from "./lib/files.mjs";

const [reportPath = "", setupCode, verifyCode, testCode] = process.argv.slice(2);
const report = readJsonIfThere(reportPath);

let passed = count("numPassedTests");
let failed = count("numFailedTests");
const skipped = count("numPendingTests") + count("numTodoTests");

if (report === undefined || passed + failed === 0) {
  // No report means no test ran to its end, whatever the exit codes say.
  passed = 0;
  failed = 1;
} else {
  // A file that cannot be loaded, or an error outside of any test, has no failed test of its own.
  if (testCode !== "0" && failed === 0) failed += 1;
  if (setupCode !== "0" || verifyCode !== "0") failed += 1;
}

process.stdout.write(`${passed} passed, ${failed} failed${skipped === 0 ? "" : `, ${skipped} skipped`}\n`);
process.exitCode = failed === 0 ? 0 : 1;

/** @param {string} field */
function count(field) {
  const value = report?.[field];
  return typeof value === "number" ? value : 0;
}
