/** What a broker whose disk was full leaves in the task stream: made with a real one on a small disk. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, onTestFinished, test } from "vitest";
import { Leftovers } from "../../../src/actors/gatling/leftovers.ts";
import { encode } from "../../../src/bus/codec/codec.ts";
import { connectBus } from "../../../src/bus/connection.ts";
import { Publisher } from "../../../src/bus/publisher.ts";
import { ackTask, type PulledMessage, PullSubscription } from "../../../src/bus/pull.ts";
import { ResultStore } from "../../../src/bus/results.ts";
import { consumerInfo, ensureLaneConsumers, ensureTopology, streamInfo } from "../../../src/bus/topology.ts";
import { systemClock } from "../../../src/protocols/clock.ts";
import { TOPOLOGY_DEFAULTS } from "../../../src/protocols/streams.ts";
import { Names } from "../../../src/protocols/subjects.ts";
import { temporaryDirectory } from "../../support/home.ts";
import { findNatsServer, freePort } from "../../support/nats-binary.ts";
import { PrivateDisk } from "../../support/private-disk.ts";
import { RecordingLogger } from "../../support/recording-logger.ts";
import { describeWith } from "../../support/require.ts";
import { eventually, until } from "../../support/wait.ts";

const names = new Names();
const { tasks } = names.streams;
const lane = { pool: "default", kind: "echo" };

/** A nats-server on a disk of its own. */
async function brokerOnSmallDisk() {
  const dir = await temporaryDirectory();
  const store = join(dir, "store");
  mkdirSync(store);
  const disk = await PrivateDisk.mount(store, 16);
  const port = await freePort();
  const config = join(dir, "nats.conf");
  writeFileSync(
    config,
    `listen: "127.0.0.1:${port}"\njetstream { store_dir: ${JSON.stringify(store)}, max_file_store: 16TB }`,
  );
  let child: ChildProcess | undefined;
  const stop = async (): Promise<void> => {
    if (child === undefined) return;
    const ended = once(child, "exit");
    child.kill();
    await ended;
    child = undefined;
  };
  const start = async (): Promise<void> => {
    const [file = "", ...args] = disk.enter([findNatsServer(), "-c", config]);
    child = spawn(file, args, { stdio: ["ignore", "ignore", "pipe"] });
    if (child.stderr === null) throw new Error("no stderr");
    const lines = createInterface(child.stderr);
    await new Promise<void>((resolve) => {
      lines.on("line", (line) => {
        if (line.includes("Server is ready")) resolve();
      });
    });
  };
  onTestFinished(async () => {
    await stop();
    await disk.close();
  });
  await start();
  return { disk, url: `nats://127.0.0.1:${port}`, start, stop };
}

describeWith("mount", PrivateDisk.missing())("what a broker without room left in the task stream", () => {
  test("is removed if it was acknowledged and has its results, and nothing else is", async () => {
    const broker = await brokerOnSmallDisk();
    const bus = await connectBus({ url: broker.url, seed: undefined, name: "test", inboxPrefix: "_INBOX.test" });
    const publisher = new Publisher(bus);
    /** For what gets no answer. */
    const impatient = new Publisher(bus, { ackTimeoutMs: 300 });
    const logger = new RecordingLogger();
    const results = new ResultStore({ bus, publisher, names, clock: systemClock, logger });
    onTestFinished(async () => {
      results.close();
      impatient.close();
      publisher.close();
      await bus.close();
    });
    await ensureTopology(bus, names, { ...TOPOLOGY_DEFAULTS });
    await ensureLaneConsumers(bus, names, lane);
    const pulled: PulledMessage[] = [];
    const pull = new PullSubscription(bus, tasks, names.consumer(lane, "normal"), {
      onMessage: (message) => void pulled.push(message),
      onTrouble: () => undefined,
    });
    pull.want(5);
    for (const body of [{ id: "a" }, {}, [{ id: "b" }, {}], { id: "unknown" }, { id: "open" }])
      await publisher.publish(names.task("default", "echo"), encode(body));
    await until(() => pulled.length === 5);
    await pull.stop();
    const [, second, third] = pulled.map(({ sequence }) => sequence);
    for (const id of ["a", `s${second}`, "b", `s${third}-1`])
      await publisher.publish(names.result("default", id), encode({ id }));
    broker.disk.fill();
    const big = new Uint8Array(100_000);
    const full = impatient.publish(names.task("default", "other"), big, { retry: false });
    await expect(full).rejects.toMatchObject({ code: "TIMEOUT" });
    for (const { ack } of pulled.slice(0, 4)) ackTask(bus, ack);
    // It works on them by itself: there must be no room until it has.
    await eventually(async () => {
      const consumer = await consumerInfo(bus, tasks, names.consumer(lane, "normal"));
      return consumer?.ackPending === 1 || undefined;
    }, "the acknowledgements to be counted");
    broker.disk.empty();
    await broker.stop();
    const back = new Promise<void>((resolve) => {
      bus.onStatus(({ type }) => {
        if (type === "reconnected") resolve();
      });
    });
    await broker.start();
    await back;
    // The fault is there: five messages, and the consumer knows of one.
    expect(await streamInfo(bus, tasks)).toMatchObject({ messages: 5 });
    expect(await consumerInfo(bus, tasks, names.consumer(lane, "normal"))).toMatchObject({ waiting: 0, ackPending: 1 });
    const clock = { ...systemClock, setTimeout: (work: () => void) => systemClock.setTimeout(work, 0) };
    const leftovers = new Leftovers({ bus, names, results, clock, logger });
    onTestFinished(() => leftovers.stop());
    leftovers.look();
    await eventually(async () => ((await streamInfo(bus, tasks))?.messages === 2 ? true : undefined), "them to go");
    // What has no result is left: whether it was done cannot be known.
    await publisher.publish(names.result("default", "unknown"), encode({ id: "unknown" }));
    await eventually(async () => ((await streamInfo(bus, tasks))?.messages === 1 ? true : undefined), "the last one");
    leftovers.stop();
    expect(JSON.stringify(logger.lines)).toContain(
      "acknowledged tasks that the broker left in the stream were removed",
    );
  });
});
