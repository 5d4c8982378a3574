/** Which server of a cluster leads what, and whether its copies are whole. */
import { jsApiCall } from "../../../src/bus/js-api.ts";
import { streamInfo } from "../../../src/bus/topology.ts";
import { kvStream, Names } from "../../../src/protocols/subjects.ts";
import { type ClusterBroker, isOfCluster } from "../grounds/cluster.ts";
import { moment } from "../history.ts";
import { oneOf } from "../random.ts";
import type { World } from "../world.ts";

const names = new Names();
const { tasks, results } = names.streams;

/** A stream, or a consumer of it, as something that is led. */
export interface Led {
  readonly stream: string;
  readonly consumer?: string;
}

const CONSUMERS = ["work", "other"].map(
  (kind): Led => ({
    stream: tasks,
    consumer: names.consumer({ pool: "default", kind }),
  }),
);
const STREAMS: readonly Led[] = [
  { stream: tasks },
  { stream: results },
  { stream: kvStream(names.buckets.rotation) },
  { stream: kvStream(names.buckets.attempts) },
];
/** What tasks need on their way. */
export const LED: readonly Led[] = [...STREAMS, ...CONSUMERS];

const CATCH_UP_MS = 15_000;

export function brokersOf(world: World): readonly ClusterBroker[] {
  const brokers = world.brokers.filter(isOfCluster);
  if (brokers.length === 0) throw new Error("this world has no cluster");
  return brokers;
}

/** Undefined while there is none. */
export async function leaderOf(world: World, { stream, consumer }: Led): Promise<string | undefined> {
  const asked = jsApiCall(world.bus, `asking who leads ${stream}`, async ({ streams, consumers }) => {
    const info = await (consumer === undefined ? streams.info(stream) : consumers.info(stream, consumer));
    return info.cluster?.leader || undefined;
  });
  return await asked.catch(() => undefined);
}

/** One of the brokers that lead something, and what. */
export async function aLeader(world: World, random: () => number): Promise<[ClusterBroker, Led]> {
  const led = oneOf(random, LED);
  let name: string | undefined;
  await world.until(`${show(led)} to have a leader`, async () => {
    name = await leaderOf(world, led);
    return name !== undefined;
  });
  const broker = brokersOf(world).find(({ serverName }) => serverName === name);
  if (broker === undefined) throw new Error(`no broker is ${name}`);
  return [broker, led];
}

/** Waits until another server leads it. */
export async function moved(world: World, led: Led, from: ClusterBroker): Promise<void> {
  await world.until(`another than ${from.serverName} to lead ${show(led)}`, async () => {
    const leader = await leaderOf(world, led);
    return leader !== undefined && leader !== from.serverName;
  });
}

/** "JetStream system temporarily unavailable": it has no leader at this moment. */
const UNAVAILABLE = 10_008;

/** Makes its leader hand over, as soon as it has one. Rejects if it does not. */
export async function stepDown(world: World, led: Led): Promise<void> {
  const { stream, consumer } = led;
  const subject =
    consumer === undefined
      ? `$JS.API.STREAM.LEADER.STEPDOWN.${stream}`
      : `$JS.API.CONSUMER.LEADER.STEPDOWN.${stream}.${consumer}`;
  await world.until(`the leader of ${show(led)} to hand over`, async () => {
    const answer = await world.bus.request("stepping down", subject, new Uint8Array(0), { timeoutMs: 10_000 });
    const { success, error } = JSON.parse(Buffer.from(answer.data).toString());
    if (success !== true && error?.err_code !== UNAVAILABLE)
      throw new Error(`${show(led)} has not stepped down: ${JSON.stringify(error)}`);
    return success === true;
  });
}

/**
 * Waits until everything that tasks need is led, and for a while until every copy of it is up to date, so that the next strike does not
 * take the last good one. After a partition nats-server brings some copies up to date only with its next snapshot, minutes later.
 */
export async function whole(world: World): Promise<void> {
  for (const led of LED)
    await world.until(`${show(led)} to have a leader`, async () => (await leaderOf(world, led)) !== undefined);
  const end = moment() + CATCH_UP_MS;
  for (const { stream } of STREAMS) {
    await world.until(`every copy of ${stream} to be there`, async () => {
      const copies = (await streamInfo(world.bus, stream).catch(() => undefined))?.copies;
      return moment() > end || (copies?.offline.length === 0 && copies.behind.length === 0);
    });
  }
}

function show({ stream, consumer }: Led): string {
  return consumer === undefined ? stream : `${stream}/${consumer}`;
}
