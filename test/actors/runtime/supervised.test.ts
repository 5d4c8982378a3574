import { expect, test } from "vitest";
import { assign, fromCallback, fromPromise, setup } from "xstate";
import type { RuntimeContext } from "../../../src/actors/runtime/context.ts";
import type {
  Escalation,
  EscalationDecision,
  InspectionEvent,
  StopReason,
} from "../../../src/actors/runtime/inspection.ts";
import { Listeners } from "../../../src/actors/runtime/listeners.ts";
import { LocalRoot } from "../../../src/actors/runtime/local-root.ts";
import { Supervised, type SupervisedOptions } from "../../../src/actors/runtime/supervised.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { RecordingLogger } from "../../support/recording-logger.ts";

function bench(decide: (escalation: Escalation) => EscalationDecision = () => "stop") {
  const clock = new ManualClock();
  const logger = new RecordingLogger();
  const escalations: Escalation[] = [];
  const inspection = new Listeners<InspectionEvent>(logger);
  const events: InspectionEvent[] = [];
  inspection.add((event) => events.push(event));
  const escalate = (escalation: Escalation): EscalationDecision => {
    escalations.push(escalation);
    return decide(escalation);
  };
  const context: RuntimeContext = { clock, random: () => 1, logger, inspection, escalate };
  const ends: StopReason[] = [];
  const make = (
    logic: SupervisedOptions["logic"],
    hooks: Partial<SupervisedOptions["hooks"]> = {},
    root?: LocalRoot,
  ): Supervised =>
    new Supervised(context, {
      name: "subject",
      logic,
      hooks: { input: () => undefined, ended: (reason) => ends.push(reason), ...hooks },
      root,
    });
  return { clock, logger, context, events, escalations, ends, make };
}

type CounterEvent = { type: "add" } | { type: "boom" } | { type: "finish" };

const counter = setup({
  types: { context: {} as { n: number }, events: {} as CounterEvent },
  actions: {
    boom: () => {
      throw new Error("boom");
    },
  },
}).createMachine({
  context: { n: 0 },
  initial: "open",
  states: {
    open: {
      on: {
        add: { actions: assign({ n: ({ context }) => context.n + 1 }) },
        boom: { actions: "boom" },
        finish: "closed",
      },
    },
    closed: { type: "final" },
  },
});

function counted(actor: Supervised): number {
  return (actor.snapshot() as { context: { n: number } }).context.n;
}

test("starts again at its initial state after a failure, with growing delays", async () => {
  const { make, clock, events } = bench();
  const actor = make(counter);
  actor.start();
  actor.send({ type: "add" });
  expect(counted(actor)).toBe(1);
  for (const delayMs of [100, 200, 400, 800, 1_600]) {
    expect(actor.send({ type: "boom" })).toBe(true);
    expect(actor.state).toBe("restarting");
    expect(actor.send({ type: "add" })).toBe(false);
    await clock.advance(delayMs - 1);
    expect(actor.state).toBe("restarting");
    await clock.advance(1);
    expect(actor.state).toBe("running");
    expect(counted(actor)).toBe(0);
  }
  expect(events.filter(({ type }) => type === "restarting")).toHaveLength(5);
  expect(actor.restarts).toBe(5);
});

test("the sixth failure within 30 s is escalated to the host, and the actor ends", async () => {
  const { make, clock, escalations, ends, events } = bench();
  const actor = make(counter);
  actor.start();
  for (let failure = 1; failure <= 5; failure++) {
    actor.send({ type: "boom" });
    await clock.advance(2_000);
  }
  expect(escalations).toEqual([]);
  actor.send({ type: "boom" });
  expect(escalations).toMatchObject([{ name: "subject", error: { message: "boom" } }]);
  expect([actor.state, ends]).toEqual(["ended", ["failed"]]);
  expect(events.slice(-2)).toMatchObject([
    { type: "escalated", decision: "stop" },
    { type: "stopped", reason: "failed" },
  ]);
  expect(clock.armed).toBe(0);
});

