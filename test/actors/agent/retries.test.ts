/** When an attempt is repeated, and when it is not, by an agent that runs on a real bus. */
import { expect, test } from "vitest";
import { decode } from "../../../src/bus/codec/codec.ts";
import { consumerInfo } from "../../../src/bus/topology.ts";
import { systemClock } from "../../../src/protocols/clock.ts";
import { TaskError } from "../../../src/protocols/errors.ts";
import { Dealing } from "../../support/dealing.ts";
import { useNats } from "../../support/nats.ts";
import { eventually } from "../../support/wait.ts";

const nats = useNats();

test("a failed attempt waits as long as its agent says", async () => {
  const swarm = await Dealing.start(nats);
  const { bus, names } = swarm;
  const retrying = new Promise<unknown>((resolve) => {
    bus.subscribeNow(names.event("default", "b1"), ({ data }) => resolve(decode(data)));
  });
  await bus.flush();
  await swarm.host("h", {
    kind: "patient",
    backoff: { initialMs: 70_000, factor: 3, maxMs: 3_600_000, jitter: 0 },
    run: () => {
      throw new TaskError("LATER", "as ordered");
    },
  });
  await swarm.dispatcher();
  await swarm.submit("patient", { id: "b1" });
  expect(await retrying).toMatchObject({ type: "retrying", attempt: 1, data: { delayMs: 70_000 } });
});

test("the clock of a host that is an hour ahead does not hold up what it gives back", async () => {
  const swarm = await Dealing.start(nats);
  await swarm.hostBy({ ...systemClock, now: () => Date.now() + 3_600_000 }, "ahead", {
    kind: "brief",
    backoff: { initialMs: 10, jitter: 0 },
    run: (_, { attempt }) => {
      if (attempt < 3) throw new TaskError("LATER", "as ordered");
      return attempt;
    },
  });
  await swarm.dispatcher();
  await swarm.submit("brief", { id: "b2" });
  expect(await swarm.result("b2")).toMatchObject({ status: "ok", output: 3, attempt: 3 });
});

test("P1: an attempt that fails when a later one has begun elsewhere neither counts it away nor takes the task from it", async () => {
  const swarm = await Dealing.start(nats);
  const { bus, names, attempts } = swarm;
  const said: string[] = [];
  await bus.subscribe("$JS.ACK.>", ({ subject, data }) => {
    const word = Buffer.from(data).toString();
    if (subject.includes(`.${names.streams.tasks}.`) && word !== "+WPI") said.push(word);
  });
  let fail: () => void = () => undefined;
  const began: string[] = [];
  const host = await swarm.host("h", {
    kind: "paused",
    backoff: { initialMs: 1 },
    run: async ({ id }) => {
      began.push(id);
      if (id === "p2") return;
      await new Promise<void>((_, reject) => {
        fail = () => reject(new TaskError("LATE", "as ordered"));
      });
    },
  });
  await swarm.dispatcher();
  await swarm.submit("paused", { id: "p1", maxAttempts: 2 });
  await eventually(async () => (began.length > 0 ? true : undefined), "its first attempt");
  // The host was taken for dead, and another dispatcher began the task again.
  await attempts.write("default", { id: "p1" }, { attempts: 2 });
  fail();
  // The slot is free again.
  await swarm.submit("paused", { id: "p2" });
  await eventually(async () => (began.length > 1 ? true : undefined), "the next task");
  // What it has to say of either is said then, and has come here.
  await host.drain(60_000);
  await bus.flush();
  expect(said).toEqual(["+ACK"]);
  expect(began).toEqual(["p1", "p2"]);
  expect(await attempts.read("default", { id: "p1" })).toEqual({ v: 1, attempts: 2 });
  const lane = names.consumer({ pool: "default", kind: "paused" });
  expect(await consumerInfo(bus, names.streams.tasks, lane)).toMatchObject({ ackPending: 1 });
});

test("a task under an id that was used before, whose result is gone and whose record is not, is tried as often as it may be", async () => {
  const swarm = await Dealing.start(nats);
  // By then its result was older than a day.
  await swarm.attempts.write("default", { id: "r1", submittedAt: 1_000 }, { attempts: 2, ended: true });
  const attempts: number[] = [];
  await swarm.host("h", {
    kind: "again",
    backoff: { initialMs: 1, jitter: 0 },
    run: (_, { attempt }) => {
      attempts.push(attempt);
      throw new TaskError("LATER", "as ordered");
    },
  });
  await swarm.dispatcher();
  await swarm.submit("again", { id: "r1", maxAttempts: 3 });
  expect(await swarm.result("r1")).toMatchObject({ status: "failed", attempt: 3, error: { code: "LATER" } });
  expect(attempts).toEqual([1, 2, 3]);
});
