/**
 * A submitter in a process of its own. Argument: an `Order` as JSON. Prints `ready`, then the submissions per second that were
 * acknowledged, and ends.
 */
import { connect as connectRaw, headers, nkeyAuthenticator } from "@nats-io/transport-node";
import { encode } from "../src/bus/codec/codec.ts";
import { connect } from "../src/client.ts";
import { type BullMqPackage, loadBullMq } from "./rivals/bullmq-package.ts";

export interface Order {
  readonly how: How;
  readonly tasks: number;
  /** Of BullMQ's Redis, or the broker. */
  readonly to: { readonly port: number; readonly queue: string } | Broker;
  readonly subject: string;
  /** Raw messages, or calls, under way at once. */
  readonly window: number;
  /** Tasks in one call of submitMany or addBulk. */
  readonly bulk: number;
}

export type How = "raw" | "rawWithId" | "submit" | "submitMany" | "arrays" | "arraysUntracked" | "addBulk";

interface Broker {
  readonly url: string;
  readonly nkeySeed: string;
  readonly inboxPrefix: string;
}

type Submit = (tasks: number) => Promise<void>;

const INPUT = { text: "x".repeat(180) };

const order = JSON.parse(process.argv[2] as string) as Order;
const submit = await submitterOf(order);
await submit(order.tasks / 2);
const started = performance.now();
await submit(order.tasks);
console.log((order.tasks / (performance.now() - started)) * 1_000);
process.exit(0);

async function submitterOf({ how, to, subject, window, bulk }: Order): Promise<Submit> {
  if ("port" in to) return addingTo(loadBullMq(), to, window, bulk);
  if (how === "raw" || how === "rawWithId") return await publishing(to, subject, window, how === "rawWithId");
  const client = await connect({ connection: to });
  const inputs = new Array(bulk).fill(INPUT);
  switch (how) {
    case "submitMany":
      return (tasks) => atOnce(window, tasks / bulk, () => client.submitMany("echo", inputs, { array: false }));
    case "arrays":
      return (tasks) => atOnce(window, tasks / bulk, () => client.submitMany("echo", inputs));
    case "arraysUntracked":
      return (tasks) => atOnce(window, tasks / bulk, () => client.submitMany("echo", inputs, { track: false }));
    default:
      return (tasks) => atOnce(window, tasks, () => client.submit("echo", INPUT));
  }
}

/** The most that a client of JetStream can do: no promise, no name and no second try for a message, and one inbox for all answers. */
async function publishing(to: Broker, subject: string, window: number, withId: boolean): Promise<Submit> {
  const authenticator = nkeyAuthenticator(new TextEncoder().encode(to.nkeySeed));
  const nc = await connectRaw({ servers: to.url, authenticator, inboxPrefix: to.inboxPrefix });
  const reply = `${to.inboxPrefix}.acks`;
  const body = encode({ input: INPUT });
  const run = `bench-${process.pid}`;
  let [left, open, sent] = [0, 0, 0];
  let done: () => void;
  const send = (): void => {
    for (; open < window && left > 0; open++, left--) {
      if (!withId) nc.publish(subject, body, { reply });
      else {
        const named = headers();
        named.set("Nats-Msg-Id", `${run}-${sent++}`);
        nc.publish(subject, body, { reply, headers: named });
      }
    }
    if (open === 0) done();
  };
  nc.subscribe(reply, {
    callback: (error, message) => {
      // `{"stream":` and not `{"error":`, nor the empty one of "no responders".
      if (error || message.data[2] !== 0x73) throw error ?? new Error(`not stored: ${message.string()}`);
      open--;
      send();
    },
  });
  await nc.flush();
  return (tasks) =>
    new Promise((resolve) => {
      left = tasks;
      done = resolve;
      send();
    });
}

function addingTo(
  { Queue }: BullMqPackage,
  { port, queue: name }: { readonly port: number; readonly queue: string },
  window: number,
  bulk: number,
): Submit {
  const queue = new Queue(name, { connection: { host: "127.0.0.1", port, maxRetriesPerRequest: null } });
  const jobs = Array.from({ length: bulk }, () => ({ name: "echo", data: INPUT }));
  return (tasks) => atOnce(window, tasks / bulk, () => queue.addBulk(jobs));
}

/** `calls` calls, `window` of them under way at any time. */
async function atOnce(window: number, calls: number, call: () => Promise<unknown>): Promise<void> {
  let left = calls;
  const caller = async (): Promise<void> => {
    while (left-- > 0) await call();
  };
  await Promise.all(Array.from({ length: window }, caller));
}