test("failures further apart than the window go on being restarted", async () => {
  const { make, clock, escalations } = bench();
  const actor = make(counter);
  actor.start();
  for (let failure = 1; failure <= 30; failure++) {
    actor.send({ type: "boom" });
    await clock.advance(6_000);
    expect(actor.state).toBe("running");
  }
  expect(escalations).toEqual([]);
});

test("the host may have an escalated actor started again", async () => {
  const { make, clock, escalations } = bench(() => "restart");
  const actor = make(counter);
  actor.start();
  for (let failure = 1; failure <= 6; failure++) {
    actor.send({ type: "boom" });
    await clock.advance(failure === 6 ? 0 : 2_000);
  }
  expect(escalations).toHaveLength(1);
  await clock.advance(5_000);
  expect(actor.state).toBe("running");
});

test("half of the delay is random", async () => {
  const { make, clock, context } = bench();
  const actor = new Supervised(
    { ...context, random: () => 0 },
    { name: "subject", logic: counter, hooks: { input: () => undefined } },
  );
  actor.start();
  actor.send({ type: "boom" });
  await clock.advance(50);
  expect(actor.state).toBe("running");
  expect(make(counter).state).toBe("off");
});

test("the failure of the very first start reaches the caller, later ones the supervisor", async () => {
  const { make, clock, ends } = bench();
  let broken = true;
  const machine = setup({}).createMachine({
    entry: () => {
      if (broken) throw new Error("not today");
    },
  });
  const actor = make(machine);
  expect(() => actor.start()).toThrow("not today");
  expect(actor.state).toBe("off");
  broken = false;
  actor.start();
  expect(actor.state).toBe("running");
  expect([clock.armed, ends]).toEqual([0, []]);
});

test("where the supervisor answers for the first start, it starts the machine again", async () => {
  const { make, clock } = bench();
  let broken = true;
  const machine = setup({}).createMachine({
    entry: () => {
      if (broken) throw new Error("not yet");
    },
  });
  const actor = make(machine);
  actor.start("supervisor");
  expect(actor.state).toBe("restarting");
  broken = false;
  await clock.advance(100);
  expect(actor.state).toBe("running");
});

test("an input that throws is a failure of the start", () => {
  const { make } = bench();
  const actor = make(counter, {
    input: () => {
      throw new Error("no input");
    },
  });
  expect(() => actor.start()).toThrow("no input");
});

test("children of a failed machine are stopped before it starts again", async () => {
  const { make, clock } = bench();
  let living = 0;
  const child = fromCallback(() => {
    living++;
    return () => {
      living--;
    };
  });
  const machine = setup({ actors: { child }, types: { events: {} as { type: "boom" } } }).createMachine({
    invoke: { src: "child", id: "child" },
    on: {
      boom: {
        actions: () => {
          throw new Error("boom");
        },
      },
    },
  });
  const actor = make(machine);
  actor.start();
  expect(living).toBe(1);
  actor.send({ type: "boom" });
  expect(living).toBe(0);
  await clock.advance(100);
  expect([actor.state, living]).toEqual(["running", 1]);
  actor.stop();
  expect(living).toBe(0);
});

test("a child that fails with nobody to handle it fails its machine, and not the process", async () => {
  const { make, clock } = bench();
  const child = fromPromise(async () => {
    throw new Error("from afar");
  });
  const actor = make(setup({ actors: { child } }).createMachine({ invoke: { src: "child" } }));
  actor.start();
  await clock.advance(0);
  expect(actor.state).toBe("restarting");
});

test("ends at its final state, and what was waiting for it is told", () => {
  const { make, ends, events } = bench();
  const actor = make(counter);
  actor.start();
  actor.send({ type: "finish" });
  expect([actor.state, ends]).toEqual(["ended", ["done"]]);
  expect(actor.send({ type: "add" })).toBe(false);
  expect(events.at(-1)).toMatchObject({ type: "stopped", reason: "done" });
});

