/** The worked example of docs/walkthrough.md, with fewer files: retries, a kind that fails for good, and its replay. */
import { execFile } from "node:child_process";
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { vgas } from "../cli/in-process.ts";
import { JITI } from "../support/jiti.ts";
import { TestSwarm } from "../support/swarm.ts";
import { eventually } from "../support/wait.ts";

const PIPELINE = fileURLToPath(new URL("../../examples/pipeline", import.meta.url));
const COUNT = 80;

const swarm = new TestSwarm();

test("files go through three kinds of agents; what fails for good is replayed once its cause is mended", async () => {
  const node = await swarm.up("--module", join(PIPELINE, "agents.ts"));
  const home = ["--home", swarm.home];
  const work = join(swarm.dir, "work");
  const failed = await promisify(execFile)(process.execPath, [JITI, join(PIPELINE, "main.ts"), work, String(COUNT)], {
    env: { ...process.env, VGAS_HOME: swarm.home },
  }).catch((error: { code: number; stdout: string }) => error);
  expect(failed).toMatchObject({ code: 3 });
  expect(failed.stdout).toContain(
    `${(3 * COUNT) / 4} of ${COUNT} files are on their shelves\n${COUNT / 4} shelve failed: NO_SHELF`,
  );
  // Some first attempts of `classify` fail, and all of its tasks are done.
  expect(node.log()).toContain("the classifier is overloaded");

  // A letter is stored after its result.
  const letters = await eventually(async () => {
    const { out } = await vgas(["dead", "list", "--kind", "shelve", "--json", ...home]);
    return out.trimEnd().split("\n").length === COUNT / 4 ? out : undefined;
  }, "a letter of each that failed");
  expect(letters).toContain("NO_SHELF");

  mkdirSync(join(work, "shelves", "letter"));
  const replayed = await vgas(["dead", "replay", "--all", "--kind", "shelve", ...home]);
  expect(replayed).toMatchObject({ code: 0 });
  const cards = join(work, "shelves", "letter");
  await eventually(async () => (readdirSync(cards).length === COUNT / 4 ? true : undefined), "the letters' cards");

  const counted = (kind: string, status: string, count: number): string =>
    `vgas_tasks_total{pool="default",kind="${kind}",status="${status}"} ${count}`;
  // An agent writes its card before its task is done.
  const metrics = await eventually(async () => {
    const text = await (await fetch(`${node.http}/metrics`)).text();
    return text.includes(counted("shelve", "ok", COUNT)) ? text : undefined;
  }, "all to be counted");
  expect(metrics).toContain(counted("read", "ok", COUNT));
  expect(metrics).toContain(counted("shelve", "failed", COUNT / 4));
  expect(metrics).toMatch(/vgas_retries_total\{pool="default",kind="classify"\} [1-9]/);
});
