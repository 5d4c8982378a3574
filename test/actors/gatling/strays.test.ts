/** P1 where a cluster loses what was delivered: made here with a single nats-server, whose queue is robbed of messages. */
import { beforeEach, describe, expect, onTestFinished, test } from "vitest";
import { Requeue } from "../../../src/actors/gatling/requeue.ts";
import { Strays } from "../../../src/actors/gatling/strays.ts";
import type { TaskInHand } from "../../../src/actors/gatling/task-in-hand.ts";
import { encode } from "../../../src/bus/codec/codec.ts";
import { ackTask, PullSubscription } from "../../../src/bus/pull.ts";
import { ResultStore } from "../../../src/bus/results.ts";
import { ensureLaneConsumers } from "../../../src/bus/topology.ts";
import { removeWaiting, waitingMessages } from "../../../src/bus/waiting.ts";
import { systemClock } from "../../../src/protocols/clock.ts";
import { silentLogger } from "../../../src/protocols/logger.ts";
import { LANE_CONSUMER } from "../../../src/protocols/streams.ts";
import { HEADERS } from "../../../src/protocols/subjects.ts";
import { automaticId } from "../../../src/protocols/tokens.ts";
import { Dealing } from "../../support/dealing.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { useNats } from "../../support/nats.ts";
import { eventually, until } from "../../support/wait.ts";

const nats = useNats();
const lane = { pool: "default", kind: "echo" };
const body = encode({ input: 1 });

let dealing: Dealing;
let results: ResultStore;
let clock: ManualClock;
let strays: Strays;
let looks: number;
let held: Set<string>;
let running: Set<string> | undefined;
let mayForget: boolean;

beforeEach(async () => {
  dealing = await Dealing.start(nats);
  const { bus, publisher, attempts, names } = dealing;
  results = new ResultStore({ bus, publisher, names, clock: systemClock, logger: silentLogger });
  onTestFinished(() => results.close());
  clock = new ManualClock();
  [looks, held, running, mayForget] = [0, new Set(), new Set(), true];
  let nonces = 0;
  const nonce = (): string => `${names.prefix}.n${nonces++}`;
  const requeue = new Requeue({ bus, publisher, attempts, names, nonce, logger: silentLogger });
  strays = new Strays({
    ...{ bus, names, requeue, clock, logger: silentLogger },
    results,
    mayForget: () => mayForget,
    held: () => {
      looks++;
      return held;
    },
    stillRunning: async () => running,
  });
  onTestFinished(() => strays.stop());
});

/** Puts a task into the queue, as its dispatcher has it. */
async function pulled(more: Partial<TaskInHand> = {}): Promise<TaskInHand> {
  const { publisher, names } = dealing;
  const { sequence } = await publisher.publish(names.task("default", "echo"), body, {});
  const id = automaticId(sequence);
  const task = { id, sequence, priority: "normal", submittedAt: 1_000, attempt: 1, body, array: undefined, ...more };
  return { element: undefined, traceparent: undefined, ...task } as TaskInHand;
}

const lose = async (task: TaskInHand) => await removeWaiting(dealing.bus, dealing.names.streams.tasks, task.sequence);

/** Lets it look, and waits until it has. */
async function look(times: number): Promise<void> {
  for (let i = 0; i < times; i++) {
    const before = looks;
    await clock.advance(LANE_CONSUMER.ackWaitMs * 1.5);
    await until(() => looks > before && (clock.armed > 0 || strays.size === 0));
  }
}

async function queue(): Promise<readonly (string | undefined)[][]> {
  const { bus, names } = dealing;
  const found: (string | undefined)[][] = [];
  const { taskId, submittedAt, attempts } = HEADERS;
  for await (const message of waitingMessages(bus, names.streams.tasks, { filter: names.task("default", "echo") }))
    found.push([message.header(taskId), message.header(submittedAt), message.header(attempts)]);
  return found;
}

describe("P1: a task whose message the broker lost", () => {
  test("is published again under its id, after two looks, once", async () => {
    const task = await pulled({ attempt: 3 });
    strays.remember([{ lane, task, attempts: 2 }]);
    await lose(task);
    await look(1);
    expect(await queue()).toEqual([]);
    await look(1);
    expect(await queue()).toEqual([[task.id, "1000", "2"]]);
    expect(strays.size).toBe(0);
    // Another dispatcher that had it too.
    strays.remember([{ lane, task, attempts: 2 }]);
    await look(2);
    expect(await queue()).toHaveLength(1);
  });

  test("is left alone while its message is there, and is not lost by what was seen before", async () => {
    const task = await pulled();
    strays.remember([{ lane, task, attempts: 0 }]);
    await look(3);
    expect([await queue(), strays.size]).toEqual([[[undefined, undefined, undefined]], 1]);
  });

  test("is published again too where it lies in the queue and its consumer counts it as acknowledged", async () => {
    const { bus, publisher, names } = dealing;
    // No healthy server keeps what it counts as acknowledged: so it is a message that the consumer does not see.
    const { sequence } = await publisher.publish(names.task("default", "unseen"), body, {});
    const task = { ...(await pulled()), sequence };
    await ensureLaneConsumers(bus, names, lane);
    const pull = new PullSubscription(bus, names.streams.tasks, names.consumer(lane), {
      onMessage: ({ ack }) => ackTask(bus, ack),
      onTrouble: () => undefined,
    });
    pull.want(1);
    await eventually(async () => ((await queue()).length === 0 ? true : undefined), "it to be acknowledged");
    await pull.stop();
    strays.remember([{ lane, task, attempts: 0 }]);
    await look(2);
    expect(await queue()).toEqual([[task.id, "1000", "0"]]);
  });

  test("is left to whoever has it: our hand, a host, or one that does not answer", async () => {
    const task = await pulled();
    strays.remember([{ lane, task, attempts: 0 }]);
    await lose(task);
    held.add(task.id);
    await look(2);
    held.clear();
    running = new Set([task.id]);
    await look(1);
    running = undefined;
    await look(1);
    expect([await queue(), strays.size]).toEqual([[], 1]);
    running = new Set();
    await look(1);
    expect(await queue()).toHaveLength(1);
  });

  test("is forgotten once its result is stored", async () => {
    const task = await pulled();
    strays.remember([{ lane, task, attempts: 0 }]);
    await lose(task);
    await dealing.publisher.publish(dealing.names.result("default", task.id), encode({ id: task.id }), {});
    await look(1);
    expect([await queue(), strays.size]).toEqual([[], 0]);
  });

  test("has its element's record with it", async () => {
    const { elements } = dealing.attempts;
    const task = await pulled({ element: "s1-0" });
    const moved = await elements.move("default", "s1-0", 1, undefined);
    if (moved === undefined) throw new Error("it is not its own");
    await elements.settle("default", "s1-0", moved, task.sequence);
    strays.remember([{ lane, task, attempts: 1 }]);
    await lose(task);
    await look(2);
    expect(await queue()).toHaveLength(1);
    expect(await elements.claim("default", "s1-0", task.sequence + 1)).toBe(true);
  });

  test("is not looked for where the broker is no cluster", async () => {
    mayForget = false;
    strays.remember([{ lane, task: await pulled(), attempts: 0 }]);
    expect([strays.size, clock.armed]).toEqual([0, 0]);
  });
});