test("a machine that is at its final state from the start has started and ended", () => {
  const { make, ends, events } = bench();
  const actor = make(setup({}).createMachine({ initial: "end", states: { end: { type: "final" } } }));
  actor.start();
  expect([actor.state, ends]).toEqual(["ended", ["done"]]);
  expect(events.map(({ type }) => type)).toEqual(["started", "stopped"]);
});

test("stop works before the start, while waiting for a restart, and twice", async () => {
  const { make, clock } = bench();
  const actor = make(counter);
  actor.stop();
  actor.start();
  actor.send({ type: "boom" });
  actor.stop();
  actor.stop();
  await clock.advance(10_000);
  expect(actor.state).toBe("off");
  expect(clock.armed).toBe(0);
});

test("delays of a machine run on the injected clock, and end with it", async () => {
  const { make, clock } = bench();
  const machine = setup({}).createMachine({ initial: "a", states: { a: { after: { 5000: "b" } }, b: {} } });
  const actor = make(machine);
  actor.start();
  await clock.advance(4_999);
  expect(actor.value()).toBe("a");
  await clock.advance(1);
  expect(actor.value()).toBe("b");
  const stopped = make(machine);
  stopped.start();
  stopped.stop();
  expect(clock.armed).toBe(0);
});

test("knows which events the machine does something with in its state", () => {
  const { make } = bench();
  const actor = make(counter);
  actor.start();
  expect([actor.takes({ type: "add" }), actor.takes({ type: "other" })]).toEqual([true, false]);
});

test("reports transitions with both states, and a listener that throws is logged and harms nothing", () => {
  const { make, context, events, logger } = bench();
  context.inspection.add(() => {
    throw new Error("a bad listener");
  });
  const actor = make(counter);
  actor.start();
  actor.send({ type: "add" });
  actor.send({ type: "finish" });
  expect(events).toMatchObject([
    { type: "started", name: "subject", restarts: 0 },
    { type: "transition", event: "add", from: "open", to: "open" },
    { type: "transition", event: "finish", from: "open", to: "closed" },
    { type: "stopped", reason: "done" },
  ]);
  expect(logger.lines.filter(({ message }) => message.startsWith("A listener threw"))).toHaveLength(4);
});

test("actors of one root share its XState system, and none minds how another ends", async () => {
  const { make, clock, ends } = bench();
  const root = new LocalRoot(clock);
  const systems = new Set<unknown>();
  let late = 0;
  const watched = setup({ types: { events: {} as CounterEvent } }).createMachine({
    entry: ({ system }) => systems.add(system),
    on: {
      boom: {
        actions: () => {
          throw new Error("boom");
        },
      },
      finish: ".closed",
    },
    initial: "open",
    states: { open: { after: { 1000: "late" } }, late: { entry: () => late++ }, closed: { type: "final" } },
  });
  const [failing, ending, stopped, last] = Array.from({ length: 4 }, () => make(watched, {}, root));
  for (const actor of [failing, ending, stopped, last]) actor?.start();
  expect(systems.size).toBe(1);
  failing?.send({ type: "boom" });
  ending?.send({ type: "finish" });
  stopped?.stop();
  expect([failing?.state, ending?.state, stopped?.state, last?.state]).toEqual([
    "restarting",
    "ended",
    "off",
    "running",
  ]);
  expect(stopped?.send({ type: "finish" })).toBe(false);
  expect(ends).toEqual(["done"]);
  await clock.advance(100);
  expect([failing?.value(), last?.value()]).toEqual(["open", "open"]);
  // Their delays are their own: one began anew.
  await clock.advance(900);
  expect([failing?.value(), last?.value()]).toEqual(["open", "late"]);
  await clock.advance(100);
  expect(failing?.value()).toBe("late");
  // Neither the one that ended nor the one that was stopped lives on.
  expect(late).toBe(2);
  expect(root.actor.getSnapshot().status).toBe("active");
});
