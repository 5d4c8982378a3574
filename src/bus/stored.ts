/**
 * Reads single messages of a stream, by direct get where nothing else is said. Any replica may answer that, so the newest
 * message may be missing for a moment after it was stored; on one server it never is.
 */
import { MsgHdrsImpl } from "@nats-io/transport-node";
import { VgasError } from "../protocols/errors.ts";
import { jsApi } from "../protocols/subjects.ts";
import type { Bus, BusMessage } from "./bus.ts";
import { askLeader, askUncut } from "./leader.ts";
import { API, apiErrorCode } from "./nats-errors.ts";

/** A message as it is kept in a stream; `subject` is the one it was stored under. */
export interface StoredMessage extends BusMessage {
  readonly sequence: number;
  /** When it was stored, ms since the epoch. */
  readonly timestampMs: number;
}

const TIMEOUT_MS = 5_000;
const NOT_FOUND = 404;
const END_OF_BATCH = 204;
/** The server refuses a request that finds more than 1024 messages. */
const MAX_SUBJECTS = 256;
const HEADER = {
  subject: "Nats-Subject",
  sequence: "Nats-Sequence",
  time: "Nats-Time-Stamp",
  pending: "Nats-Num-Pending",
} as const;

/** Headers that the server puts on a message that is read, for whoever hands it on. */
export const STORED_HEADERS: readonly string[] = ["Nats-Stream", HEADER.subject, HEADER.sequence, HEADER.time];

const encoder = new TextEncoder();
const NOTHING = new Uint8Array();

/**
 * The newest message of `subject`, or undefined if there is none. By the form of the request that names the subject in its own: a
 * credential can be limited to some subjects by it, as a guest's is.
 *
 * @throws VgasError UNDELIVERABLE if there is no such stream or it allows no direct get; TIMEOUT; PERMISSION_DENIED
 */
export async function lastBySubject(
  bus: Bus,
  stream: string,
  subject: string,
  timeoutMs = TIMEOUT_MS,
): Promise<StoredMessage | undefined> {
  const answer = await askUncut(bus, timeoutMs, (leftMs) =>
    bus.request(`reading ${subject}`, jsApi.directGetOf(stream, subject), NOTHING, { timeoutMs: leftMs }),
  );
  return storedOf(stream, answer);
}

/**
 * The newest message of `subject` as the stream's leader has it, or undefined if there is none.
 *
 * @throws VgasError NOT_FOUND if there is no such stream; TIMEOUT, UNDELIVERABLE, PERMISSION_DENIED
 */
export async function lastAtLeader(
  bus: Bus,
  stream: string,
  subject: string,
  timeoutMs = TIMEOUT_MS,
): Promise<Pick<StoredMessage, "data" | "header" | "sequence" | "timestampMs"> | undefined> {
  const message = await getAtLeader(bus, stream, `reading ${subject}`, { last_by_subj: subject }, timeoutMs);
  if (message === undefined) return undefined;
  const headers = message.hdrs === undefined ? undefined : MsgHdrsImpl.decode(Buffer.from(message.hdrs, "base64"));
  return {
    data: message.data === undefined ? NOTHING : Buffer.from(message.data, "base64"),
    sequence: message.seq,
    timestampMs: Date.parse(message.time),
    header: (name) => headers?.get(name) || undefined,
  };
}

/** Whether the stream's leader has a message at `sequence`. Fails as `lastAtLeader`. */
export async function isStored(bus: Bus, stream: string, sequence: number, timeoutMs = TIMEOUT_MS): Promise<boolean> {
  return (await getAtLeader(bus, stream, `reading ${stream}`, { seq: sequence }, timeoutMs)) !== undefined;
}

async function getAtLeader(
  bus: Bus,
  stream: string,
  operation: string,
  which: { readonly last_by_subj: string } | { readonly seq: number },
  timeoutMs: number,
): Promise<MessageGetAnswer["message"]> {
  const request = encoder.encode(JSON.stringify(which));
  return await askLeader(bus, timeoutMs, async (tryMs) => {
    const answer = await bus.request(operation, jsApi.messageGet(stream), request, { timeoutMs: tryMs });
    const { error, message } = JSON.parse(Buffer.from(answer.data).toString()) as MessageGetAnswer;
    if (error?.err_code === API.noMessage) return undefined;
    if (error !== undefined)
      throw new VgasError(apiErrorCode(error.err_code), `${operation}: ${error.description} (${error.err_code})`);
    if (message === undefined)
      throw new VgasError("INTERNAL", `${operation}: the server answered neither a message nor an error`);
    return message;
  });
}

interface MessageGetAnswer {
  readonly error?: { readonly err_code: number; readonly description: string };
  readonly message?: { readonly seq: number; readonly time: string; readonly data?: string; readonly hdrs?: string };
}

