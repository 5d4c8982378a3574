/**
 * A swarm under load, driven from another process through the library, while its broker is killed twice: the caller must not see
 * an error that it need not see, and every accepted task must have its result.
 *
 *   npm run test:calls [-- SECONDS]          default: 600
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { JITI } from "../../support/jiti.ts";
import { BIN, launchNode } from "../../support/node.ts";
import type { Report } from "./tally.ts";

const here = (file: string): string => fileURLToPath(new URL(file, import.meta.url));

const seconds = Number(process.argv[2] ?? 600);
if (!Number.isInteger(seconds) || seconds < 10) {
  console.error("usage: npm run test:calls [-- SECONDS], at least 10");
  process.exit(2);
}
const home = mkdtempSync(join(tmpdir(), "vgas-soak-"));
const flags = ["--nats-port", "0", "--http-port", "0", "--module", here("agents.ts"), "--log-level", "warn"];
const node = await launchNode(["up", ...flags], home).ready;
console.error(`a swarm under load for ${seconds} s; the broker is killed after a third and after two thirds`);
const driver = spawn(process.execPath, [JITI, here("driver.ts"), home, String(seconds)], {
  stdio: ["ignore", "pipe", "inherit"],
});
const printed = text(driver.stdout);
const ended = once(driver, "close");
let kills = 0;
for (let third = 0; third < 2; third++) {
  await Promise.race([pause((seconds * 1_000) / 3), ended]);
  const { process: broker } = JSON.parse(readFileSync(join(home, "nats", "broker.json"), "utf8"));
  process.kill(broker.pid, "SIGKILL");
  kills++;
  console.error(`killed the broker, pid ${broker.pid}`);
}
await ended;
const report = JSON.parse(await printed) as Report;
const status = JSON.parse(
  execFileSync(process.execPath, [BIN, "status", "--home", home, "--json"], { encoding: "utf8" }),
);
const stopped = await node.kill();
for (const [call, times] of Object.entries(report.calls))
  console.log(`${call.padEnd(28)} ${String(times).padStart(9)}`);
const checks: readonly [string, boolean][] = [
  [`the broker was killed twice (${kills})`, kills === 2],
  [`no error that the caller need not see (${report.errors.length})`, report.errors.length === 0],
  [
    `as many results as accepted tasks, or more: an answer may be lost (${status.results} of ${report.accepted})`,
    status.results >= report.accepted,
  ],
  [
    `nothing is left in the queue (${JSON.stringify(status.lanes.filter((lane: { waiting: number; inHand: number }) => lane.waiting + lane.inHand > 0))})`,
    status.lanes.every((lane: { waiting: number; inHand: number }) => lane.waiting + lane.inHand === 0),
  ],
  [`the swarm is ok at the end (${status.health})`, status.health === "ok"],
  [`the node ends with 0 (${stopped})`, stopped === 0],
];
for (const error of report.errors.slice(0, 40)) console.log(error);
for (const [what, holds] of checks) console.log(`${holds ? "ok    " : "FAILED"} ${what}`);
rmSync(home, { recursive: true, force: true });
process.exitCode = checks.every(([, holds]) => holds) ? 0 : 1;
