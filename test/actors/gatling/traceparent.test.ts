/** The W3C trace context of a task goes with it through the swarm. */
import { expect, test } from "vitest";
import { encode } from "../../../src/bus/codec/codec.ts";
import { TaskError } from "../../../src/protocols/errors.ts";
import { HEADERS } from "../../../src/protocols/subjects.ts";
import { traceparentOf } from "../../../src/protocols/traceparent.ts";
import { Dealing } from "../../support/dealing.ts";
import { useNats } from "../../support/nats.ts";
import { eventually, until } from "../../support/wait.ts";

const nats = useNats();
const TRACE = `00-${"a".repeat(32)}-${"b".repeat(16)}-01`;
const headers = { [HEADERS.traceparent]: TRACE };

test("only a whole trace context counts", () => {
  expect(traceparentOf(TRACE)).toBe(TRACE);
  const zeros = [`00-${"0".repeat(32)}-${"b".repeat(16)}-01`, `00-${"a".repeat(32)}-${"0".repeat(16)}-01`];
  for (const rubbish of [undefined, "", "rubbish", `${TRACE}-x`, TRACE.toUpperCase(), `ff${TRACE.slice(2)}`, ...zeros])
    expect(traceparentOf(rubbish)).toBeUndefined();
});

test("the behaviour, events, the result and replyTo get it; also elements, later attempts and verdicts", async () => {
  const swarm = await Dealing.start(nats);
  const { bus, names } = swarm;
  const seen = new Map<string, unknown>();
  const heard: unknown[] = [];
  await bus.subscribe(names.event("default", "*"), (message) => void heard.push(message.header(HEADERS.traceparent)));
  const answered: unknown[] = [];
  const inbox = bus.inbox();
  await bus.subscribe(inbox, (message) => void answered.push(message.header(HEADERS.traceparent)));
  await swarm.host("h", {
    kind: "look",
    slots: 1,
    run: ({ id }, ctx) => {
      seen.set(`${id} ${ctx.attempt}`, ctx.traceparent);
      ctx.progress(1);
      if (id.startsWith("again") && ctx.attempt === 1) throw new TaskError("ONCE_MORE", "as ordered");
    },
  });
  await swarm.dispatcher();
  await swarm.submit("look", { id: "one", replyTo: inbox }, { headers });
  await swarm.submit("look", [{ id: "again-1" }, { id: "again-2" }], { headers });
  await swarm.submit("look", { id: "bad", timeoutMs: 0 }, { headers });
  await swarm.submit("look", { id: "none" });
  await swarm.submit("look", { id: "rubbish" }, { headers: { [HEADERS.traceparent]: "rubbish" } });
  for (const id of ["one", "again-1", "again-2", "bad"]) {
    const result = await eventually(() => swarm.stored(id), `the result of ${id}`);
    expect(result.header(HEADERS.traceparent)).toBe(TRACE);
  }
  for (const id of ["none", "rubbish"]) {
    const result = await eventually(() => swarm.stored(id), `the result of ${id}`);
    expect(result.header(HEADERS.traceparent)).toBeUndefined();
  }
  expect(Object.fromEntries(seen)).toEqual({
    "one 1": TRACE,
    "again-1 1": TRACE,
    "again-1 2": TRACE,
    "again-2 1": TRACE,
    "again-2 2": TRACE,
    "none 1": undefined,
    "rubbish 1": undefined,
  });
  await bus.flush();
  // Progress of each run, and `retrying` of two.
  expect(heard.filter((trace) => trace === TRACE)).toHaveLength(7);
  expect(heard.filter((trace) => trace === undefined)).toHaveLength(2);
  await until(() => answered.length > 0);
  expect(answered).toEqual([TRACE]);
  // A result that is stored already is answered with the trace that it was stored with.
  await swarm.publisher.publish(names.task("default", "look"), encode({ id: "one", replyTo: inbox }));
  await eventually(async () => (answered.length > 1 ? true : undefined), "the stored result");
});
