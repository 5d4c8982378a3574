/** What somebody deletes from outside while a swarm runs comes back by itself. Dispatchers and hosts of this process, a real nats-server. */
import { jetstreamManager } from "@nats-io/jetstream";
import { expect, onTestFinished, test } from "vitest";
import { defineAgent } from "../../../src/actors/agent/definition.ts";
import { KvBucket } from "../../../src/bus/kv.ts";
import { pauseLane, resumeLane } from "../../../src/bus/pauses.ts";
import { listConsumers } from "../../../src/bus/topology.ts";
import { TopologyKeeper } from "../../../src/host/topology-keeper.ts";
import { systemClock } from "../../../src/protocols/clock.ts";
import { TOPOLOGY_DEFAULTS } from "../../../src/protocols/streams.ts";
import { kvStream, objectStream } from "../../../src/protocols/subjects.ts";
import { Dealing } from "../../support/dealing.ts";
import { useNats } from "../../support/nats.ts";
import { RecordingLogger } from "../../support/recording-logger.ts";
import { eventually } from "../../support/wait.ts";

const nats = useNats();
const lane = { pool: "default", kind: "note" };

const echo = defineAgent({ kind: "note", slots: 4, run: ({ input }) => Promise.resolve(input) });

/** So often in a row nothing is pulled only by a dispatcher that does not want to. */
const LOOKS = 20;

/** A lane that has run one task, and the server's API. */
async function swarmOf(kind = echo) {
  const swarm = await Dealing.start(nats);
  await swarm.dispatcher();
  await swarm.host("a", kind);
  await swarm.submit("note", { id: "first" });
  await swarm.result("first");
  return { swarm, manager: await jetstreamManager(swarm.bus.native) };
}

async function runs(swarm: Dealing, id: string): Promise<void> {
  await swarm.submit("note", { id, input: id });
  expect(await swarm.result(id)).toMatchObject({ status: "ok", output: id });
}

test("consumers of a lane that are deleted while tasks wait are made again, and every task runs", async () => {
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const slow = defineAgent({ kind: "note", slots: 2, run: ({ id }) => (id === "first" ? Promise.resolve() : held) });
  const { swarm, manager } = await swarmOf(slow);
  const ids = Array.from({ length: 20 }, (_, i) => `t${i}`);
  for (const id of ids) await swarm.submit("note", { id });
  const { tasks } = swarm.names.streams;
  for (const { name } of await listConsumers(swarm.bus, tasks)) await manager.consumers.delete(tasks, name);
  release();
  for (const id of ids) expect(await swarm.result(id)).toMatchObject({ status: "ok" });
  expect(await listConsumers(swarm.bus, tasks)).toHaveLength(3);
});

test("every stream and bucket that is deleted is made again, and tasks, pauses and cancels work as before", async () => {
  const { swarm, manager } = await swarmOf();
  const { bus, names, publisher } = swarm;
  const logger = new RecordingLogger();
  const topology = { ...TOPOLOGY_DEFAULTS };
  const keeper = new TopologyKeeper({ bus, names, topology, clock: systemClock, logger });
  onTestFinished(() => keeper.stop());
  keeper.start();
  const all = [
    ...Object.values(names.streams),
    ...Object.values(names.buckets).map(kvStream),
    ...Object.values(names.objectStores).map(objectStream),
  ];
  for (const stream of all) await manager.streams.delete(stream);
  await eventually(async () => (logger.lines.length > 0 ? true : undefined), "the streams to be made again");
  expect(logger.lines).toHaveLength(1);
  expect(logger.lines[0]?.fields).toEqual({ streams: expect.stringContaining(names.streams.tasks) });
  await runs(swarm, "after");
  const control = new KvBucket(bus, publisher, names.buckets.control);
  await pauseLane(control, names, lane, "test");
  const isPulled = async () => (await listConsumers(bus, names.streams.tasks)).some(({ pulls }) => pulls > 0);
  // For a moment it pulls nothing without a pause too: between two pulls, and while it looks at what is made again.
  let looks = 0;
  await eventually(async () => {
    looks = (await isPulled()) ? 0 : looks + 1;
    return looks >= LOOKS || undefined;
  }, "the dispatcher to hear of the pause");
  await swarm.submit("note", { id: "held" });
  expect(await swarm.askPatiently(names.cancel("default", "held"))).toMatchObject({ state: "cancelled" });
  await swarm.submit("note", { id: "later", input: "later" });
  await resumeLane(control, names, lane);
  expect(await swarm.result("later")).toMatchObject({ status: "ok" });
  expect(await swarm.result("held")).toMatchObject({ status: "cancelled" });
});

test("a task stream that is purged loses what waited, and the lane goes on", async () => {
  const { swarm, manager } = await swarmOf();
  await manager.streams.purge(swarm.names.streams.tasks);
  await runs(swarm, "after");
});
