import { expect, test } from "vitest";
import { RunContext } from "../../../src/actors/agent/context.ts";
import { decode } from "../../../src/bus/codec/codec.ts";
import { systemClock } from "../../../src/protocols/clock.ts";
import { Names } from "../../../src/protocols/subjects.ts";

test("what a behaviour takes out of ctx works without it", () => {
  const published: unknown[] = [];
  const bus = { publish: (_: string, bytes: Uint8Array) => void published.push(decode(bytes)) };
  const run = { id: "t1", agent: 0, attempt: 1, lane: { pool: "p", kind: "k" }, encoding: "msgpack", ended: false };
  const options = { bus, names: new Names(), hostId: "h", clock: systemClock, random: Math.random };
  const { progress, output } = new RunContext(run as never, options as never);
  progress({ step: 1 });
  output("a");
  output("b");
  expect(published).toMatchObject([
    { id: "t1", type: "progress", data: { step: 1 } },
    { type: "output", data: { seq: 0, chunk: "a" } },
    { type: "output", data: { seq: 1, chunk: "b" } },
  ]);
});
