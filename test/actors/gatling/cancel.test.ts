/** Cancel and status against real dispatchers and hosts that meet on one nats-server. */
import { expect, onTestFinished, test } from "vitest";
import type { AgentDefinition } from "../../../src/actors/agent/definition.ts";
import { decode, encode } from "../../../src/bus/codec/codec.ts";
import { KvBucket } from "../../../src/bus/kv.ts";
import { TaskError } from "../../../src/protocols/errors.ts";
import type { Burst } from "../../../src/protocols/host-messages.ts";
import { ACK_PREFIX, HEADERS } from "../../../src/protocols/subjects.ts";
import { Dealing } from "../../support/dealing.ts";
import { heartbeatOf } from "../../support/heartbeat.ts";
import { useNats } from "../../support/nats.ts";
import { eventually } from "../../support/wait.ts";

const nats = useNats();

/** Runs until it is told to end, or its signal is. */
class Gate {
  readonly began: string[] = [];
  readonly aborted: unknown[] = [];
  #open: () => void = () => undefined;
  readonly #opened = new Promise<void>((resolve) => {
    this.#open = resolve;
  });

  open(): void {
    this.#open();
  }

  agent(kind: string, slots = 1): AgentDefinition {
    return {
      kind,
      slots,
      run: async ({ id }, { signal }) => {
        this.began.push(id);
        await new Promise<void>((resolve, reject) => {
          void this.#opened.then(resolve);
          signal.addEventListener("abort", () => {
            this.aborted.push((signal.reason as { code?: string }).code);
            reject(signal.reason as Error);
          });
        });
        return "ran";
      },
    };
  }
}

/** What `cancel` and `status` are asked. */
function asking(swarm: Dealing) {
  const { names } = swarm;
  return {
    cancel: async (id: string, body?: unknown) => {
      const reply = (await swarm.askPatiently(names.cancel("default", id), body)) as { id: string; state: string };
      expect(reply.id).toBe(id);
      return reply.state;
    },
    status: (id: string) => swarm.askPatiently(names.status("default", id)),
  };
}

