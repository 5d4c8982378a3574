/** `now` against real dispatchers and hosts that meet on one nats-server. */
import { expect, test } from "vitest";
import { Now, type NowOptions } from "../../../src/actors/gatling/now.ts";
import type { Bus, BusMessage } from "../../../src/bus/bus.ts";
import { decode, encode } from "../../../src/bus/codec/codec.ts";
import { systemClock } from "../../../src/protocols/clock.ts";
import { HEADERS, Names } from "../../../src/protocols/subjects.ts";
import { Dealing } from "../../support/dealing.ts";
import { useNats } from "../../support/nats.ts";
import { eventually } from "../../support/wait.ts";

const nats = useNats();
const REFUSED = { error: { code: "RESOURCE_LIMIT", retryable: true } };

async function open(slots: number) {
  const swarm = await Dealing.start(nats);
  const began: string[] = [];
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  await swarm.host("h", {
    kind: "hold",
    slots,
    run: async ({ id }) => {
      began.push(id);
      await released;
      return "held";
    },
  });
  const dispatchers = [await swarm.dispatcher("d1"), await swarm.dispatcher("d2")];
  const subject = swarm.names.now("default", "hold");
  const ask = (body: unknown): Promise<unknown> => swarm.ask(subject, body);
  /** Asks until whoever is asked knows the host. */
  const take = (id: string): Promise<{ readonly id?: string; readonly agent?: string }> =>
    eventually(async () => {
      const answer = (await ask({ id })) as { id?: string; agent?: string };
      return answer.id === undefined ? undefined : answer;
    }, "an agent to take it");
  return { swarm, dispatchers, began, release, ask, subject, take };
}

test("a task is taken at once by a free agent, or refused and never stored", async () => {
  const { swarm, began, release, ask, subject, take } = await open(1);
  const { names, bus } = swarm;
  const taken = await take("first");
  expect(taken).toEqual({ id: "first", agent: expect.stringContaining("h") });
  expect(await ask({ id: "second" })).toMatchObject(REFUSED);
  expect(await swarm.ask(names.now("default", "nobody"), {})).toMatchObject(REFUSED);
  // P9: any bytes, and what cannot be both now and later.
  for (const body of [[{}], { priority: "high" }, { notBefore: 1 }, { timeoutMs: 0 }, 7, Buffer.from([0xc1])])
    expect(await ask(body)).toMatchObject({ error: { code: "INVALID" } });
  const json = await bus.request("now", subject, Buffer.from("{}"), { timeoutMs: 10_000 });
  expect(JSON.parse(Buffer.from(json.data).toString())).toMatchObject(REFUSED);
  // One that was stored when an agent seemed free, and is reached too late, leaves no trace.
  const inbox = bus.inbox();
  const late = { [HEADERS.nowReply]: inbox, [HEADERS.nowUntil]: "1" };
  const answers: unknown[] = [];
  await bus.subscribe(inbox, ({ data }) => void answers.push(data));
  release();
  expect(await swarm.result("first")).toMatchObject({ status: "ok", output: "held" });
  await swarm.submit("hold", { id: "late" }, { headers: late, priority: "high" });
  await eventually(async () => (answers.length > 0 ? true : undefined), "the late one to be refused");
  await eventually(async () => ((await swarm.waiting()) === 0 ? true : undefined), "the queue to be empty");
  for (const id of ["second", "late"]) expect(await swarm.stored(id)).toBeUndefined();
  expect(began).toEqual(["first"]);
  // Its result is there: it is not run again. Who is asked may not have heard yet that the agent is free.
  expect(await take("first")).toEqual(taken);
  expect(began).toEqual(["first"]);
});

test("of many that are asked for at once as many are taken as there are slots, and nothing is left in the queue", async () => {
  const { swarm, dispatchers, began, release, subject, take } = await open(4);
  await take("first");
  const taken: string[] = [];
  // On a busy machine all of them may come too late.
  for (let round = 0; taken.length === 0; round++) {
    const asked = Array.from({ length: 20 }, (_, i) => `n${round}-${i}`);
    const answers = await Promise.all(
      asked.map(async (id) => (await swarm.ask(subject, { id })) as { id?: string; error?: { code: string } }),
    );
    for (const { id, error } of answers)
      if (id === undefined) expect(error?.code).toBe("RESOURCE_LIMIT");
      else taken.push(id);
  }
  expect(taken.length).toBeLessThanOrEqual(3);
  release();
  for (const id of taken) expect(await swarm.result(id)).toMatchObject({ status: "ok" });
  await eventually(async () => ((await swarm.waiting()) === 0 ? true : undefined), "the queue to be empty");
  expect([...began].sort()).toEqual(["first", ...taken].sort());
  // An answer is given at inboxes only.
  swarm.bus.publish(subject, encode({}), { reply: swarm.names.result("default", "forged") });
  await swarm.bus.flush();
  // They have looked at all that came by then, and said what they had to say.
  await Promise.all(dispatchers.map((dispatcher) => dispatcher.stop(0)));
  expect(await swarm.stored("forged")).toBeUndefined();
});

test("P9: of those that are on their way to one lane there are only so many, whatever room it seems to have", () => {
  const names = new Names();
  const answers: unknown[] = [];
  const bus = {
    state: "connected",
    publish: (_: string, data: Uint8Array) => answers.push(decode(data)),
  } as unknown as Bus;
  const findLane = () => ({ hasRoom: true, expected: 4_096, expect: () => expect.unreachable() });
  const now = new Now({ bus, names, clock: systemClock, findLane } as unknown as NowOptions);
  const message = {
    subject: names.now("default", "hold"),
    reply: "_INBOX.me",
    data: encode({}),
    header: () => undefined,
  };
  now.take(message as unknown as BusMessage);
  expect(answers).toMatchObject([REFUSED]);
});
