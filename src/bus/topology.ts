/** Makes the streams, buckets and consumers of a swarm, any number of times and from any number of nodes at once. */
import { setTimeout as pause } from "node:timers/promises";
import {
  AckPolicy,
  type ConsumerConfig,
  type ConsumerInfo,
  DeliverPolicy,
  type StreamConfig,
} from "@nats-io/jetstream";
import { VgasError } from "../protocols/errors.ts";
import { LANE_CONSUMER, type TopologyOptions } from "../protocols/streams.ts";
import { type LaneName, type Names, PRIORITIES, type Priority } from "../protocols/subjects.ts";
import type { Bus } from "./bus.ts";
import { JsApiError, jsApiCall, jsApiFind } from "./js-api.ts";
import { ELECTION_MS, onceLed } from "./leader.ts";
import { API } from "./nats-errors.ts";
import { type ReplicaState, replicaState } from "./replicas.ts";
import { serverFacts } from "./server-facts.ts";
import { compareConfig, type WantedConfig, wantedStreams } from "./stream-config.ts";

export interface StreamState {
  readonly name: string;
  readonly messages: number;
  readonly bytes: number;
  /** Caps; -1 is unlimited. */
  readonly maxBytes: number;
  readonly firstSequence: number;
  readonly lastSequence: number;
  readonly consumers: number;
  readonly replicas: number;
  /** When the server answered, ms since the epoch by its clock. */
  readonly at: number;
  /** Of a stream with more than one copy. */
  readonly copies?: ReplicaState;
}

export interface ConsumerState {
  readonly name: string;
  /** The subject that it delivers. */
  readonly filter: string;
  /** Messages not yet delivered. */
  readonly waiting: number;
  /** Messages delivered and not yet acknowledged. */
  readonly ackPending: number;
  /** Those of them that were delivered more than once. */
  readonly redelivered: number;
  /** Pulls that wait on the server. */
  readonly pulls: number;
  /** Stream sequence up to which everything was delivered, and up to which everything was acknowledged. */
  readonly delivered: number;
  readonly ackFloor: number;
}

const NANOS_PER_MS = 1_000_000;
const MADE_PAUSE_MS = 100;

/**
 * Makes what is missing and applies compatible changes: larger caps, more replicas, other lifetimes.
 *
 * @throws VgasError DRIFT naming stream, field, wanted and found; CONFIG if the server cannot hold it; PERMISSION_DENIED, TIMEOUT
 */
export async function ensureTopology(bus: Bus, names: Names, options: TopologyOptions): Promise<void> {
  for (const config of wantedStreams(names, options, serverFacts(bus)))
    await onceLed(bus, () => ensureStream(bus, config));
}

/** Those of the swarm's streams, and of the buckets, that are not there. Fails as the server does. */
export async function missingStreams(bus: Bus, names: Names, options: TopologyOptions): Promise<readonly string[]> {
  const found = new Set<string>();
  await jsApiCall(bus, "listing the streams", async (manager) => {
    for await (const name of manager.streams.names()) found.add(name);
  });
  return wantedStreams(names, options, serverFacts(bus))
    .map(({ name }) => name)
    .filter((name) => !found.has(name));
}

/**
 * Makes the durable consumers of `lane`, one for each priority.
 *
 * @throws VgasError DRIFT, NOT_FOUND if there is no task stream, PERMISSION_DENIED, TIMEOUT
 */
export async function ensureLaneConsumers(bus: Bus, names: Names, lane: LaneName): Promise<void> {
  await Promise.all(PRIORITIES.map((priority) => ensureLaneConsumer(bus, names, lane, priority)));
}

async function ensureLaneConsumer(bus: Bus, names: Names, lane: LaneName, priority: Priority): Promise<void> {
  const stream = names.streams.tasks;
  const name = names.consumer(lane, priority);
  const operation = `making consumer ${name} of ${stream}`;
  const config: Partial<ConsumerConfig> = {
    durable_name: name,
    filter_subject: names.task(lane.pool, lane.kind, priority),
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.All,
    ack_wait: LANE_CONSUMER.ackWaitMs * NANOS_PER_MS,
    max_deliver: LANE_CONSUMER.maxDeliver,
    max_ack_pending: LANE_CONSUMER.maxAckPending,
    max_waiting: LANE_CONSUMER.maxWaiting,
  };
  try {
    await jsApiCall(bus, operation, (manager) => manager.consumers.add(stream, config));
  } catch (error) {
    if (!(error instanceof JsApiError) || error.apiCode !== API.consumerExists) throw error;
    const found = await jsApiCall(bus, operation, (manager) => manager.consumers.info(stream, name));
    const differences = (Object.keys(config) as (keyof ConsumerConfig)[]).filter(
      (field) => config[field] !== found.config[field],
    );
    const what = differences
      .map((field) => `${field} is ${show(found.config[field])}, wanted ${show(config[field])}`)
      .join("; ");
    throw new VgasError(
      "DRIFT",
      `consumer ${name} of ${stream} differs: ${what || "in a field that vgas leaves to the server"}. Delete the consumer`,
    );
  }
}

