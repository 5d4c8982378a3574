import { AckPolicy, DiscardPolicy, jetstreamManager, RetentionPolicy } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { describe, expect, test } from "vitest";
import { Publisher } from "../../src/bus/publisher.ts";
import {
  consumerInfo,
  ensureLaneConsumers,
  ensureTopology,
  listConsumers,
  streamInfo,
} from "../../src/bus/topology.ts";
import { MAX_TASK_BYTES } from "../../src/protocols/limits.ts";
import { TOPOLOGY_DEFAULTS } from "../../src/protocols/streams.ts";
import { kvStream, kvSubject, Names, type Priority } from "../../src/protocols/subjects.ts";
import { useNats } from "../support/nats.ts";
import { PATIENT } from "../support/publishers.ts";
import { eventually, rejection } from "../support/wait.ts";

const nats = useNats();
const EMPTY = new Uint8Array(0);

async function open(prefix: string) {
  const bus = await nats.bus();
  return { bus, names: new Names(prefix), manager: await jetstreamManager(bus.native) };
}

describe("ensureTopology", () => {
  test("makes streams and buckets as the table says", async () => {
    const { bus, names, manager } = await open("made");
    const before = Date.now();
    await ensureTopology(bus, names, TOPOLOGY_DEFAULTS);
    const tasks = await manager.streams.info("MADE_TASKS");
    expect(tasks.config).toMatchObject({
      subjects: ["made.tasks.*.*.high", "made.tasks.*.*", "made.tasks.*.*.low"],
      retention: RetentionPolicy.Workqueue,
      discard: DiscardPolicy.New,
      max_msg_size: MAX_TASK_BYTES,
      allow_direct: true,
    });
    // Microseconds since the epoch, and still a number that JavaScript counts exactly.
    expect(tasks.state.first_seq).toBeGreaterThanOrEqual(before * 1_000);
    expect(Number.isSafeInteger(tasks.state.first_seq)).toBe(true);
    expect((await manager.streams.info("MADE_RESULTS")).config).toMatchObject({
      max_msgs_per_subject: 1,
      discard: DiscardPolicy.New,
      discard_new_per_subject: true,
      max_age: TOPOLOGY_DEFAULTS.resultsTtlMs * 1e6,
    });
    expect((await manager.streams.info("KV_made_rotation")).config).toMatchObject({
      subjects: ["$KV.made_rotation.>"],
      max_msgs_per_subject: 16,
    });
    expect((await manager.streams.info("KV_made_rotation")).config.allow_direct ?? false).toBe(false);
    // Any KV client takes it for a bucket.
    const bucket = await new Kvm(bus.native).open("made_rotation");
    await bucket.put("key", "value");
    expect((await bucket.get("key"))?.string()).toBe("value");
  });

  test("makes the stream of audit checkpoints so that nobody can delete or purge what it holds", async () => {
    const { bus, names, manager } = await open("denied");
    // Made before by a version that did not ask for it: the order is given now, and stays.
    await manager.streams.add({ name: names.streams.audit, subjects: [names.audit("*")], allow_direct: true });
    await ensureTopology(bus, names, TOPOLOGY_DEFAULTS);
    const { config } = await manager.streams.info(names.streams.audit);
    expect(config).toMatchObject({ deny_delete: true, deny_purge: true, max_msgs_per_subject: -1 });
    const { sequence } = await new Publisher(bus, PATIENT).publish(names.audit("v"), EMPTY);
    for (const attack of [
      () => manager.streams.deleteMessage(names.streams.audit, sequence),
      () => manager.streams.purge(names.streams.audit),
      () => manager.streams.update(names.streams.audit, { deny_purge: false }),
    ])
      expect(await rejection(attack())).toBeInstanceOf(Error);
    expect(await streamInfo(bus, names.streams.audit)).toMatchObject({ messages: 1, lastSequence: sequence });
  });

  test("P3: makes the rotation so that nobody can purge or delete a record: what remembers its tickets stays", async () => {
    const { bus, names, manager } = await open("kept");
    const stream = kvStream(names.buckets.rotation);
    // Made before by a version that did not ask for it.
    await manager.streams.add({
      ...{ name: stream, subjects: [kvSubject(names.buckets.rotation, ">")], discard: DiscardPolicy.New },
      ...{ allow_rollup_hdrs: true, max_msgs_per_subject: 16 },
    });
    await ensureTopology(bus, names, TOPOLOGY_DEFAULTS);
    const bucket = await new Kvm(bus.native).open(names.buckets.rotation);
    const revision = await bucket.put("default.echo", "record");
    for (const attack of [
      () => bucket.purge("default.echo"),
      () => manager.streams.deleteMessage(stream, revision),
      () => manager.streams.purge(stream),
      () => manager.streams.update(stream, { deny_purge: false }),
    ])
      expect(await rejection(attack())).toBeInstanceOf(Error);
    await bucket.delete("default.echo");
    expect(await streamInfo(bus, stream)).toMatchObject({ messages: 2, firstSequence: revision });
  });

  test("lets tasks and results come in batches as the node that asked last says, and leaves it where it says nothing", async () => {
    const { bus, names, manager } = await open("together");
    const taken = async (): Promise<readonly boolean[]> => {
      const { tasks, results, dead } = names.streams;
      const infos = await Promise.all([tasks, results, dead].map((stream) => manager.streams.info(stream)));
      return infos.map(({ config }) => config.allow_atomic ?? false);
    };
    const ask = (batches?: boolean) => ensureTopology(bus, names, { ...TOPOLOGY_DEFAULTS, batches });
    await ask();
    expect(await taken()).toEqual([false, false, false]);
    await ask(true);
    expect(await taken()).toEqual([true, true, false]);
    await ask();
    expect(await taken()).toEqual([true, true, false]);
    await ask(false);
    expect(await taken()).toEqual([false, false, false]);
  });

  test("makes the vault's bucket with a history, read from the leader only", async () => {
    const { bus, names, manager } = await open("witness");
    await ensureTopology(bus, names, TOPOLOGY_DEFAULTS);
    const { config } = await manager.streams.info("KV_witness_vault");
    expect(config).toMatchObject({ max_msgs_per_subject: 5, subjects: ["$KV.witness_vault.>"] });
    expect(config.allow_direct ?? false).toBe(false);
  });

  test("is idempotent, also for many callers at once, and keeps what is stored", async () => {
    const { bus, names } = await open("again");
    const other = await nats.bus();
    await Promise.all([bus, other, bus, other].map((each) => ensureTopology(each, names, TOPOLOGY_DEFAULTS)));
    const publisher = new Publisher(bus, PATIENT);
    const { sequence } = await publisher.publish(names.task("default", "echo"), EMPTY);
    await ensureTopology(bus, names, TOPOLOGY_DEFAULTS);
    expect(await streamInfo(bus, names.streams.tasks)).toMatchObject({ messages: 1, lastSequence: sequence });
  });

  test("waits for a stream whose name is taken and that is not known yet: in a cluster another node is making it", async () => {
    const { bus: other, names, manager } = await open("racing");
    await ensureTopology(other, names, TOPOLOGY_DEFAULTS);
    const { created } = await manager.streams.info(names.streams.tasks);
    const bus = await nats.bus();
    const request = bus.native.request.bind(bus.native);
    let unknown = 3;
    bus.native.request = (subject, ...rest) =>
      subject === `$JS.API.STREAM.INFO.${names.streams.tasks}` && unknown-- > 0
        ? request("$JS.API.STREAM.INFO.NONE", ...rest)
        : request(subject, ...rest);
    await ensureTopology(bus, names, TOPOLOGY_DEFAULTS);
    expect(unknown).toBeLessThan(0);
    expect((await manager.streams.info(names.streams.tasks)).created).toBe(created);
  });

  test("applies larger caps and another lifetime, and leaves caps that somebody raised", async () => {
    const { bus, names, manager } = await open("grown");
    await ensureTopology(bus, names, { ...TOPOLOGY_DEFAULTS, maxTaskBytes: 1_000_000, maxDeadBytes: 5_000_000 });
    const options = { ...TOPOLOGY_DEFAULTS, maxTaskBytes: 2_000_000, maxDeadBytes: 1_000_000, resultsTtlMs: 3_600_000 };
    await ensureTopology(bus, names, options);
    expect(await streamInfo(bus, names.streams.tasks)).toMatchObject({ maxBytes: 2_000_000 });
    expect(await streamInfo(bus, names.streams.dead)).toMatchObject({ maxBytes: 5_000_000 });
    const resultsAge = async (): Promise<number> =>
      (await manager.streams.info(names.streams.results)).config.max_age / 1e6;
    expect(await resultsAge()).toBe(3_600_000);
    // Shorter than a submission is known by its message id.
    await ensureTopology(bus, names, { ...options, resultsTtlMs: 60_000 });
    expect(await resultsAge()).toBe(60_000);
  });

  test("caps what waits of a lane and priority as the last node asked for", async () => {
    const { bus, names } = await open("capped");
    const publisher = new Publisher(bus, PATIENT);
    const submit = (priority?: Priority): Promise<unknown> =>
      publisher.publish(names.task("default", "echo", priority), new Uint8Array([0x80]));
    const cap = (maxWaiting: number): Promise<void> => ensureTopology(bus, names, { ...TOPOLOGY_DEFAULTS, maxWaiting });
    await cap(0);
    for (let i = 0; i < 3; i++) await submit();
    await cap(3);
    expect(await rejection(submit())).toMatchObject({ code: "LANE_FULL", retryable: true });
    await submit("high");
    await cap(4);
    await submit();
    expect(await rejection(submit())).toMatchObject({ code: "LANE_FULL" });
    await cap(0);
    await submit();
    publisher.close();
  });

  test.each([
    ["subjects", { subjects: ["drift1.tasks.>"] }],
    ["retention", { retention: RetentionPolicy.Limits }],
    ["discard", { discard: DiscardPolicy.Old }],
    ["max_msg_size", { max_msg_size: -1 }],
    ["allow_direct", { allow_direct: false }],
  ])("reports a stream whose %s differs as DRIFT, and changes nothing", async (field, change) => {
    const { bus, names, manager } = await open("drift1");
    const stream = names.streams.tasks;
    const wanted = {
      subjects: [names.task("*", "*")],
      retention: RetentionPolicy.Workqueue,
      discard: DiscardPolicy.New,
    };
    const config = { name: stream, max_msg_size: MAX_TASK_BYTES, allow_direct: true, ...wanted, ...change };
    const before = (await manager.streams.add(config)).config;
    const error = await rejection(ensureTopology(bus, names, TOPOLOGY_DEFAULTS));
    expect(error).toMatchObject({
      code: "DRIFT",
      message: expect.stringContaining(`stream ${stream} differs: ${field} is`),
    });
    expect((await manager.streams.info(stream)).config).toEqual(before);
    await manager.streams.delete(stream);
  });

  test("reports subjects that a foreign stream holds as DRIFT", async () => {
    const { bus, names, manager } = await open("taken");
    await manager.streams.add({ name: "foreign", subjects: ["taken.>"] });
    expect(await rejection(ensureTopology(bus, names, TOPOLOGY_DEFAULTS))).toMatchObject({
      code: "DRIFT",
      message: expect.stringContaining("another --prefix"),
    });
  });

  test("says that replicas need a cluster, and that a cap needs storage", async () => {
    const { bus, names } = await open("toomuch");
    expect(await rejection(ensureTopology(bus, names, { ...TOPOLOGY_DEFAULTS, replicas: 3 }))).toMatchObject({
      code: "CONFIG",
    });
    const options = { ...TOPOLOGY_DEFAULTS, maxTaskBytes: 2 ** 50 };
    expect(await rejection(ensureTopology(bus, names, options))).toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining("size cap"),
    });
  });
});

