/**
 * A key-value bucket, read from the stream's leader and written with one message. The library's own bucket reads by
 * direct get, which can be stale, and needs a promise and a timer more for each write.
 */
import { kvStream, kvSubject } from "../protocols/subjects.ts";
import type { Bus, HeaderRecord } from "./bus.ts";
import { onceLed } from "./leader.ts";
import type { Publisher } from "./publisher.ts";
import { type ReadMessage, readAll, StreamReader } from "./reader.ts";
import { lastAtLeader } from "./stored.ts";

export interface KvEntry {
  readonly key: string;
  readonly value: Uint8Array;
  /** Sequence in the bucket's stream: what `cas` expects. */
  readonly revision: number;
  /** A marker that the key was deleted or has expired; `value` is empty. */
  readonly deleted: boolean;
  /** When it was written, ms since the epoch. */
  readonly timestampMs: number;
  header(name: string): string | undefined;
}

export interface WatchOptions {
  /** Called once, when everything that the bucket held at the start was handed over. */
  readonly onCaughtUp?: () => void;
}

const GET_TIMEOUT_MS = 5_000;
const LIST_TIMEOUT_MS = 30_000;
/** Set by every KV client on a deletion, and by the server when a key expires. */
const OPERATION = "KV-Operation";
const MARKER_REASON = "Nats-Marker-Reason";
const DELETE = "DEL";
const EMPTY = new Uint8Array(0);

export class KvBucket {
  readonly name: string;
  readonly #bus: Bus;
  readonly #publisher: Publisher;
  readonly #stream: string;

  constructor(bus: Bus, publisher: Publisher, name: string) {
    this.#bus = bus;
    this.#publisher = publisher;
    this.name = name;
    this.#stream = kvStream(name);
  }

  /**
   * The newest value of `key`, or undefined if there is none or it was deleted.
   *
   * @throws VgasError NOT_FOUND if there is no such bucket; TIMEOUT, UNDELIVERABLE, PERMISSION_DENIED
   */
  async get(key: string): Promise<KvEntry | undefined> {
    const entry = await this.getEntry(key);
    return entry?.deleted === true ? undefined : entry;
  }

  /** As `get`, but a deletion is returned too: its revision is the one that `cas` must expect. */
  async getEntry(key: string): Promise<KvEntry | undefined> {
    const found = await lastAtLeader(this.#bus, this.#stream, kvSubject(this.name, key), GET_TIMEOUT_MS);
    return found && makeEntry(key, found);
  }

  /** What the bucket still keeps of `key`, oldest first, deletions included. Fails as `get`. */
  async history(key: string): Promise<readonly KvEntry[]> {
    const found = await readAll(this.#bus, `reading the history of ${this.name}/${key}`, {
      stream: this.#stream,
      filter: kvSubject(this.name, key),
      from: "all",
      timeoutMs: LIST_TIMEOUT_MS,
    });
    return found.map((message) => makeEntry(key, message));
  }

  /**
   * Writes if the newest revision of `key` is `expectedRevision`: 0 if it was never written, or the revision of a
   * deletion. Resolves with the new revision.
   *
   * @throws VgasError CONFLICT if it is another; TIMEOUT if the answer was lost, so that it is unknown whether it was
   *   written; what `Publisher.publish` throws
   */
  async cas(key: string, value: Uint8Array, expectedRevision: number, headers?: HeaderRecord): Promise<number> {
    const options = {
      expectLastSubjectSequence: expectedRevision,
      retry: false,
      ...(headers !== undefined && { headers }),
    };
    return (await this.#publisher.publish(kvSubject(this.name, key), value, options)).sequence;
  }

  /**
   * As `cas`, but sent again for as long as no answer comes. So CONFLICT may also mean that an earlier sending was stored: the value
   * must tell.
   */
  async casAgain(key: string, value: Uint8Array, expectedRevision: number): Promise<number> {
    const options = { expectLastSubjectSequence: expectedRevision, retry: true };
    return (await this.#publisher.publish(kvSubject(this.name, key), value, options)).sequence;
  }

  /** Writes whatever is there; resolves with the new revision. Writes again if the answer is lost. */
  async put(key: string, value: Uint8Array): Promise<number> {
    return (await this.#publisher.publish(kvSubject(this.name, key), value)).sequence;
  }

  /** Marks `key` as deleted; with `expectedRevision` as `cas` does. Resolves with the marker's revision. */
  async delete(key: string, expectedRevision?: number): Promise<number> {
    const expected =
      expectedRevision === undefined ? {} : { expectLastSubjectSequence: expectedRevision, retry: false };
    return (
      await this.#publisher.publish(kvSubject(this.name, key), EMPTY, { headers: { [OPERATION]: DELETE }, ...expected })
    ).sequence;
  }

  /**
   * Hands over the newest entry of each key that `pattern` (`>`, `pool.*`) covers, then every later one, deletions
   * included, until the returned function is called. Survives reconnects and restarts of the server; after one that
   * lost the bucket's contents the handler sees lower revisions.
   */
  async watch(pattern: string, handler: (entry: KvEntry) => void, options: WatchOptions = {}): Promise<() => void> {
    const started = async (): Promise<StreamReader> => {
      const reader = new StreamReader(this.#bus, {
        stream: this.#stream,
        filter: kvSubject(this.name, pattern),
        from: "newest",
        onMessage: (message) => handler(makeEntry(this.#keyOf(message), message)),
        onCaughtUp: () => options.onCaughtUp?.(),
      });
      await reader.start();
      return reader;
    };
    // Who starts while a cluster elects a leader waits for it, as for the streams themselves.
    const reader = await onceLed(this.#bus, started);
    return () => reader.stop();
  }

  /** The keys that have a value. */
  async keys(filter = ">"): Promise<readonly string[]> {
    const found = await readAll(this.#bus, `listing the keys of ${this.name}`, {
      stream: this.#stream,
      filter: kvSubject(this.name, filter),
      from: "newest",
      headersOnly: true,
      timeoutMs: LIST_TIMEOUT_MS,
    });
    // A key that is written while this reads comes twice.
    const deleted = new Map(found.map((message) => [this.#keyOf(message), isDeletion(message)]));
    return [...deleted.keys()].filter((key) => deleted.get(key) === false);
  }

  #keyOf(message: ReadMessage): string {
    return message.subject.slice(kvSubject(this.name, "").length);
  }
}

type Kept = Pick<ReadMessage, "data" | "sequence" | "timestampMs" | "header">;

function makeEntry(key: string, { data, sequence, timestampMs, header }: Kept): KvEntry {
  return { key, value: data, revision: sequence, deleted: isDeletion({ header }), timestampMs, header };
}

function isDeletion({ header }: Pick<Kept, "header">): boolean {
  const operation = header(OPERATION);
  return operation === DELETE || operation === "PURGE" || header(MARKER_REASON) !== undefined;
}
