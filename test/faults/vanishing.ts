/**
 * Whether a nats-server removes from a work queue what nobody acknowledged: `npm run test:faults -- --only vanishing`. Exit code 1 if
 * it does. 2.15.1 does; no vgas takes part.
 *
 * 1. A message that is out is deleted while its consumer's leader hangs. Whoever leads next puts it out of its own copy of the
 *    consumer, and tells the others nothing: from here on the copies count acknowledgements from different floors.
 * 2. The copy whose floor is highest goes down. Meanwhile much is delivered, and a snapshot replaces the consumer's log.
 * 3. It returns and is sent that snapshot, whose floor is lower than its own: it takes it for old, drops it without a word, and goes on
 *    with the log that follows it. What was delivered before and is not acknowledged, it does not know.
 * 4. It leads stream and consumer. What was delivered and is not out passes for acknowledged, and is removed everywhere.
 */
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { AckPolicy, jetstreamManager, RetentionPolicy } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { type ClusterBroker, cluster, isOfCluster } from "./grounds/cluster.ts";
import type { Watcher } from "./member.ts";

const STREAM = "QUEUE";
const CONSUMER = "worker";
const INBOX = "_INBOX.vanishing";
/** Out before the fault; all but the first ones are acknowledged then. */
const EARLY = 60;
const ACKED = 50;
/** Delivered while one server is away: so much that its consumer's log is replaced by a snapshot. */
const MANY = 3_000;
const LATE = 10;
const LIMIT_MS = 60_000;
/** A new leader looks through what the queue may remove at once, and deletes it by the stream's log. */
const LOOKED_MS = 5_000;

const dir = mkdtempSync(join(tmpdir(), "vgas-vanishing-"));
const nobody: Watcher = { started: () => undefined, ended: () => undefined, line: () => undefined };
mkdirSync(join(dir, "logs"));
const ground = await cluster({
  dir,
  watcher: nobody,
  agents: [],
  logOf: (name) => join(dir, "logs", `${name}.log`),
  makeNode: () => {
    throw new Error("no nodes here");
  },
});
const brokers = ground.brokers.filter(isOfCluster);
const connection = await connect({
  servers: ground.brokers.map(({ url }) => url),
  maxReconnectAttempts: -1,
  reconnectTimeWait: 50,
  ignoreClusterUpdates: true,
  pingInterval: 1_000,
});
const manager = await jetstreamManager(connection, { timeout: 3_000, checkAPI: false });
const stream = () => manager.streams.info(STREAM);
const consumer = () => manager.consumers.info(STREAM, CONSUMER);
/** Where each message that was delivered is acknowledged, by its sequence. */
const acks = new Map<number, string>();
connection.subscribe(INBOX, {
  callback: (_, { reply }) => {
    // $JS.ACK.<stream>.<consumer>.<deliveries>.<sequence>…, or with a domain and an account before the stream.
    const tokens = reply?.split(".") ?? [];
    if (reply) acks.set(Number(tokens[tokens.indexOf(STREAM) + 3]), reply);
  },
});

const lost = await vanish();
const { version } = connection.info ?? {};
if (lost === 0) console.log(`ok  nats-server ${version} removed nothing that was not acknowledged`);
else console.log(`RED nats-server ${version} removed ${lost} messages that nobody acknowledged`);
await connection.close();
await ground.close();
rmSync(dir, { recursive: true, force: true });
process.exit(lost === 0 ? 0 : 1);

