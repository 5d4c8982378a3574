/**
 * The tests that look for what happens rarely, with all rounds (test/support/rounds.ts); `npm test` does fewer of them. Arguments
 * go to vitest.
 */
import { join } from "node:path";
import { paths } from "./lib/checkout.mjs";

const FILES = ["test/e2e", "test/bus/codec", "test/actors/vault/calls", "test/actors/vault/trail"];

process.env["VGAS_TEST_ROUNDS"] = "all";
process.env["VGAS_TEST_REPORT"] ??= join(paths.cache, "test-faults-report.json");
if (process.argv.length === 2) process.argv.push(...FILES);
await import("./test.mjs");
