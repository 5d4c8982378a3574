/**
 * What is stored and said in a world, as somebody sees it who does not take part: results, the rotation, heartbeats. Rides out what
 * strikes the brokers, since readers and subscriptions do.
 */
import { createHash } from "node:crypto";
import type { Bus } from "../../src/bus/bus.ts";
import { decode } from "../../src/bus/codec/codec.ts";
import { decodeMirrored } from "../../src/bus/codec/task.ts";
import { askLeader, isClustered } from "../../src/bus/leader.ts";
import { type ReadMessage, StreamReader } from "../../src/bus/reader.ts";
import { streamInfo } from "../../src/bus/topology.ts";
import { waitingMessages } from "../../src/bus/waiting.ts";
import { heartbeat } from "../../src/protocols/host-messages.ts";
import type { DeadLetter, TaskResult } from "../../src/protocols/result.ts";
import { type RosterRange, type RotationRecord, roster, rotationRecord } from "../../src/protocols/rotation.ts";
import { jsApi, kvStream, kvSubject, Names } from "../../src/protocols/subjects.ts";
import { type Entry, type Index, moment, type Streams } from "./history.ts";

/** Time for an election. */
const READ_MS = 30_000;
/** "no message found" */
const NO_MESSAGE = 10_037;

interface Lane {
  readonly pool: string;
  readonly kind: string;
  readonly records: { revision: number; record: RotationRecord }[];
  readonly rosters: { revision: number; ranges: readonly RosterRange[] }[];
}

export class Observer {
  readonly names = new Names();
  /** Ids, as `pool.id`, of all results so far. */
  readonly seen = new Set<string>();
  readonly #bus: Bus;
  readonly #record: (entry: Entry) => void;
  readonly #lanes = new Map<string, Lane>();
  /** The run of each host, by its last heartbeat. */
  readonly #runs = new Map<string, string>();
  readonly #readers: StreamReader[] = [];

  constructor(bus: Bus, record: (entry: Entry) => void) {
    this.#bus = bus;
    this.#record = record;
  }

  async start(): Promise<void> {
    const { streams, buckets } = this.names;
    await this.#bus.subscribe(this.names.heartbeat("*"), ({ data }) => {
      const { host, run } = heartbeat.parse(decode(data));
      this.#runs.set(host, run);
      this.#record({ type: "beat", at: moment(), host, run });
    });
    await this.#read(streams.results, this.names.result("*", "*"), ({ sequence, data }) => {
      const result = decodeMirrored(data).value as TaskResult;
      this.seen.add(`${result.pool}.${result.id}`);
      this.#record({ type: "saw", at: moment(), sequence, digest: digestOf(data), result });
    });
    await this.#read(kvStream(buckets.rotation), kvSubject(buckets.rotation, ">"), (message) => this.#turned(message));
  }

  stop(): void {
    for (const reader of this.#readers) reader.stop();
  }

  get index(): Index {
    return [...this.#lanes.values()];
  }

  inRotation(hostId: string): boolean {
    const run = this.#runs.get(hostId);
    const rosters = this.index.map(({ rosters: all }) => all.at(-1)?.ranges ?? []).filter(({ length }) => length > 0);
    return (
      rosters.length > 0 &&
      rosters.every((ranges) => ranges.some((range) => range.host === hostId && range.run === run))
    );
  }

  /** Messages in the task stream. */
  async waiting(): Promise<number> {
    return (await streamInfo(this.#bus, this.names.streams.tasks))?.messages ?? 0;
  }

  /** What is stored now, read anew. */
  async streams(): Promise<Streams> {
    const { streams } = this.names;
    const results: { sequence: number; digest: string; result: TaskResult }[] = [];
    for await (const { sequence, data } of this.#stored(streams.results, this.names.result("*", "*")))
      results.push({ sequence, digest: digestOf(data), result: decodeMirrored(data).value as TaskResult });
    const dead: { id: string; pool: string; reason: string }[] = [];
    for await (const { data } of this.#stored(streams.dead, this.names.dead("*", "*"))) {
      const { id, pool, reason } = decode(data) as DeadLetter;
      dead.push({ id, pool, reason });
    }
    return { results, dead, waiting: await this.waiting() };
  }

  /** In a cluster as the leader has it: a copy that was cut off can lack the newest for minutes, and any copy answers a direct get. */
  async *#stored(stream: string, filter: string): AsyncGenerator<{ sequence: number; data: Uint8Array }> {
    if (!isClustered(this.#bus)) yield* waitingMessages(this.#bus, stream, { filter });
    else
      for (let from = 1; ; ) {
        const request = Buffer.from(JSON.stringify({ seq: from, next_by_subj: filter }));
        const answer = await askLeader(this.#bus, READ_MS, (timeoutMs) =>
          this.#bus.request(`reading ${stream}`, jsApi.messageGet(stream), request, { timeoutMs }),
        );
        const { error, message } = JSON.parse(Buffer.from(answer.data).toString());
        if (error?.err_code === NO_MESSAGE) return;
        if (message === undefined) throw new Error(`reading ${stream}: ${JSON.stringify(error)}`);
        yield { sequence: message.seq, data: Buffer.from(message.data ?? "", "base64") };
        from = message.seq + 1;
      }
  }

  async #read(stream: string, filter: string, onMessage: (message: ReadMessage) => void): Promise<void> {
    const reader = new StreamReader(this.#bus, { stream, filter, from: "all", onMessage });
    this.#readers.push(reader);
    await reader.start();
  }

  #turned({ subject, data, sequence: revision }: ReadMessage): void {
    // What removes a key has no value.
    if (data.length === 0) return;
    const [pool = "", kind = "", part] = subject.slice(kvSubject(this.names.buckets.rotation, "").length).split(".");
    const key = `${pool}.${kind}`;
    const lane = this.#lanes.get(key) ?? { pool, kind, records: [], rosters: [] };
    this.#lanes.set(key, lane);
    if (part === "roster") lane.rosters.push({ revision, ranges: roster.parse(decode(data)).ranges });
    else lane.records.push({ revision, record: rotationRecord.parse(decode(data)) });
  }
}

function digestOf(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("base64url").slice(0, 22);
}
