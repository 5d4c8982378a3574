/** `ctx.checkpoint` and `ctx.restored` of agents that run on a real bus. */
import { expect, test } from "vitest";
import type { TaskContext } from "../../../src/actors/agent/definition.ts";
import { Checkpoints } from "../../../src/bus/checkpoints.ts";
import { KvBucket } from "../../../src/bus/kv.ts";
import { Objects } from "../../../src/bus/objects.ts";
import { streamInfo } from "../../../src/bus/topology.ts";
import { TaskError } from "../../../src/protocols/errors.ts";
import { objectStream } from "../../../src/protocols/subjects.ts";
import { Dealing } from "../../support/dealing.ts";
import { useNats } from "../../support/nats.ts";
import { eventually, rejection } from "../../support/wait.ts";

const nats = useNats();
const backoff = { initialMs: 1 };

function partsOf({ bus, publisher, names }: Dealing) {
  const bucket = new KvBucket(bus, publisher, names.buckets.checkpoints);
  const objects = new Objects(bus, publisher, names);
  return { bucket, checkpoints: new Checkpoints({ bucket, objects, names, maxPayload: () => bus.maxPayload }) };
}

test("an attempt begins with what the one before it stored last, and the end removes it", async () => {
  const swarm = await Dealing.start(nats);
  const { bucket } = partsOf(swarm);
  const restored: unknown[] = [];
  let key: string | undefined;
  await swarm.host("h", {
    kind: "count",
    backoff,
    run: async (task, ctx) => {
      restored.push(ctx.restored);
      if (ctx.attempt === 3) return (await bucket.get(`default.${task.id}`)) !== undefined;
      key = `default.${task.id}`;
      const state = { lines: ctx.attempt };
      const stored = ctx.checkpoint(state);
      state.lines = 99;
      await stored;
      await ctx.checkpoint({ lines: ctx.attempt * 10, bytes: new Uint8Array([1, 2]) });
      throw new TaskError("ONCE_MORE", "as ordered");
    },
  });
  await swarm.dispatcher();
  await swarm.submit("count", { id: "c1" });
  expect(await swarm.result("c1")).toMatchObject({ status: "ok", output: true, attempt: 3 });
  const bytes = new Uint8Array([1, 2]);
  expect(restored).toEqual([undefined, { lines: 10, bytes }, { lines: 20, bytes }]);
  await eventually(
    async () => (await bucket.getEntry(key ?? ""))?.deleted || undefined,
    "the removal of the checkpoint",
  );
});

test("a state too large for a message comes back too, and leaves nothing behind", async () => {
  const swarm = await Dealing.start(nats);
  const { bus, names } = swarm;
  const kept = async (): Promise<number> =>
    (await streamInfo(bus, objectStream(names.objectStores.inputs)))?.bytes ?? 0;
  let whileKept = 0;
  await swarm.host("h", {
    kind: "large",
    backoff,
    run: async (_, ctx) => {
      if (ctx.attempt === 2) {
        whileKept = await kept();
        return (ctx.restored as Uint8Array).length;
      }
      await ctx.checkpoint(Buffer.alloc(1_500_000, 1));
      await ctx.checkpoint(Buffer.alloc(2_000_000, 1));
      throw new TaskError("ONCE_MORE", "as ordered");
    },
  });
  await swarm.dispatcher();
  await swarm.submit("large", { id: "l1" });
  expect(await swarm.result("l1")).toMatchObject({ status: "ok", output: 2_000_000, attempt: 2 });
  // The first of the two was removed when the second had taken its place.
  expect(whileKept).toBeGreaterThan(2_000_000);
  expect(whileKept).toBeLessThan(2_100_000);
  await eventually(async () => (await kept()) < 10_000 || undefined, "the removal of the object");
});

test("an attempt that a later one has followed is told so, and overwrites nothing", async () => {
  const swarm = await Dealing.start(nats);
  const { checkpoints } = partsOf(swarm);
  const [early, late] = [checkpoints.of("default", "t"), checkpoints.of("default", "t")];
  await early.write(1, "early");
  expect(await late.read()).toBe("early");
  // The first attempt goes on writing for as long as the second has not.
  await early.write(1, "early still");
  await late.write(2, "late");
  expect(await rejection(early.write(1, "too late"))).toMatchObject({ code: "SUPERSEDED" });
  expect(await checkpoints.of("default", "t").read()).toBe("late");
});

test("what cannot be encoded is refused, and so is what comes after the end", async () => {
  const swarm = await Dealing.start(nats);
  let kept: TaskContext | undefined;
  await swarm.host("h", {
    kind: "wrong",
    run: async (_, ctx) => {
      kept = ctx;
      const error = await rejection(ctx.checkpoint(() => null));
      return (error as { code?: unknown }).code;
    },
  });
  await swarm.dispatcher();
  await swarm.submit("wrong", { id: "w1" });
  expect(await swarm.result("w1")).toMatchObject({ status: "ok", output: "INVALID_OUTPUT" });
  expect(await rejection(kept?.checkpoint(1) ?? Promise.resolve())).toMatchObject({ code: "SUPERSEDED" });
});
