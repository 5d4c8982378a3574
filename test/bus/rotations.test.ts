/** P9: what the broker is made to write by a reply subject hides nothing that vgas has written. */
import { beforeAll, expect, test } from "vitest";
import { AttemptsLog } from "../../src/bus/attempts.ts";
import type { Bus } from "../../src/bus/bus.ts";
import { encode } from "../../src/bus/codec/codec.ts";
import { KvBucket } from "../../src/bus/kv.ts";
import { Publisher } from "../../src/bus/publisher.ts";
import { readRotations } from "../../src/bus/rotations.ts";
import { ensureTopology } from "../../src/bus/topology.ts";
import { isOffered } from "../../src/client/offers.ts";
import { readFairness } from "../../src/fairness.ts";
import { TOPOLOGY_DEFAULTS } from "../../src/protocols/streams.ts";
import { kvSubject, Names } from "../../src/protocols/subjects.ts";
import { useNats } from "../support/nats.ts";
import { PATIENT } from "../support/publishers.ts";
import { eventually } from "../support/wait.ts";

const nats = useNats();
const names = new Names();
const echo = { pool: "default", kind: "echo" };
const ranges = [{ host: "a", run: "r", first: 0, count: 2, slots: 1 }];
let bus: Bus;
let rotation: KvBucket;
let publisher: Publisher;

beforeAll(async () => {
  bus = await nats.bus();
  await ensureTopology(bus, names, TOPOLOGY_DEFAULTS);
  publisher = new Publisher(bus, PATIENT);
  rotation = new KvBucket(bus, publisher, names.buckets.rotation);
  const revision = await rotation.put(names.rosterKey(echo), encode({ v: 1, ranges }));
  await rotation.put(names.rotationKey(echo), record(5, revision));
});

function record(index: number, roster: number): Uint8Array {
  return encode({ v: 1, index, base: 0, roster, by: "d", nonce: `n${index}` });
}

/** What every role may ask, with an answer that lands in a bucket. */
async function strike(bucket: string, key: string): Promise<void> {
  const kv = new KvBucket(bus, publisher, bucket);
  const before = (await kv.getEntry(key))?.revision ?? 0;
  bus.publish(`$JS.API.STREAM.INFO.${names.streams.results}`, new Uint8Array(), { reply: kvSubject(bucket, key) });
  const written = async (): Promise<true | undefined> =>
    ((await kv.getEntry(key))?.revision ?? 0) > before || undefined;
  await eventually(written, "the broker to write");
}

test("foreign and damaged keys are told, with the way to remove them, and hide no lane", async () => {
  const foreign = ["evil", "default.evil", "default.echo.more", "default.ghost.roster", "a.b.c.d"];
  for (const key of foreign) await strike(names.buckets.rotation, key);
  const seen = await readRotations(bus, names);
  expect(seen.lanes).toEqual([{ ...echo, index: 5, base: 0, roster: expect.any(Number), ranges }]);
  expect(seen.warnings).toHaveLength(foreign.length);
  for (const key of foreign)
    expect(seen.warnings).toContainEqual(
      expect.stringMatching(new RegExp(`^"${key}" .* nats kv del vgas_rotation ${key}$`)),
    );
  for (const key of foreign) await rotation.delete(key);
  expect((await readRotations(bus, names)).warnings).toEqual([]);
});

test("a key that a shell would run is not put into a command", async () => {
  await strike(names.buckets.rotation, "$(id)");
  const { warnings } = await readRotations(bus, names);
  const told = warnings.filter((warning) => warning.includes("$(id)"));
  expect(told).toHaveLength(1);
  expect(told[0]).not.toContain("kv del");
  await rotation.delete("$(id)");
});

test("a lane whose record or roster was overwritten is shown as it was, with a warning", async () => {
  await strike(names.buckets.rotation, names.rotationKey(echo));
  await strike(names.buckets.rotation, names.rosterKey(echo));
  const { lanes, warnings } = await readRotations(bus, names);
  expect(lanes).toMatchObject([{ ...echo, index: 5, ranges }]);
  expect(warnings).toHaveLength(2);
  // What vgas writes over itself nobody is told to delete.
  for (const warning of warnings) expect(warning).toMatch(/^"default\.echo(\.roster)?" .* leave it: /);
  expect(warnings.join()).not.toContain("kv del");
  const fairness = await readFairness(bus, names);
  expect(fairness.lanes).toMatchObject([{ ...echo, index: 5, agents: [{ turns: 3 }, { turns: 2 }] }]);
  expect(fairness.warnings).toEqual(warnings);
  expect(await isOffered({ bus, names, rotation }, echo), "asks the hosts, of which there are none").toBe(false);
});

test("a lane whose record and roster were deleted is shown as it was, as its dispatchers go on", async () => {
  await rotation.delete(names.rotationKey(echo));
  await rotation.delete(names.rosterKey(echo));
  expect(await readRotations(bus, names)).toEqual({
    lanes: [{ ...echo, index: 5, base: 0, roster: expect.any(Number), ranges }],
    warnings: [],
  });
});

test("rubbish over the record of a lane of which only a roster is kept is told without the advice to delete it", async () => {
  const fresh = { pool: "default", kind: "fresh" };
  await rotation.put(names.rosterKey(fresh), encode({ v: 1, ranges }));
  await strike(names.buckets.rotation, names.rotationKey(fresh));
  const { lanes, warnings } = await readRotations(bus, names);
  expect(lanes).toMatchObject([echo]);
  expect(warnings).toEqual([expect.stringMatching(/^"default\.fresh" .* leave it: /)]);
});

test("rubbish in a task's execution record counts as nothing", async () => {
  const attempts = new AttemptsLog(new KvBucket(bus, publisher, names.buckets.attempts), names);
  await attempts.write("default", { id: "t1" }, { attempts: 2 });
  await strike(names.buckets.attempts, names.taskKey("default", "t1"));
  expect(await attempts.read("default", { id: "t1" })).toBeUndefined();
});