/** The message at `sequence`, or undefined if it is gone or was never there. Fails as `lastBySubject`. */
export async function getBySequence(
  bus: Bus,
  stream: string,
  sequence: number,
  timeoutMs = TIMEOUT_MS,
): Promise<StoredMessage | undefined> {
  const request = encoder.encode(JSON.stringify({ seq: sequence }));
  const answer = await askUncut(bus, timeoutMs, (leftMs) =>
    bus.request(`reading ${stream}`, jsApi.directGet(stream), request, { timeoutMs: leftMs }),
  );
  return storedOf(stream, answer);
}

/** The newest message of each of `subjects` that has one, by subject, in one request per 256. Fails as `lastBySubject`. */
export async function lastBySubjects(
  bus: Bus,
  stream: string,
  subjects: readonly string[],
  timeoutMs = TIMEOUT_MS,
): Promise<Map<string, StoredMessage>> {
  const found = new Map<string, StoredMessage>();
  for (let from = 0; from < subjects.length; from += MAX_SUBJECTS) {
    let asked = subjects.slice(from, from + MAX_SUBJECTS);
    // The server ends a batch early when it grows large, and says how many are left.
    while (asked.length > 0) {
      const before = found.size;
      const left = await lastOf(bus, stream, asked, timeoutMs, found);
      if (left === 0) break;
      if (found.size === before)
        throw new VgasError("INTERNAL", `reading ${stream}: ${left} messages are left and none came`);
      asked = asked.filter((subject) => !found.has(subject));
    }
  }
  return found;
}

/** Which messages of a stream come next. */
export interface NextOptions {
  /** Of the subjects that this covers; wildcards as NATS has them. */
  readonly filter: string;
  /** From this sequence on. */
  readonly from: number;
  readonly maxMessages: number;
  /** At least one message comes, however large it is. */
  readonly maxBytes: number;
}

/** The next messages in order, and how many there are behind them. Fails as `lastBySubject`. */
export async function nextBySubject(
  bus: Bus,
  stream: string,
  { filter, from, maxMessages, maxBytes }: NextOptions,
  timeoutMs = TIMEOUT_MS,
): Promise<{ readonly messages: readonly StoredMessage[]; readonly behind: number }> {
  const fields = { seq: from, next_by_subj: filter, batch: maxMessages, max_bytes: maxBytes };
  const request = encoder.encode(JSON.stringify(fields));
  const messages = await askUncut(bus, timeoutMs, (leftMs) =>
    bus.requestMany(`reading ${stream}`, jsApi.directGet(stream), request, { timeoutMs: leftMs, end: "sentinel" }),
  );
  const behind = pendingOf(stream, messages.pop());
  return { messages: messages.map((message) => new DirectMessage(message)), behind };
}

/** One batch; returns how many messages the server still had. */
async function lastOf(
  bus: Bus,
  stream: string,
  subjects: readonly string[],
  timeoutMs: number,
  found: Map<string, StoredMessage>,
): Promise<number> {
  const request = encoder.encode(JSON.stringify({ multi_last: subjects }));
  const messages = await askUncut(bus, timeoutMs, (leftMs) =>
    bus.requestMany(`reading ${stream}`, jsApi.directGet(stream), request, { timeoutMs: leftMs, end: "sentinel" }),
  );
  const end = messages.pop();
  for (const message of messages) {
    const stored = new DirectMessage(message);
    found.set(stored.subject, stored);
  }
  return pendingOf(stream, end);
}

/** What the end of a batch says is left. */
function pendingOf(stream: string, end: BusMessage | undefined): number {
  if (end?.status === NOT_FOUND) return 0;
  if (end?.status === END_OF_BATCH) return Number(end.header(HEADER.pending) ?? 0);
  throw unexpected(stream, end);
}

function storedOf(stream: string, message: BusMessage): StoredMessage | undefined {
  if (message.status === NOT_FOUND) return undefined;
  if (message.status !== 0) throw unexpected(stream, message);
  return new DirectMessage(message);
}

function unexpected(stream: string, message: BusMessage | undefined): VgasError {
  return new VgasError("INTERNAL", `reading ${stream}: the server answered ${message?.status} ${message?.statusText}`);
}

class DirectMessage implements StoredMessage {
  readonly #message: BusMessage;
  readonly subject: string;
  readonly reply = undefined;
  readonly status = 0;
  readonly statusText = "";

  constructor(message: BusMessage) {
    this.#message = message;
    this.subject = message.header(HEADER.subject) ?? "";
  }

  get data(): Uint8Array {
    return this.#message.data;
  }

  get sequence(): number {
    return Number(this.#message.header(HEADER.sequence));
  }

  get timestampMs(): number {
    return Date.parse(this.#message.header(HEADER.time) ?? "");
  }

  header(name: string): string | undefined {
    return this.#message.header(name);
  }
}
