/**
 * A node with dispatcher and agents, on a broker that is there already, that notes how its tasks come from the pull to the agent. The
 * methods that they pass are wrapped here, in this process only. Sent SIGUSR2 it prints what it noted since the last time, as one line
 * of JSON.
 *
 * Arguments: url, seed, inbox prefix, agents, slots.
 */
import { ActorHost } from "../../src/actors/agent/actor-host.ts";
import { Intake } from "../../src/actors/gatling/intake.ts";
import { KvBucket } from "../../src/bus/kv.ts";
import { startHost } from "../../src/host.ts";
import { startNode } from "../node.ts";
import { type HandOver, quantilesOf } from "./samples.ts";

/** When each task in hand was pulled, by its ack subject. */
const pulledAt = new Map<string, number>();
let waited: number[] = [];
/** Microseconds of a swap, and the tasks that it drew tickets for. */
let swaps: { readonly us: number; tasks: number }[] = [];

const { take } = Intake.prototype;
Intake.prototype.take = function (message, priority) {
  pulledAt.set(message.ack, performance.now());
  return take.call(this, message, priority);
};
const { cas } = KvBucket.prototype;
KvBucket.prototype.cas = async function (...args) {
  const begun = performance.now();
  const revision = await cas.apply(this, args);
  swaps.push({ us: (performance.now() - begun) * 1e3, tasks: 0 });
  return revision;
};
const { burst } = ActorHost.prototype;
ActorHost.prototype.burst = function (given, walked) {
  const receipt = burst.call(this, given, walked);
  const now = performance.now();
  // Handed over in the turn in which the answer to their swap came.
  const swap = swaps.at(-1);
  if (swap) swap.tasks += given.items.length;
  for (const item of given.items) {
    const ack = item[8];
    waited.push((now - (pulledAt.get(ack) as number)) * 1e3);
    pulledAt.delete(ack);
  }
  return receipt;
};

const [url = "", seed = "", inboxPrefix = "", agents = "16", slots = "64"] = process.argv.slice(2);
await startNode(
  startHost,
  { url, seed, inboxPrefix },
  { agents: Number(agents), slots: Number(slots), roles: ["dispatcher", "agents"] },
);
process.on("SIGUSR2", () => {
  console.log(JSON.stringify(noted()));
  waited = [];
  swaps = [];
});
console.log("ready");

function noted(): HandOver {
  const drawing = swaps.filter(({ tasks }) => tasks > 0);
  const shares = drawing.flatMap(({ us, tasks }) => new Array<number>(tasks).fill(us / tasks));
  return {
    waited: quantilesOf(waited),
    share: quantilesOf(shares),
    swap: quantilesOf(drawing.map(({ us }) => us)),
    tasksPerSwap: shares.length / drawing.length,
  };
}