test("P1, P2: a task that waits is cancelled wherever it waits, and its behaviour never runs", async () => {
  const swarm = await Dealing.start(nats);
  const { bus, names } = swarm;
  const { cancel, status } = asking(swarm);
  const gate = new Gate();
  const failed: string[] = [];
  await swarm.host("h", gate.agent("gate"), {
    kind: "fails",
    slots: 8,
    backoff: { initialMs: 3_600_000, maxMs: 3_600_000 },
    run: ({ id }) => {
      failed.push(id);
      throw new TaskError("LATER", "as ordered");
    },
  });
  await swarm.dispatcher("d1");
  await swarm.dispatcher("d2");
  const inbox = bus.inbox();
  const answered: unknown[] = [];
  await bus.subscribe(inbox, ({ data }) => void answered.push((decode(data) as { status: string }).status));
  const auto = async (kind: string, task: object = {}): Promise<string> => `s${await swarm.submit(kind, task)}`;

  // The only slot is taken; what follows waits in a dispatcher's hands or in the queue.
  const first = await auto("gate");
  await eventually(async () => (gate.began.length > 0 ? true : undefined), "the slot to be taken");
  expect(await status(first)).toMatchObject({ state: "running", host: "h", agent: expect.any(String), attempt: 1 });

  const queued = await auto("gate", { replyTo: inbox });
  expect(await status(queued)).toMatchObject({ state: "waiting", kind: "gate", priority: "normal", attempts: 0 });
  const stays = await auto("gate");
  expect(await cancel(queued)).toBe("cancelled");
  expect(await cancel(queued)).toBe("finished");
  expect(await swarm.result(queued)).toMatchObject({ status: "cancelled", kind: "gate", attempt: 0 });
  expect(await status(queued)).toMatchObject({ state: "finished", status: "cancelled" });
  await eventually(async () => (answered.length > 0 ? true : undefined), "replyTo");
  expect(new Set(answered)).toEqual(new Set(["cancelled"]));

  // Nobody offers the kind.
  const lonely = await auto("nobody");
  expect(await cancel(lonely)).toBe("cancelled");
  expect(await swarm.result(lonely)).toMatchObject({ status: "cancelled", kind: "nobody" });

  // In the pause before its second attempt.
  const failing = await swarm.submit("fails", {});
  const backoff = `s${failing}`;
  const pausing = await eventually(async () => {
    const now = (await status(backoff)) as { state: string; attempts?: number };
    return now.state === "waiting" && now.attempts === 1 ? now : undefined;
  }, "the backoff");
  expect(pausing).toMatchObject({ error: { code: "LATER" } });
  expect(await cancel(backoff)).toBe("cancelled");
  expect(await swarm.result(backoff)).toMatchObject({ status: "cancelled", attempt: 1 });
  // It comes again now, and not in an hour.
  const lane = names.consumer({ pool: "default", kind: "fails" });
  bus.publish(`${ACK_PREFIX}${names.streams.tasks}.${lane}.1.${failing}.1.0.0`, Buffer.from("-NAK"));

  // An element of an array that nobody has reached; the others run.
  const array = await swarm.submit("gate", [{}, {}, { id: "named" }]);
  expect(await cancel(`s${array}-1`)).toBe("cancelled");
  expect(await status("named")).toMatchObject({ state: "waiting", kind: "gate" });
  expect(await cancel("named", { kind: "gate" })).toBe("cancelled");
  expect(await cancel(`s${array}`)).toBe("unknown");
  expect(await cancel(`s${array}-7`)).toBe("unknown");

  // An element that was published again on its own.
  const moved = { [HEADERS.taskId]: "s1-4", [HEADERS.submittedAt]: "5", [HEADERS.attempts]: "1" };
  await swarm.submit("gate", {}, { headers: moved });
  expect(await cancel("s1-4")).toBe("cancelled");
  expect(await swarm.result("s1-4")).toMatchObject({ status: "cancelled", submittedAt: 5 });

  // Never existed; not yet submitted.
  expect(await cancel("s77")).toBe("unknown");
  expect(await status("s77")).toEqual({ state: "unknown", id: "s77", pool: "default" });
  expect(await cancel("early", { kind: "gate" })).toBe("cancelled");
  await swarm.submit("gate", { id: "early" });

  // Asked in JSON, answered in JSON.
  const json = await eventually(async () => {
    const subject = names.cancel("default", queued);
    const { data } = await bus.request("cancel", subject, Buffer.from("{}"), { timeoutMs: 10_000 });
    const answer = JSON.parse(Buffer.from(data).toString()) as { error?: { code: string } };
    return answer.error?.code === "TIMEOUT" ? undefined : answer;
  }, "an answer in JSON");
  expect(json).toEqual({ id: queued, state: "finished" });
  // P9: any bytes.
  for (const bytes of [encode({ kind: "a.b" }), encode(7), Buffer.from([0xc1, 0]), Buffer.from("{")])
    expect(await swarm.ask(names.cancel("default", first), bytes)).toMatchObject({ error: { code: "INVALID" } });

  gate.open();
  for (const id of [first, stays, `s${array}-0`])
    expect(await swarm.result(id)).toMatchObject({ status: "ok", output: "ran" });
  await eventually(async () => ((await swarm.waiting()) === 0 ? true : undefined), "the queue to be empty");
  expect([...gate.began].sort()).toEqual([first, stays, `s${array}-0`].sort());
  expect(failed).toEqual([backoff]);
  // What was reached left no mark behind.
  const bucket = new KvBucket(bus, swarm.publisher, names.buckets.cancels);
  for (const id of ["named", "early", `s${array}-1`])
    await eventually(async () => ((await bucket.get(`default.${id}`)) ? undefined : true), `${id} to be forgotten`);
});

test("a task that runs is told, ends as cancelled without another attempt, and is left alone if only waiting ones are meant", async () => {
  const swarm = await Dealing.start(nats);
  const { cancel } = asking(swarm);
  const gate = new Gate();
  const ignoring: (() => void)[] = [];
  await swarm.host("h", gate.agent("gate", 4), {
    kind: "deaf",
    run: () => new Promise<void>((resolve) => ignoring.push(resolve)),
  });
  await swarm.dispatcher();
  const single = `s${await swarm.submit("gate", { maxAttempts: 3 })}`;
  const element = `s${await swarm.submit("gate", [{}])}-0`;
  const deaf = `s${await swarm.submit("deaf", {})}`;
  await eventually(async () => (gate.began.length + ignoring.length === 3 ? true : undefined), "all to run");
  expect(await cancel(single, { waiting: true })).toBe("running");
  expect(gate.aborted).toEqual([]);
  for (const id of [single, element, deaf]) {
    expect(await cancel(id)).toBe("cancelling");
    expect(await swarm.result(id)).toMatchObject({
      status: "cancelled",
      attempt: 1,
      host: "h",
      error: { code: "CANCELLED" },
    });
    expect(await cancel(id)).toBe("finished");
  }
  await eventually(async () => ((await swarm.waiting()) === 0 ? true : undefined), "the queue to be empty");
  expect(gate.began).toEqual([single, element]);
  expect(gate.aborted).toEqual(["CANCELLED", "CANCELLED"]);
  for (const end of ignoring) end();
});