/** State of a stream (for a bucket: `kvStream(bucket)`), or undefined if there is none. */
export async function streamInfo(bus: Bus, stream: string): Promise<StreamState | undefined> {
  const info = await jsApiFind(bus, `reading the state of ${stream}`, (manager) => manager.streams.info(stream));
  if (info === undefined) return undefined;
  const copies = replicaState(info);
  return {
    name: stream,
    messages: info.state.messages,
    bytes: info.state.bytes,
    maxBytes: info.config.max_bytes,
    firstSequence: info.state.first_seq,
    lastSequence: info.state.last_seq,
    consumers: info.state.consumer_count,
    replicas: info.config.num_replicas,
    at: Date.parse(info.ts ?? ""),
    ...(copies && { copies }),
  };
}

/** State of a consumer, or undefined if there is none. */
export async function consumerInfo(bus: Bus, stream: string, consumer: string): Promise<ConsumerState | undefined> {
  const info = await jsApiFind(bus, `reading the state of ${stream}/${consumer}`, (manager) =>
    manager.consumers.info(stream, consumer),
  );
  return info && consumerState(info);
}

/** States of all durable consumers of a stream; none if there is no such stream. */
export async function listConsumers(bus: Bus, stream: string): Promise<readonly ConsumerState[]> {
  const found = await jsApiFind(bus, `listing the consumers of ${stream}`, async (manager) => {
    const infos: ConsumerInfo[] = [];
    for await (const info of manager.consumers.list(stream)) infos.push(info);
    return infos;
  });
  return (found ?? []).filter((info) => info.config.durable_name !== undefined).map(consumerState);
}

async function ensureStream(bus: Bus, wanted: WantedConfig): Promise<void> {
  const operation = `making stream ${wanted.name}`;
  const found = (await findConfig(bus, wanted.name)) ?? (await create(bus, operation, wanted));
  if (found === undefined) return;
  const { drift, update } = compareConfig(wanted, found);
  if (drift.length > 0) {
    const what = drift
      .map(({ field, wanted: want, found: have }) => `${field} is ${show(have)}, wanted ${show(want)}`)
      .join("; ");
    throw new VgasError(
      "DRIFT",
      `stream ${wanted.name} differs: ${what}. Change it with the nats tool, or use another --prefix`,
    );
  }
  if (Object.keys(update).length === 0) return;
  try {
    await jsApiCall(bus, `changing stream ${wanted.name}`, (manager) => manager.streams.update(wanted.name, update));
  } catch (error) {
    throw configError(error);
  }
}

/** Undefined if it was made as wanted; the configuration that another node made in the meantime otherwise. */
async function create(bus: Bus, operation: string, wanted: WantedConfig): Promise<StreamConfig | undefined> {
  try {
    await jsApiCall(bus, operation, (manager) => manager.streams.add(wanted));
    return undefined;
  } catch (error) {
    const raced = error instanceof JsApiError && error.apiCode === API.streamNameInUse;
    const found = raced ? await findMade(bus, wanted.name) : undefined;
    if (found !== undefined) return found;
    throw configError(error);
  }
}

/** What another node is making: a cluster refuses the name from when it has given out the copies, and knows the stream only later. */
async function findMade(bus: Bus, stream: string): Promise<StreamConfig | undefined> {
  const deadline = performance.now() + ELECTION_MS;
  for (;;) {
    const found = await findConfig(bus, stream);
    if (found !== undefined || performance.now() > deadline) return found;
    await pause(MADE_PAUSE_MS);
  }
}

async function findConfig(bus: Bus, stream: string): Promise<StreamConfig | undefined> {
  return (await jsApiFind(bus, `reading the settings of ${stream}`, (manager) => manager.streams.info(stream)))?.config;
}

/** What the operator can mend is told as that. */
function configError(error: unknown): unknown {
  if (!(error instanceof JsApiError)) return error;
  if (error.apiCode === API.subjectsOverlap) {
    return new VgasError(
      "DRIFT",
      `${error.message}: a stream that is not of this swarm holds them. Use another --prefix`,
      { cause: error },
    );
  }
  return error.code === "STREAM_FULL"
    ? new VgasError("CONFIG", `${error.message}: lower the stream's size cap, or give the server more storage`, {
        cause: error,
      })
    : error;
}

function show(value: unknown): string {
  return JSON.stringify(value) ?? "not set";
}

function consumerState(info: ConsumerInfo): ConsumerState {
  return {
    name: info.name,
    filter: info.config.filter_subject ?? ">",
    waiting: info.num_pending,
    ackPending: info.num_ack_pending,
    redelivered: info.num_redelivered,
    pulls: info.num_waiting,
    delivered: info.delivered.stream_seq,
    ackFloor: info.ack_floor.stream_seq,
  };
}
