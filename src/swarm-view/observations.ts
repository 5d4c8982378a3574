/** Reads what a swarm says of itself, as far as it does. */
import type { Bus } from "../bus/bus.ts";
import { KvBucket } from "../bus/kv.ts";
import { type PausedLane, pausedLanes } from "../bus/pauses.ts";
import { Publisher } from "../bus/publisher.ts";
import { type Rotations, readRotations } from "../bus/rotations.ts";
import { subjectCounts } from "../bus/subject-counts.ts";
import { type ConsumerState, listConsumers, type StreamState, streamInfo } from "../bus/topology.ts";
import { waitingMessages } from "../bus/waiting.ts";
import { askHello } from "../client/vault-operator.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Heartbeat } from "../protocols/host-messages.ts";
import type { Names } from "../protocols/subjects.ts";
import type { VaultState } from "../protocols/vault/messages.ts";
import { type NodeSays, nodeReports } from "./node-reports.ts";
import { type NodeView, nodeViews, rosterHosts } from "./nodes.ts";
import { Questions } from "./questions.ts";
import { rollCall } from "./roll-call.ts";

/** A connection that may look at the swarm: of an observer, an admin or the swarm's own node. */
export interface Viewer {
  readonly bus: Bus;
  readonly names: Names;
  readonly url: string;
}

/** The vault as it says of itself; `silent`: somebody is to answer for it, and does not. */
export interface VaultHealth {
  readonly state: VaultState | "silent";
  /** Why it gives no key out, if it should. */
  readonly why?: string;
  readonly vaultId?: string;
  /** Node that runs it. */
  readonly host?: string;
}

/** What the swarm says of itself, as it was read. */
export interface Observations {
  readonly url: string;
  readonly prefix: string;
  readonly nodes: readonly NodeView[];
  readonly rotations: Rotations;
  readonly streams: readonly StreamState[];
  readonly names: Names;
  /** Messages by subject of the task stream. */
  readonly stored: ReadonlyMap<string, number>;
  /** Undefined if they are not known. */
  readonly consumers: readonly ConsumerState[] | undefined;
  readonly vault?: VaultHealth | undefined;
  readonly paused: readonly PausedLane[];
  /** When the oldest message that waits was submitted, ms since the epoch, by the normal task subject of its lane. */
  readonly oldest: ReadonlyMap<string, number>;
  /** What the nodes say of themselves; none of those of another version. */
  readonly said: readonly NodeSays[];
  /** What of this is missing because it was not told, one sentence each. */
  readonly unanswered: readonly string[];
}

/** Gives the newest heartbeats by host id, once those of `expected` were heard or had time enough. */
export type Listen = (expected: ReadonlySet<string>) => Promise<ReadonlyMap<string, Heartbeat>>;

/** How long the vault may take to say how it is, ms. */
const VAULT_TIMEOUT_MS = 3_000;
/** Lanes, each of one priority, whose oldest message is looked for: one request each. */
const MAX_OLDEST = 200;
/**
 * Asks everything at once. What is not answered in time is left out and told in `unanswered`: a stream without a leader must not
 * hide what the others say. `listen` gives the newest heartbeats by host id; by default they are listened for.
 *
 * @throws VgasError NO_SWARM if there is none with this prefix, PERMISSION_DENIED (an observer or an admin may), SHUTTING_DOWN
 */
export async function observe(
  { bus, names, url }: Viewer,
  listen: Listen = (expected) => rollCall(bus, names, expected),
): Promise<Observations> {
  const questions = new Questions();
  const readTasks = async (): Promise<Pick<Observations, "stored" | "consumers" | "oldest">> => {
    const { tasks } = names.streams;
    const [stored, consumers] = await Promise.all([
      questions.ask("what waits", subjectCounts(bus, tasks, names.allTasks()), new Map<string, number>()),
      questions.ask<Observations["consumers"]>("what is in hand", listConsumers(bus, tasks), undefined),
    ]);
    const oldest = readOldest(bus, names, stored, consumers);
    return {
      stored,
      consumers,
      oldest: await questions.ask("the oldest that waits", oldest, new Map<string, number>()),
    };
  };
  const [tasks, nodes, vault, paused, said, ...streams] = await Promise.all([
    readTasks(),
    observeNodes({ bus, names }, questions, listen),
    readVault(bus, names),
    questions.ask("the paused kinds", readPaused(bus, names), []),
    questions.ask("what the nodes say of themselves", nodeReports(bus, names), []),
    ...Object.values(names.streams).map((stream) =>
      questions.ask(`stream ${stream}`, streamInfo(bus, stream), undefined),
    ),
  ]);
  return {
    ...{ url, prefix: names.prefix, names, ...tasks, ...nodes, vault, paused, said },
    streams: streams.filter((stream) => stream !== undefined),
    unanswered: questions.unanswered.sort(),
  };
}

/** Those that a roster names, and those that are heard. Throws as `observe`. */
export async function observeNodes(
  { bus, names }: Pick<Viewer, "bus" | "names">,
  questions: Questions,
  listen: Listen = (expected) => rollCall(bus, names, expected),
): Promise<Pick<Observations, "rotations" | "nodes">> {
  const rotations = await questions.ask("the rotations", readRotations(bus, names), { lanes: [], warnings: [] });
  return { rotations, nodes: nodeViews(await listen(rosterHosts(rotations.lanes)), rotations.lanes) };
}

async function readPaused(bus: Bus, names: Names): Promise<readonly PausedLane[]> {
  const publisher = new Publisher(bus);
  try {
    return await pausedLanes(new KvBucket(bus, publisher, names.buckets.control), names);
  } finally {
    publisher.close();
  }
}

/** What was delivered once does not wait any more, so the oldest that waits is the first beyond what the consumer has delivered. */
async function readOldest(
  bus: Bus,
  names: Names,
  stored: ReadonlyMap<string, number>,
  consumers: readonly ConsumerState[] | undefined,
): Promise<ReadonlyMap<string, number>> {
  const delivered = new Map(consumers?.map((consumer) => [consumer.name, consumer.delivered]));
  const oldest = new Map<string, number>();
  const read = async (subject: string): Promise<void> => {
    const lane = names.parseTask(subject);
    if (lane === undefined) return;
    const from = (delivered.get(names.consumer(lane, lane.priority)) ?? 0) + 1;
    const found = waitingMessages(bus, names.streams.tasks, { filter: subject, from, maxMessages: 1 });
    for await (const { timestampMs } of found) {
      const key = names.task(lane.pool, lane.kind);
      oldest.set(key, Math.min(timestampMs, oldest.get(key) ?? Number.POSITIVE_INFINITY));
    }
  };
  const busy = [...stored].filter(([, messages]) => messages > 0).slice(0, MAX_OLDEST);
  await Promise.all(busy.map(([subject]) => read(subject)));
  return oldest;
}

async function readVault(bus: Bus, names: Names): Promise<VaultHealth | undefined> {
  try {
    const { state, why, vaultId, host } = await askHello(bus, names, { timeoutMs: VAULT_TIMEOUT_MS });
    return { state, host, ...(why !== undefined && { why }), ...(vaultId !== undefined && { vaultId }) };
  } catch (error) {
    if (!(error instanceof VgasError)) throw error;
    // A swarm of a version without vaults lets nobody ask.
    if (error.code === "UNDELIVERABLE" || error.code === "PERMISSION_DENIED") return undefined;
    const late = `no answer within ${VAULT_TIMEOUT_MS} ms`;
    return { state: "silent", why: error.code === "TIMEOUT" ? late : error.message };
  }
}
