/**
 * Finds tasks in the stream by their ids.
 *
 * An automatic id names the message. An element that was published again, and a task with an id of its own, can be anywhere in
 * the queue: they are looked for among the next `MAX_SCANNED` messages of the pool.
 */
import type { Bus } from "../../bus/bus.ts";
import { type ParsedTask, readEncoding, readTasks, type TaskEncoding } from "../../bus/codec/task.ts";
import { getBySequence, type StoredMessage } from "../../bus/stored.ts";
import { waitingMessages } from "../../bus/waiting.ts";
import { HEADERS, type LaneName, type Names, type Priority } from "../../protocols/subjects.ts";
import { parseEnvelope, type TaskEnvelope } from "../../protocols/task.ts";
import { automaticId, elementOf, isAutomaticId, sequenceOf } from "../../protocols/tokens.ts";
import { traceparentOf } from "../../protocols/traceparent.ts";
import { requeued } from "./requeued.ts";

/** Most messages, and most of their bytes, looked at for one round of questions. */
const MAX_SCANNED = 10_000;
const MAX_SCANNED_BYTES = 64 * 2 ** 20;
/** From so many ids of clients' own on a message is decoded at once: to look for each in its bytes costs more. */
const MANY_IDS = 8;

/** A task that waits, or is in some dispatcher's hands, or runs: it is in the stream until it is acknowledged. */
export interface StoredTask {
  readonly lane: LaneName;
  readonly priority: Priority;
  readonly sequence: number;
  /** Nothing else is in its message. */
  readonly alone: boolean;
  readonly submittedAt: number;
  readonly encoding: TaskEncoding;
  readonly replyTo: string | undefined;
  readonly replayOf: string | undefined;
  readonly notBefore: number | undefined;
  readonly traceparent: string | undefined;
  /** The task as it came. */
  readonly body: Uint8Array;
}

/** `cut`: not everything that waits was looked at. */
export interface Found {
  readonly tasks: ReadonlyMap<string, StoredTask>;
  readonly cut: boolean;
}

export class TaskFinder {
  readonly #bus: Bus;
  readonly #names: Names;

  constructor(bus: Bus, names: Names) {
    this.#bus = bus;
    this.#names = names;
  }

  /** Those of `ids` that are in the stream. `own`: ids that clients gave are looked for too. */
  async find(pool: string, ids: readonly string[], { own }: { readonly own: boolean }): Promise<Found> {
    const tasks = new Map<string, StoredTask>();
    const bySequence = new Map<number, Set<string>>();
    const elsewhere = new Set<string>();
    let from = Number.POSITIVE_INFINITY;
    for (const id of ids) {
      if (!isAutomaticId(id)) {
        if (!own) continue;
        elsewhere.add(id);
        from = 1;
        continue;
      }
      const sequence = sequenceOf(id);
      if (sequence === undefined) continue;
      const others = bySequence.get(sequence);
      if (others) others.add(id);
      else bySequence.set(sequence, new Set([id]));
    }
    for (const [sequence, wanted] of bySequence) {
      const message = await getBySequence(this.#bus, this.#names.streams.tasks, sequence);
      if (message !== undefined) {
        for (const [id, task] of this.#read(message, wanted)) if (task.lane.pool === pool) tasks.set(id, task);
        continue;
      }
      for (const id of wanted) {
        if (elementOf(id) === undefined) continue;
        elsewhere.add(id);
        from = Math.min(from, sequence + 1);
      }
    }
    const cut = elsewhere.size > 0 && (await this.#scan(pool, elsewhere, from, tasks));
    return { tasks, cut };
  }

  /** Looks for `wanted` from a sequence on; returns whether it gave up before the end. */
  async #scan(pool: string, wanted: Set<string>, from: number, tasks: Map<string, StoredTask>): Promise<boolean> {
    const { streams } = this.#names;
    let seen = 0;
    let bytes = 0;
    const bounds = { filter: this.#names.task(pool, ">"), from, maxMessages: MAX_SCANNED };
    for await (const message of waitingMessages(this.#bus, streams.tasks, bounds)) {
      seen++;
      for (const [id, task] of this.#read(message, wanted)) {
        tasks.set(id, task);
        wanted.delete(id);
      }
      if (wanted.size === 0) return false;
      bytes += message.data.length;
      if (bytes > MAX_SCANNED_BYTES) return true;
    }
    return seen === MAX_SCANNED;
  }

  /** Those of `wanted` that are in `message`, as a dispatcher that takes it would name them. */
  #read(message: StoredMessage, wanted: ReadonlySet<string>): ReadonlyMap<string, StoredTask> {
    const found = new Map<string, StoredTask>();
    const at = this.#names.parseTask(message.subject);
    if (at === undefined) return found;
    const kept = requeued(message);
    const lane = { pool: at.pool, kind: at.kind };
    const origin = {
      ...{ lane, priority: at.priority, sequence: message.sequence },
      submittedAt: kept === undefined ? message.timestampMs : Number(message.header(HEADERS.submittedAt)),
      traceparent: traceparentOf(message.header(HEADERS.traceparent)),
    };
    if (kept !== undefined && !wanted.has(kept)) return found;
    // Without an id of its own in it no message is decoded for nothing.
    const own = [...wanted].filter((id) => !isAutomaticId(id));
    const { data } = message;
    const text = Buffer.from(data.buffer, data.byteOffset, data.length);
    const named = own.length >= MANY_IDS || own.some((id) => text.includes(id));
    const [first] = wanted;
    if (kept === undefined && !named && (first === undefined || sequenceOf(first) !== message.sequence)) return found;
    let read: ReturnType<typeof readTasks>;
    try {
      read = readTasks(message.data);
    } catch {
      const id = kept ?? automaticId(message.sequence);
      const nothing = {
        replyTo: undefined,
        replayOf: undefined,
        notBefore: undefined,
        encoding: readEncoding(message.data),
        alone: true,
        body: message.data,
      };
      if (wanted.has(id)) found.set(id, { ...origin, ...nothing });
      return found;
    }
    for (const [element, parsed] of read.tasks.entries()) {
      const envelope = envelopeOf(parsed, lane, at.priority);
      const id = kept ?? envelope?.id ?? automaticId(message.sequence, read.array ? element : undefined);
      if (!wanted.has(id)) continue;
      const { replyTo, replayOf, notBefore } = envelope ?? {};
      const { encoding, body } = parsed;
      found.set(id, { ...origin, replyTo, replayOf, notBefore, encoding, body, alone: !read.array });
    }
    return found;
  }
}

/** The ids of the tasks of a message of the task stream, as a dispatcher that takes it would name them. */
export function idsOf(
  message: StoredMessage,
  { pool, kind, priority }: LaneName & { readonly priority: Priority },
): readonly string[] {
  const kept = requeued(message);
  if (kept !== undefined) return [kept];
  try {
    const { tasks, array } = readTasks(message.data);
    return tasks.map(
      (parsed, i) =>
        envelopeOf(parsed, { pool, kind }, priority)?.id ?? automaticId(message.sequence, array ? i : undefined),
    );
  } catch {
    return [automaticId(message.sequence)];
  }
}

function envelopeOf(parsed: ParsedTask, lane: LaneName, priority: Priority): TaskEnvelope | undefined {
  try {
    return parsed.ok ? parseEnvelope(parsed.fields, lane, priority) : undefined;
  } catch {
    return undefined;
  }
}
