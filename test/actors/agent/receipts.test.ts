/** What a host answers: it is the authority on its slots, takes no burst that was given up, and is heard when it is asked to be. */
import { expect, onTestFinished, test } from "vitest";
import type { ActorHost } from "../../../src/actors/agent/actor-host.ts";
import { decode, encode } from "../../../src/bus/codec/codec.ts";
import type { VgasError } from "../../../src/protocols/errors.ts";
import type { Assignment, Burst } from "../../../src/protocols/host-messages.ts";
import { Dealing } from "../../support/dealing.ts";
import { useNats } from "../../support/nats.ts";
import { eventually } from "../../support/wait.ts";

const nats = useNats();
const body = encode({});

function assignment(n: number, agent = 0): Assignment {
  return [n, agent, n, 1, `t${n}`, 0, 60_000, 3, "", body];
}

function burstOf(burst: number, items: readonly Assignment[], fields: Partial<Burst> = {}): Burst {
  return { v: 1, from: "d", burst, run: "r", pool: "default", kind: "hold", base: 0, items: [...items], ...fields };
}

/** A host whose only agent has two slots and holds what it runs. */
async function holding() {
  const swarm = await Dealing.start(nats);
  const releases: (() => void)[] = [];
  const began: string[] = [];
  const host = await swarm.host("h", {
    kind: "hold",
    slots: 2,
    run: async ({ id }) => {
      began.push(id);
      await new Promise<void>((resolve) => releases.push(resolve));
    },
  });
  onTestFinished(() => {
    for (const release of releases) release();
  });
  return { swarm, host: host as ActorHost, began, releases };
}

test("P5: what is over an agent's slots is refused, in one burst or in several, and taken when there is room again", async () => {
  const { host, began, releases } = await holding();
  expect(
    host.burst(
      burstOf(
        1,
        [1, 2, 3].map((n) => assignment(n)),
      ),
    ),
  ).toMatchObject({ refused: [3], free: [0, 0] });
  expect(host.burst(burstOf(2, [assignment(4)], { from: "other" }))).toMatchObject({ refused: [4], free: [0, 0] });
  await eventually(async () => (began.length === 2 ? true : undefined), "both to begin");
  releases[0]?.();
  await eventually(async () => (host.stats().running[0] === 1 ? true : undefined), "a free slot");
  expect(
    host.burst(
      burstOf(
        3,
        [5, 6].map((n) => assignment(n)),
      ),
    ),
  ).toMatchObject({ refused: [6], free: [0, 0] });
  await eventually(async () => (began.length === 3 ? true : undefined), "the next to begin");
  expect(began).toEqual(["t1", "t2", "t5"]);
});

test("what is for an agent, a kind or a pool that is not here is refused", async () => {
  const { host } = await holding();
  expect(host.burst(burstOf(1, [assignment(1, 7)]))).toMatchObject({ refused: [1], free: [] });
  expect(host.burst(burstOf(2, [assignment(2)], { kind: "other" }))).toMatchObject({ refused: [2], free: [0, 2] });
  expect(host.burst(burstOf(3, [assignment(3)], { pool: "other" }))).toMatchObject({ refused: [3], free: [0, 2] });
  // Of an earlier start of the host: its numbers and tickets are not this one's.
  expect(host.burst(burstOf(4, [assignment(4)], { run: "earlier" }))).toMatchObject({ refused: [4], gone: true });
  expect(host.stats().running).toEqual([0]);
});

test("P1: a burst that was recalled before it came is never taken, and one that had come is answered for again", async () => {
  const { swarm, host, began } = await holding();
  const recall = (burst: number, from = "d") => swarm.ask(swarm.names.host("h", "recall"), { v: 1, from, burst });
  expect(await recall(1)).toEqual({ v: 1, unknown: true });
  expect(host.burst(burstOf(1, [assignment(1)]))).toMatchObject({ refused: [1], free: [] });
  const receipt = host.burst(burstOf(2, [assignment(2)]));
  expect(receipt).toMatchObject({ refused: [], free: [0, 1] });
  expect(await recall(2)).toEqual(receipt);
  // Another dispatcher's burst of that number is another one.
  expect(host.burst(burstOf(1, [assignment(3)], { from: "other" }))).toMatchObject({ refused: [] });
  await eventually(async () => (began.length === 2 ? true : undefined), "the others to begin");
  expect(began).toEqual(["t2", "t3"]);
});

test("P8: a host that drains takes nothing", async () => {
  const { host, releases, began } = await holding();
  host.burst(burstOf(1, [assignment(1)]));
  await eventually(async () => (began.length === 1 ? true : undefined), "one to begin");
  const drained = host.drain(60_000);
  expect(host.burst(burstOf(2, [assignment(2)]))).toMatchObject({ refused: [2], draining: true });
  releases[0]?.();
  await drained;
  expect(began).toEqual(["t1"]);
});

test("P8: a host that stops refuses each burst that has reached it, and leaves none without an answer", async () => {
  const { swarm, host } = await holding();
  const bursts: Promise<string>[] = [];
  const send = (): void => {
    for (let i = 0; i < 50; i++) {
      const answer = swarm.ask(swarm.names.host("h", "burst"), burstOf(bursts.length, []));
      // Most fail long before they are looked at.
      bursts.push(
        answer.then(
          () => "answered",
          (error: VgasError) => error.code,
        ),
      );
    }
  };
  await host.drain(0);
  send();
  await swarm.bus.flush();
  const stopped = host.stop();
  for (let turn = 0; turn < 20; turn++) {
    send();
    await new Promise((resolve) => setImmediate(resolve));
  }
  await stopped;
  // However fast all of those were: these find nobody.
  send();
  const answers = await Promise.all(bursts);
  expect([...new Set(answers)].sort()).toEqual(["UNDELIVERABLE", "answered"]);
});

test("P9: tasks of a burst that came over the bus are checked before they are decoded, whoever sent them", async () => {
  const { swarm, began } = await holding();
  // `{input: a Set}`, as only msgpackr writes it.
  const extension = Uint8Array.from([0x81, 0xa5, ...Buffer.from("input"), 0xd4, 0x73, 0x00, 0x91, 0x01]);
  const item: Assignment = [1, 0, 1, 1, "t1", 0, 60_000, 3, "", extension];
  expect(await swarm.ask(swarm.names.host("h", "burst"), burstOf(1, [item]))).toMatchObject({ refused: [] });
  expect(await swarm.result("t1")).toMatchObject({ status: "failed", error: { code: "INVALID" } });
  expect(began).toEqual([]);
});

test("a host is heard whenever it is asked to be", async () => {
  const { swarm } = await holding();
  const { bus, names } = swarm;
  let beats = 0;
  await bus.subscribe(names.heartbeat("h"), () => void beats++);
  // Far more often than it beats by itself.
  for (let asked = 1; asked <= 200; asked++) {
    const answer = await bus.request("host.beat", names.host("h", "beat"), new Uint8Array(0), { timeoutMs: 60_000 });
    expect(decode(answer.data)).toEqual({ v: 1 });
    expect(beats).toBeGreaterThanOrEqual(asked);
  }
});
