/** One lane while what it waits for does not come: on a real nats-server, whose answers the test holds back or replaces. */
import { headers } from "@nats-io/transport-node";
import { expect, onTestFinished, test, vi } from "vitest";
import type { DispatcherOptions } from "../../../src/actors/gatling/dispatcher.ts";
import type { Bus } from "../../../src/bus/bus.ts";
import { type Clock, systemClock } from "../../../src/protocols/clock.ts";
import { VgasError } from "../../../src/protocols/errors.ts";
import { LANE_CONSUMER } from "../../../src/protocols/streams.ts";
import { PRIORITIES } from "../../../src/protocols/subjects.ts";
import { Dealing } from "../../support/dealing.ts";
import { useNats } from "../../support/nats.ts";
import { eventually, until } from "../../support/wait.ts";

const nats = useNats();
const KIND = "work";
const KEEP_ALIVE_MS = LANE_CONSUMER.ackWaitMs / 3;
const EMPTY = new Uint8Array(0);

/** What comes to it waits until it is opened. */
class Gate {
  shut = false;
  waiting = 0;
  readonly #opened: (() => void)[] = [];

  async pass(): Promise<void> {
    if (!this.shut) return;
    this.waiting++;
    await new Promise<void>((resolve) => this.#opened.push(resolve));
  }

  open(): void {
    this.shut = false;
    for (const resolve of this.#opened.splice(0)) resolve();
  }
}

/** A clock whose keep-alive the test makes. */
function handClock() {
  const beats: (() => void)[] = [];
  const clock: Clock = {
    ...systemClock,
    setInterval: (callback, periodMs) => {
      if (periodMs === KEEP_ALIVE_MS) beats.push(callback);
      return systemClock.setInterval(callback, periodMs);
    },
  };
  const keepAlive = (): void => {
    for (const beat of beats) beat();
  };
  return { clock, keepAlive };
}

/**
 * A swarm of one host, whose lane is open when it is returned. `asked` are the inboxes of the pulls that came to the server, `kept` the
 * sequences of the messages that were said to be worked on.
 */
async function open(
  run: (gate: Gate) => unknown,
  change: (options: DispatcherOptions, gate: Gate) => void = () => undefined,
) {
  const swarm = await Dealing.start(nats);
  const gate = new Gate();
  const { names } = swarm;
  const observer = await nats.bus({ user: "observer" });
  const asked: string[] = [];
  const kept = new Set<string>();
  await observer.subscribe(`$JS.API.CONSUMER.MSG.NEXT.${names.streams.tasks}.>`, ({ reply = "" }) => {
    asked.push(reply);
  });
  await observer.subscribe("$JS.ACK.>", ({ subject, data }) => {
    const [, , stream, , , sequence = ""] = subject.split(".").slice(-9);
    if (stream === names.streams.tasks && new TextDecoder().decode(data) === "+WPI") kept.add(sequence);
  });
  await swarm.host("h", { kind: KIND, slots: 1, run: () => run(gate) });
  const { clock, keepAlive } = handClock();
  let bus: Bus | undefined;
  await swarm.dispatcher("d1", clock, (options) => {
    bus = options.bus;
    change(options, gate);
  });
  // Before the dispatcher is stopped, which would wait.
  onTestFinished(() => gate.open());
  await until(() => asked.length > 0);
  /** Everything that the dispatcher has said has come to the observer. */
  const said = async (): Promise<void> => {
    await bus?.flush();
    await observer.flush();
  };
  return { swarm, gate, observer, asked, kept, keepAlive, said };
}

test("tasks of a swap that waits for a leader are kept alive", async () => {
  const { swarm, gate, kept, keepAlive, said } = await open(
    () => "done",
    ({ rotation }, gate) => {
      const cas = rotation.cas.bind(rotation);
      vi.spyOn(rotation, "cas").mockImplementation(async (...args) => {
        await gate.pass();
        return await cas(...args);
      });
    },
  );
  gate.shut = true;
  const sequence = await swarm.submit(KIND, {});
  await until(() => gate.waiting > 0);
  keepAlive();
  await said();
  expect([...kept]).toEqual([String(sequence)]);
  gate.open();
  expect(await swarm.result(`s${sequence}`)).toMatchObject({ status: "ok", attempt: 1 });
});

test("tasks in hand for which no slot is free are kept alive", async () => {
  const { swarm, gate, kept, keepAlive, said } = await open((gate) => gate.pass());
  gate.shut = true;
  await swarm.submit(KIND, {});
  await until(() => gate.waiting > 0);
  // It has begun; that it was taken, and is the host's to keep, the dispatcher hears by another connection.
  await eventually(async () => {
    kept.clear();
    keepAlive();
    await said();
    return kept.size === 0 || undefined;
  }, "the first task to be the host's");
  // Of another priority one message is asked for beyond the free slots.
  const sequence = await swarm.submit(KIND, {}, { priority: "low" });
  await eventually(async () => {
    keepAlive();
    await said();
    return kept.has(String(sequence)) || undefined;
  }, "the task in hand to be kept");
  expect([...kept]).toEqual([String(sequence)]);
  gate.open();
  await swarm.result(`s${sequence}`);
});

test("tasks and arrays that are looked up are kept alive, and not when that is over", async () => {
  const { swarm, gate, kept, keepAlive, said } = await open(
    () => "done",
    ({ results }, gate) => {
      const findMany = results.findMany.bind(results);
      vi.spyOn(results, "findMany").mockImplementation(async (...args) => {
        await gate.pass();
        return await findMany(...args);
      });
    },
  );
  gate.shut = true;
  const single = await swarm.submit(KIND, { id: "own" });
  await until(() => gate.waiting === 1);
  keepAlive();
  await said();
  expect([...kept]).toEqual([String(single)]);
  gate.open();
  await swarm.result("own");
  gate.shut = true;
  const array = await swarm.submit(KIND, [{ id: "a" }, { id: "b" }]);
  await until(() => gate.waiting === 2);
  kept.clear();
  keepAlive();
  await said();
  expect([...kept]).toEqual([String(array)]);
  gate.open();
  await swarm.result("b");
});

test("a lane whose consumer lost its leader asks for nothing before it has read the record anew", async () => {
  const { swarm, gate, observer, asked, said } = await open(
    () => "done",
    ({ rotation }, gate) => {
      const getEntry = rotation.getEntry.bind(rotation);
      vi.spyOn(rotation, "getEntry").mockImplementation(async (...args) => {
        await gate.pass();
        return await getEntry(...args);
      });
    },
  );
  await until(() => asked.length >= PRIORITIES.length);
  await said();
  const before = asked.length;
  gate.shut = true;
  // As the server says it to each pull that the leader held, without a word of what it had delivered.
  for (const reply of asked) observer.native.publish(reply, EMPTY, { headers: headers(409, "Leadership Change") });
  await until(() => gate.waiting > 0);
  await said();
  expect(asked).toHaveLength(before);
  gate.open();
  await swarm.submit(KIND, { id: "after" });
  await swarm.result("after");
  await until(() => asked.length > before);
});

test("the pause after a lost swap doubles from the seventh in a row, up to a quarter of a second", async () => {
  const LOSES = 17;
  let left = 0;
  /** Pauses of the dispatcher since a swap was lost; in the order of time. */
  const pauses: number[] = [];
  const { swarm } = await open(
    () => "done",
    (options) => {
      const { rotation, clock } = options;
      const cas = rotation.cas.bind(rotation);
      vi.spyOn(rotation, "cas").mockImplementation(async (...args) => {
        if (left === 0) return await cas(...args);
        left--;
        // As a leader says it that its cluster has left, at once and each time.
        throw new VgasError("CONFLICT", "wrong last sequence");
      });
      const setTimeout: Clock["setTimeout"] = (callback, delayMs) => {
        if (left < LOSES) pauses.push(delayMs);
        return clock.setTimeout(callback, Math.min(delayMs, 1));
      };
      Object.assign(options, { random: () => 1, clock: { ...clock, setTimeout } });
    },
  );
  left = LOSES;
  pauses.length = 0;
  await swarm.submit(KIND, { id: "lost" });
  await until(() => left === 0);
  await swarm.result("lost");
  expect(pauses.filter((ms) => ms <= 256).slice(0, LOSES)).toEqual([
    1, 1, 1, 1, 1, 1, 2, 4, 8, 16, 32, 64, 128, 256, 256, 256, 256,
  ]);
});
