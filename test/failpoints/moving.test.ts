/** `maxAttempts` and P1 over a dispatcher that dies while it takes elements out of an array: each runs once, and has its result. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { streamInfo } from "../../src/bus/topology.ts";
import { Dealing } from "../support/dealing.ts";
import { useNats } from "../support/nats.ts";
import { launchNode } from "../support/node.ts";
import { passages } from "../support/passages.ts";
import { eventually } from "../support/wait.ts";

const nats = useNats();
const scratch = mkdtempSync(join(tmpdir(), "vgas-moving-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const ELEMENTS = 20;
/** Long enough for the second dispatcher to have the array before its elements may start, so that copies of them wait together. */
const DELAY_MS = 5_000;

test("P1, P2: a dispatcher is killed between the publish of an element and its leave; nothing runs twice, and nothing is lost", async () => {
  const swarm = await Dealing.start(nats);
  const { names, bus } = swarm;
  const lane = { pool: "default", kind: "once" };
  const began: string[] = [];
  // All that waits is looked up at the same time, copies of one element too.
  const run = async ({ id }: { readonly id: string }): Promise<void> => {
    began.push(id);
    await new Promise((resolve) => setTimeout(resolve, 50));
  };
  await swarm.host("h", { kind: "once", slots: 100, run });
  const counts = join(scratch, "counts");
  const armed = [`VGAS_FAILPOINTS_DIR=${counts}`, "VGAS_FAILPOINTS=task.moved=kill@4"];
  const args = ["up", "--nats", nats.url, "--prefix", names.prefix, "--roles", "dispatcher", "--http-port", "0"];
  const killed = launchNode(args, join(scratch, "home"), (argv) => ["env", ...armed, ...argv]);
  await killed.ready;
  const task = { maxAttempts: 1, notBefore: Date.now() + DELAY_MS };
  const sequence = await swarm.submit(lane.kind, new Array(ELEMENTS).fill(task));
  expect(await killed.ended).toBe("SIGKILL");
  expect(passages(counts, "task.moved")).toBe(4);
  const before = (await streamInfo(bus, names.streams.tasks))?.lastSequence ?? 0;

  await swarm.dispatcher("d2");
  // The array comes at once, and not when its ack_wait is over.
  bus.publish(`$JS.ACK.${names.streams.tasks}.${names.consumer(lane)}.1.${sequence}.1.0.0`, Buffer.from("-NAK"));
  const ids = Array.from({ length: ELEMENTS }, (_, i) => `s${sequence}-${i}`);
  const results = await Promise.all(ids.map((id) => swarm.result(id)));
  await eventually(async () => ((await swarm.waiting()) === 0 ? true : undefined), "the queue to be empty");

  // Of elements that the first one had published the second could not know it, and published them again.
  const after = (await streamInfo(bus, names.streams.tasks))?.lastSequence ?? 0;
  expect(before - sequence).toBeGreaterThanOrEqual(4);
  expect(after - sequence).toBeGreaterThan(ELEMENTS);
  // Of what the killed one had in hand it cannot be known that it did not run.
  for (const { status, error } of results) expect(error?.code).toBe(status === "ok" ? undefined : "INTERRUPTED");
  const ended = results.filter(({ status }) => status === "ok").map(({ id }) => id);
  expect([...began].sort()).toEqual(ended.sort());
});
