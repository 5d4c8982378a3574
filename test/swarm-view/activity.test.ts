import { expect, test } from "vitest";
import { encode } from "../../src/bus/codec/codec.ts";
import { ActivityWatch } from "../../src/swarm-view/activity.ts";
import { heartbeatOf } from "../support/heartbeat.ts";

const result = (kind: string, code?: string): Uint8Array =>
  encode({
    ...{
      id: "t",
      pool: "p",
      kind,
      status: code === undefined ? "ok" : "failed",
      attempt: 1,
      submittedAt: 0,
      finishedAt: 5,
    },
    ...(code !== undefined && { error: { code, message: "why", retryable: false } }),
  });

test("tells how many tasks a second end in each lane, and which kinds fail", () => {
  let now = 0;
  const watch = new ActivityWatch(() => now);
  for (let i = 0; i < 10; i++) watch.result(result("a"));
  watch.result(result("b", "NO"));
  watch.result(result("b", "NO"));
  watch.result(new Uint8Array([1, 2, 3]));
  now = 2_000;
  const activity = watch.tick();
  expect(activity.lanes.get("p.b")?.failed).toBeCloseTo(13 / 12);
  expect(activity.failing).toEqual([{ lane: "p.b", code: "NO", message: "why", count: 2, lastAt: 5 }]);
  now = 60_000;
  expect(watch.tick().tasksPerSecond).toBe(0);
});

test("counts what it does not decode, and shares it out", () => {
  let now = 0;
  const watch = new ActivityWatch(() => now);
  const [one, other] = [result("a"), result("b")];
  for (let i = 0; i < 20_000; i++) watch.result(i % 4 === 0 ? other : one);
  now = 1_000;
  const { tasksPerSecond, lanes } = watch.tick();
  expect(tasksPerSecond).toBe(20_000);
  expect(lanes.get("p.a")?.done).toBeCloseTo(15_000);
  expect(lanes.get("p.b")?.done).toBeCloseTo(5_000);
});

test("a node that starts again begins at nothing", () => {
  let now = 0;
  const watch = new ActivityWatch(() => now);
  watch.heartbeat(heartbeatOf({ run: "1", finished: 100 }));
  now = 1_000;
  watch.heartbeat(heartbeatOf({ run: "1", finished: 150 }));
  expect(watch.tick().nodes.get("h")).toBe(50);
  watch.heartbeat(heartbeatOf({ run: "2", finished: 0 }));
  expect(watch.tick().nodes.get("h")).toBe(0);
});
