/** Dead letters of failed results whose writer died before the letter: whoever meets the result makes up for it. */
import { expect, test } from "vitest";
import { decode, encode } from "../../../src/bus/codec/codec.ts";
import { lastBySubject } from "../../../src/bus/stored.ts";
import type { DeadLetter, TaskResult } from "../../../src/protocols/result.ts";
import { Dealing } from "../../support/dealing.ts";
import { useNats } from "../../support/nats.ts";
import { eventually } from "../../support/wait.ts";

const nats = useNats();

async function open() {
  const swarm = await Dealing.start(nats);
  const { names, bus, publisher } = swarm;
  const store = async (id: string, result: Partial<TaskResult> | string): Promise<void> => {
    await publisher.publish(names.result("default", id), encode(result));
  };
  const letter = async (id: string): Promise<DeadLetter | undefined> => {
    const found = await lastBySubject(bus, names.streams.dead, names.dead("default", id));
    return found && (decode(found.data) as DeadLetter);
  };
  const settled = () =>
    eventually(async () => ((await swarm.waiting()) === 0 ? true : undefined), "the queue to be empty");
  return { swarm, store, letter, settled };
}

const failed = (code: string) =>
  ({ status: "failed", attempt: 2, error: { code, message: "as it was", retryable: false } }) as const;

test("a dispatcher that finds a failed result stores the letter that is missing, and no other", async () => {
  const { swarm, store, letter, settled } = await open();
  await swarm.host("h", { kind: "work", run: () => "never" });
  await store("orders", failed("ORDERED"));
  await store("crashes", failed("CRASHED_REPEATEDLY"));
  await store("fine", { status: "ok", attempt: 1 });
  await store("rubbish", "rubbish");
  await store("bad", failed("INVALID"));
  await store("known", failed("ORDERED"));
  await swarm.publisher.publish(swarm.names.dead("default", "known"), encode({ message: "the first one" }));
  for (const id of ["orders", "crashes", "fine", "rubbish", "known"]) await swarm.submit("work", { id, input: 7 });
  await swarm.submit("work", { id: "bad", timeoutMs: -1 });
  await swarm.dispatcher();
  await settled();
  const told = { attempts: 2, pool: "default", kind: "work" };
  expect(await letter("orders")).toMatchObject({
    ...told,
    reason: "attempts-exhausted",
    message: "ORDERED: as it was",
  });
  expect(await letter("crashes")).toMatchObject({ ...told, reason: "crashed-repeatedly", message: "as it was" });
  expect(await letter("bad")).toMatchObject({ ...told, reason: "invalid" });
  expect((await letter("orders"))?.task).toEqual(encode({ id: "orders", input: 7 }));
  expect(await letter("known")).toEqual({ message: "the first one" });
  expect([await letter("fine"), await letter("rubbish")]).toEqual([undefined, undefined]);
});

test("a host whose result comes second does so too", async () => {
  const { swarm, store, letter, settled } = await open();
  await swarm.host("h", {
    kind: "work",
    run: async ({ id }) => {
      await store(id, failed("ORDERED"));
      return "late";
    },
  });
  await swarm.dispatcher();
  await swarm.submit("work", { id: "late" });
  await settled();
  expect(await letter("late")).toMatchObject({ reason: "attempts-exhausted" });
});