describe("ensureLaneConsumers", () => {
  const lane = { pool: "default", kind: "echo" };

  test("makes a durable consumer for each priority of a lane, any number of times at once", async () => {
    const { bus, names, manager } = await open("lane");
    await ensureTopology(bus, names, TOPOLOGY_DEFAULTS);
    const other = await nats.bus();
    await Promise.all([bus, other, bus, other].map((each) => ensureLaneConsumers(each, names, lane)));
    await ensureLaneConsumers(bus, names, { pool: "default", kind: "sleep" });
    const { config } = await manager.consumers.info(names.streams.tasks, names.consumer(lane));
    expect(config).toMatchObject({
      filter_subject: "lane.tasks.default.echo",
      ack_policy: AckPolicy.Explicit,
      ack_wait: 10_000 * 1e6,
      max_deliver: -1,
      max_ack_pending: -1,
      max_waiting: 4_096,
    });
    expect((await listConsumers(bus, names.streams.tasks)).map((consumer) => consumer.name).sort()).toEqual([
      "default=echo",
      "default=echo=high",
      "default=echo=low",
      "default=sleep",
      "default=sleep=high",
      "default=sleep=low",
    ]);
  });

  test("reports one that differs as DRIFT naming the field", async () => {
    const { bus, names, manager } = await open("odd");
    await ensureTopology(bus, names, TOPOLOGY_DEFAULTS);
    await manager.consumers.add(names.streams.tasks, {
      durable_name: names.consumer(lane),
      filter_subject: names.task("default", "echo"),
      ack_policy: AckPolicy.Explicit,
      max_deliver: 5,
      max_ack_pending: -1,
      max_waiting: 4_096,
      ack_wait: 10_000 * 1e6,
    });
    const error = await rejection(ensureLaneConsumers(bus, names, lane));
    expect(error).toMatchObject({ code: "DRIFT", message: expect.stringContaining("max_deliver is 5, wanted -1") });
  });

  test("without a task stream is NOT_FOUND", async () => {
    const { bus, names } = await open("bare");
    expect(await rejection(ensureLaneConsumers(bus, names, lane))).toMatchObject({ code: "NOT_FOUND" });
  });
});

