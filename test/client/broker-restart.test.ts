/** Every call of the library over a broker that is killed and started again while it is under way. */
import { expect, test } from "vitest";
import type { TaskResult } from "../../src/protocols/result.ts";
import { useClientRig } from "./rig.ts";

const { nats, swarm, client } = useClientRig();
const LIMIT = { timeoutMs: 100_000 };

test("no call fails because the broker was started again while it was under way", async () => {
  const fake = await swarm();
  const user = await client(fake);
  const pool = "default";
  // What needs a dispatcher is answered when it is back.
  await fake.answers(fake.names.status(pool, "*"), (_, { subject }) => ({
    ...{ id: subject.split(".").at(-1), pool },
    state: "unknown",
  }));
  await fake.answers(fake.names.cancel(pool, "*"), (_, { subject }) => ({
    ...{ id: subject.split(".").at(-1) },
    state: "unknown",
  }));
  await fake.answers(fake.names.now(pool, "*"), (question) => ({ id: (question as { id: string }).id, agent: "h1-0" }));
  const before = await user.submitMany("later", [1, 2, 3]);
  await before.recorded;
  const events = before[0]?.events();
  const following: TaskResult[] = [];
  const followed = (async () => {
    for await (const result of user.results({ follow: true })) if (following.push(result) === 3) return;
  })();
  const waiting = before.map((task) => task.result());
  await nats.kill();
  // The connection is gone, and the client knows it or not yet.
  const calls = Promise.all([
    user.submit("echo", 1),
    user.submitMany("echo", [1, 2, 3]),
    user.now("echo", 1, { submitTimeoutMs: LIMIT.timeoutMs }),
    user.cancel(pool, "x", LIMIT),
    user.status(pool, "x", LIMIT),
    user.batch(pool, before.id, LIMIT),
    before.progress(LIMIT),
    user.offered(pool, "nothing", LIMIT),
  ]);
  await nats.start();
  const [one, many, now, cancelled, state, batch, progress, offered] = await calls;
  expect(one.id).toMatch(/^s\d+$/);
  expect(many).toHaveLength(3);
  expect(now.agent).toBe("h1-0");
  expect(cancelled).toEqual({ id: "x", state: "unknown" });
  expect(state).toEqual({ id: "x", pool, state: "unknown" });
  expect(batch.map(({ id }) => id)).toEqual(before.map(({ id }) => id));
  expect(progress).toMatchObject({ total: 3, open: 3 });
  expect(offered).toBe(false);
  expect((await events?.next())?.value, "a gap is told").toMatchObject({ type: "dropped", reason: "disconnected" });
  await fake.offer("later");
  expect((await Promise.all(waiting)).map(({ output }) => output)).toEqual([1, 2, 3]);
  await followed;
  expect(following.map(({ id }) => id).sort()).toEqual(before.map(({ id }) => id).sort());
  expect(await events?.next()).toMatchObject({ done: true });
  expect(await before.progress(LIMIT)).toMatchObject({ ok: 3, open: 0 });
});