test("P1, P2: of tasks that are cancelled while they are dealt each ends once, and none that was cancelled begins later", async () => {
  const swarm = await Dealing.start(nats);
  const { cancel } = asking(swarm);
  const began = new Set<string>();
  const replied = new Set<string>();
  const late: string[] = [];
  const run: AgentDefinition["run"] = ({ id }) => {
    if (replied.has(id)) late.push(id);
    began.add(id);
  };
  await swarm.host("h1", { kind: "quick", slots: 2, run });
  await swarm.host("h2", { kind: "quick", slots: 2, run });
  await swarm.dispatcher("d1");
  await swarm.dispatcher("d2");
  // Known to both dispatchers by the time that the first question is answered.
  expect(await cancel("s1")).toBe("unknown");
  const round = async (): Promise<void> => {
    const ids: string[] = [];
    const states = await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const sequence = await swarm.submit("quick", i % 10 === 0 ? [{}, {}] : {});
        const id = i % 10 === 0 ? `s${sequence}-1` : `s${sequence}`;
        ids.push(id, ...(i % 10 === 0 ? [`s${sequence}-0`] : []));
        const state = await cancel(id);
        if (state === "cancelled") replied.add(id);
        return { id, state };
      }),
    );
    for (const { id, state } of states) {
      expect(["cancelled", "cancelling", "finished"]).toContain(state);
      const { status } = await swarm.result(id);
      expect(status).toBe(state === "finished" ? "ok" : "cancelled");
      if (state === "cancelled") expect(began.has(id)).toBe(false);
    }
    for (const id of ids) await swarm.result(id);
  };
  // On a busy machine all of them may have run before the first is asked about.
  while (replied.size === 0) await round();
  await eventually(async () => ((await swarm.waiting()) === 0 ? true : undefined), "the queue to be empty");
  expect(late).toEqual([]);
});

test("P1: a task whose host dies after it was told does not run again", async () => {
  const swarm = await Dealing.start(nats);
  const { bus, names } = swarm;
  const { cancel } = asking(swarm);
  const gate = new Gate();
  // A host that the test plays takes the task, says that it was told, and is never heard of again.
  const groups = [{ pool: "default", kinds: ["gate"], first: 0, count: 1, slots: 1 }];
  const beat = (): void =>
    bus.publish(names.heartbeat("dying"), encode(heartbeatOf({ host: "dying", groups, running: [0] })));
  const beating = setInterval(beat, 200);
  onTestFinished(() => clearInterval(beating));
  const ids: string[] = [];
  const subscriptions = [
    await bus.subscribe(names.host("dying", "burst"), (message) => {
      const { burst, items } = decode(message.data) as Burst;
      ids.push(...items.map((item) => item[4]));
      bus.respond(message, encode({ v: 1, burst, refused: [], free: [0, 0] }));
    }),
    await bus.subscribe(names.host("dying", "cancel"), (message) => {
      bus.respond(message, encode({ v: 1, ids }));
    }),
    // On a busy machine its heartbeats may be late: then it is asked whether it is there.
    await bus.subscribe(names.host("dying", "stats"), (message) => void bus.respond(message, encode({}))),
  ];
  await swarm.dispatcher();
  const id = `s${await swarm.submit("gate", {})}`;
  await eventually(async () => (ids.includes(id) ? true : undefined), "the task to be given to the host");
  await swarm.host("other", gate.agent("gate"));
  expect(await cancel(id)).toBe("cancelling");
  clearInterval(beating);
  for (const subscription of subscriptions) subscription.unsubscribe();
  expect(await swarm.result(id)).toMatchObject({ status: "cancelled" });
  await eventually(async () => ((await swarm.waiting()) === 0 ? true : undefined), "the queue to be empty");
  expect(gate.began).toEqual([]);
});