describe("states", () => {
  test("count what waits in a lane", async () => {
    const { bus, names } = await open("count");
    await ensureTopology(bus, names, TOPOLOGY_DEFAULTS);
    const lane = { pool: "default", kind: "echo" };
    await ensureLaneConsumers(bus, names, lane);
    const publisher = new Publisher(bus, PATIENT);
    for (let i = 0; i < 3; i++) await publisher.publish(names.task("default", "echo"), EMPTY);
    await publisher.publish(names.task("default", "other"), EMPTY);
    // The server tells a consumer of what was stored after it has acknowledged it.
    const counted = async () => {
      const info = await consumerInfo(bus, names.streams.tasks, names.consumer(lane));
      return info?.waiting === 3 ? info : undefined;
    };
    expect(await eventually(counted, "three to be counted")).toMatchObject({ ackPending: 0 });
    expect(await streamInfo(bus, names.streams.tasks)).toMatchObject({ messages: 4, consumers: 3, replicas: 1 });
  });

  test("of what does not exist are undefined", async () => {
    const { bus, names } = await open("nothing");
    expect(await streamInfo(bus, names.streams.tasks)).toBeUndefined();
    expect(await consumerInfo(bus, names.streams.tasks, "x")).toBeUndefined();
    expect(await listConsumers(bus, names.streams.tasks)).toEqual([]);
  });
});
