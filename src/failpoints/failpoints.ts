/**
 * Named places of the code that a test can count, and where it can make a process die, stop, stall or take an answer for lost.
 *
 * 1. Inert unless VGAS_FAILPOINTS_DIR is set: one call of an empty function.
 * 2. Armed, each passage is counted in a file of that directory before anything is done, so that the count outlives a SIGKILL.
 *
 * VGAS_FAILPOINTS_DIR   directory for the counts: one file for each thread, `<pid>-<thread>.counts`, a 32-bit number (little
 *                       endian) for each of FAILPOINTS in its order
 * VGAS_FAILPOINTS       comma list of `<name>=<action>@<n>[+<every>]`: at the n-th passage of a thread, and then at each `every`-th
 *
 * A process that runs is given orders by SIGUSR2: its main thread reads the file `orders` of that directory, and counts from there.
 *
 * | action | what happens |
 * |---|---|
 * | kill | SIGKILL to this process |
 * | stop | SIGSTOP to this process |
 * | stall:MS | the thread is blocked for so long |
 * | lose | `failpoint` returns true: the answer that came here is to be taken for lost |
 */
import { mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { isMainThread, threadId } from "node:worker_threads";

/** Where work is done: `before` and `after` each step of a task's way. */
const STEPS = [
  "pull.before",
  "pull.after",
  "swap.before",
  "swap.after",
  "burst.before",
  "burst.after",
  "receipt.before",
  "receipt.after",
  "run.before",
  "run.after",
  "result.before",
  "result.after",
  "ack.before",
  "ack.after",
  /** A batch of publishes has left the process. */
  "batch.sent",
] as const;

/** Where an answer has come that can be taken for lost: what was asked for is done, and whoever asked does not know. */
const ANSWERS = ["swap.answer", "publish.answer", "receipt.answer", "batch.answer"] as const;

/** Where the code meets a fault: a test of that fault shows that its path was reached. */
const MET = [
  /** A task came to hand that was delivered before, or that the broker forgot to have delivered. */
  "task.redelivered",
  /** A task was given back because its host was evicted. */
  "task.reassigned",
  /** A task in hand was let go, because another process of the broker may deliver it again. */
  "task.disowned",
  /** An element of an array was published again as a message of its own. */
  "task.moved",
  /** A task had begun as often as it may, and was failed without running again. */
  "task.exhausted",
  /** `+WPI` was said for a task that runs for long. */
  "task.kept",
  /** Another dispatcher's swap came first. */
  "swap.conflict",
  /** A swap's answer was lost, and it was found to be won. */
  "swap.recovered",
  /** A swap's answer was lost, and it was not found: its tickets are drawn again. */
  "swap.redrawn",
  /** The server refused a result because another is stored. */
  "result.second",
  /** The server refused a result and none is stored: it is offered again. */
  "result.refused",
  /** A host refused an assignment. */
  "receipt.refused",
  /** A burst was recalled. */
  "burst.recalled",
  /** A host was put out of the rotation. */
  "host.evicted",
  /** A monitor that was stalled or cut off forgave everybody. */
  "monitor.forgave",
  /** More than half of the hosts fell silent at once, and silence alone evicted nobody. */
  "monitor.doubted",
  /** A host said that a task blocks it past its deadline. */
  "host.stalled",
  /** An attempt ended so late that its task was not given back. */
  "run.lost",
  /** A lane's consumer was in trouble: it is asked anew, and made again where it is gone. */
  "consumer.remade",
  /** The embedded nats-server ended, and was started again. */
  "broker.restarted",
  /** A nats-server that an earlier life of the node left was taken over. */
  "broker.adopted",
  /** It was recorded that an element leaves its array; it is not published yet. */
  "move.recorded",
  /** A message of an element that another message owns was dropped. */
  "copy.dropped",
  /** A start was not recorded, because another dispatcher had recorded something meanwhile. */
  "task.outrun",
  /** An attempt ended when a later one was recorded already: neither its record was written nor its task given back. */
  "attempt.superseded",
  /** A batch was stored, a fast one up to the first message that was not; nobody is told yet. */
  "batch.stored",
  /** A batch was refused, and each of its messages sent again by itself. */
  "batch.refused",
  /** A task whose message the broker had lost was published again. */
  "task.lost",
] as const;

/** All names, in the order of the counts. */
export const FAILPOINTS = [...STEPS, ...ANSWERS, ...MET] as const;
export type Failpoint = (typeof FAILPOINTS)[number];

/** One order of VGAS_FAILPOINTS. Above what reads it while this file is loaded. */
const ORDER =
  /^(?<name>[a-z.]+)=(?<action>kill|stop|lose|stall:(?<ms>\d+))@(?<first>[1-9]\d*)(?:\+(?<every>[1-9]\d*))?$/;

/** Passes the place `name`. True if the answer that came here is to be taken for lost. */
export const failpoint: (name: Failpoint) => boolean = armed(process.env) ?? inert;

/** Passes the place `name` when what was sent until now has left the process: the NATS client writes in the next microtask. */
export const failpointOnceSent: (name: Failpoint) => void =
  failpoint === inert ? () => undefined : (name) => queueMicrotask(() => failpoint(name));

function inert(): boolean {
  return false;
}

type Action = "kill" | "stop" | "lose" | { readonly stallMs: number };

interface Order {
  readonly action: Action;
  readonly first: number;
  /** 0: once. */
  readonly every: number;
}

function armed(environment: NodeJS.ProcessEnv): typeof failpoint | undefined {
  const dir = environment["VGAS_FAILPOINTS_DIR"];
  if (dir === undefined || dir === "") return undefined;
  const orders = parse(environment["VGAS_FAILPOINTS"] ?? "");
  const places = new Map(FAILPOINTS.map((name, i) => [name, i]));
  const counts = new Uint32Array(FAILPOINTS.length);
  const bytes = new Uint8Array(counts.buffer);
  mkdirSync(dir, { recursive: true });
  const file = openSync(join(dir, `${process.pid}-${threadId}.counts`), "w");
  if (isMainThread)
    process.on("SIGUSR2", () => {
      for (const [name, order] of parse(readFileSync(join(dir, "orders"), "utf8")))
        orders.set(name, { ...order, first: order.first + (counts[places.get(name) as number] as number) });
    });
  return (name) => {
    const place = places.get(name) as number;
    const passage = (counts[place] as number) + 1;
    counts[place] = passage;
    writeSync(file, bytes, place * 4, 4, place * 4);
    const order = orders.get(name);
    return order !== undefined && due(order, passage) && strike(order.action);
  };
}

function due({ first, every }: Order, passage: number): boolean {
  if (every === 0) return passage === first;
  return passage >= first && (passage - first) % every === 0;
}

function strike(action: Action): boolean {
  if (action === "lose") return true;
  if (action === "kill" || action === "stop") process.kill(process.pid, action === "kill" ? "SIGKILL" : "SIGSTOP");
  // The signal comes a moment later: nothing more is to be done until then.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, typeof action === "object" ? action.stallMs : 1_000);
  return false;
}

function parse(text: string): Map<Failpoint, Order> {
  const orders = new Map<Failpoint, Order>();
  for (const part of text.split(",").filter((each) => each !== "")) {
    const { name = "", action, ms, first, every } = ORDER.exec(part)?.groups ?? {};
    if (!(FAILPOINTS as readonly string[]).includes(name)) throw new Error(`VGAS_FAILPOINTS: cannot read ${part}`);
    orders.set(name as Failpoint, {
      action: ms === undefined ? (action as "kill") : { stallMs: Number(ms) },
      first: Number(first),
      every: Number(every ?? 0),
    });
  }
  return orders;
}