/** How many messages are gone. */
async function vanish(): Promise<number> {
  await until("the stream to be made", () =>
    manager.streams.add({ name: STREAM, subjects: ["queue"], retention: RetentionPolicy.Workqueue, num_replicas: 3 }),
  );
  const config = { durable_name: CONSUMER, ack_policy: AckPolicy.Explicit, ack_wait: 3_600e9, max_ack_pending: -1 };
  await until("the consumer to be made", () => manager.consumers.add(STREAM, config));
  const first = brokers[0] as ClusterBroker;
  await leads(consumer, first);
  await leads(stream, brokers[1] as ClusterBroker);
  await whole();
  await submit(EARLY);
  await deliver(EARLY);
  await whole();

  first.signal("SIGSTOP");
  await until("a message to be deleted", () => manager.streams.deleteMessage(STREAM, 1, false));
  await first.kill();
  const second = await until("another to lead the consumer", async () => {
    const { leader } = (await consumer()).cluster ?? {};
    return brokers.find((broker) => broker !== first && broker.serverName === leader);
  });
  const third = brokers.find((broker) => broker !== first && broker !== second) as ClusterBroker;
  await first.start();
  await whole();
  for (let sequence = 2; sequence <= ACKED; sequence++) {
    await until("an acknowledgement", () => connection.request(acks.get(sequence) as string, "+ACK"));
  }

  await second.kill();
  await leads(consumer, third);
  await submit(MANY);
  await deliver(EARLY + MANY);
  await until("a snapshot of the consumer", async () => {
    if (snapshots(third).length > 0) return true;
    // What says that it is being worked on is in the log too.
    for (const ack of acks.values()) connection.publish(ack, "+WPI");
    await pause(1_000);
    return false;
  });

  await second.start();
  await whole();
  await submit(LATE);
  await deliver(EARLY + MANY + LATE);
  await leads(stream, second);
  await leads(consumer, second);
  await pause(LOOKED_MS);
  const { messages } = (await until("the stream", stream)).state;
  return EARLY + MANY + LATE - ACKED - messages;
}

async function submit(count: number): Promise<void> {
  const publish = () => until("a message to be stored", () => connection.request("queue", "", { timeout: 2_000 }));
  await Promise.all(Array.from({ length: count }, publish));
}

/** Until so many have been delivered in all; none is acknowledged. */
async function deliver(count: number): Promise<void> {
  await until(`${count} messages to be delivered`, async () => {
    const pull = JSON.stringify({ batch: count - acks.size, expires: 1_000e6 });
    if (acks.size < count)
      connection.publish(`$JS.API.CONSUMER.MSG.NEXT.${STREAM}.${CONSUMER}`, pull, { reply: INBOX });
    await pause(1_100);
    return acks.size >= count;
  });
}

/** Makes `broker` lead. */
async function leads(what: typeof stream | typeof consumer, { serverName }: ClusterBroker): Promise<void> {
  const of = what === stream ? `STREAM.LEADER.STEPDOWN.${STREAM}` : `CONSUMER.LEADER.STEPDOWN.${STREAM}.${CONSUMER}`;
  await until(`${serverName} to lead`, async () => {
    const { cluster: at } = await what();
    if (at?.leader === serverName) return true;
    if (at?.leader) await connection.request(`$JS.API.${of}`, JSON.stringify({ placement: { preferred: serverName } }));
    await pause(300);
    return false;
  });
}

/** Every copy that is there is up to date. */
async function whole(): Promise<void> {
  await until("the copies to be up to date", async () =>
    (await Promise.all([stream(), consumer()])).every(
      ({ cluster: at }) => at?.leader && at.replicas?.every(({ current, offline }) => current && offline !== true),
    ),
  );
}

/** Of its consumer, the only one. */
function snapshots({ dir: home }: ClusterBroker): readonly string[] {
  const groups = join(home, "store", "jetstream", "$SYS", "_js_");
  return readdirSync(groups)
    .filter((group) => group.startsWith("C-"))
    .flatMap((group) => readdirSync(join(groups, group, "snapshots")));
}

/** Tries until it is true. */
async function until<T>(what: string, attempt: () => Promise<T>): Promise<NonNullable<T>> {
  for (const end = Date.now() + LIMIT_MS; ; await pause(50)) {
    const done = await attempt().catch(() => undefined);
    if (done) return done;
    if (Date.now() > end) throw new Error(`waited ${LIMIT_MS / 1_000} s for ${what}`);
  }
}
