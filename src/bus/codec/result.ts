/**
 * Encodes results. One is written for each task, so its fields are written here, straight into bytes; only what a behaviour made
 * (output, error) goes through the encoder for everything. The bytes are those that `encode` would give.
 */
import { MAX_VALUES } from "../../protocols/limits.ts";
import type { TaskResult } from "../../protocols/result.ts";
import { encode } from "./codec.ts";
import { encodeJson } from "./json.ts";
import { MAX_ENCODED_BYTES, refuseSize } from "./plain.ts";
import type { TaskEncoding } from "./task.ts";

/** A result in which every field stands, undefined where it is left out: the fields of all results in one order. */
export type WholeResult = { readonly [Field in keyof TaskResult]-?: TaskResult[Field] | undefined };

/** Allocated at once; results are views on such a chunk, so one that is kept keeps its chunk alive. */
const CHUNK_BYTES = 16 * 1024;
/** More than all fields but those that behaviours made: eleven names, six texts of at most 255 characters, six integers. */
const FIELDS_BYTES = 2_048;
/** Each of them counts as a value to who decodes the result. */
const MAX_FIELDS = 16;
/** Longest text that is written here. */
const MAX_TEXT = 0xff;
const ASCII_END = 0x80;
const TWO_32 = 0x1_0000_0000;

/**
 * @returns bytes that are the caller's to keep; nobody writes to them again
 * @throws VgasError INVALID_OUTPUT as `encode` does
 */
export function encodeResult(result: WholeResult, encoding: TaskEncoding): Uint8Array {
  if (encoding === "json") return encodeJson(result);
  const output = made("output", result.output);
  const outputRef = made("outputRef", result.outputRef);
  const error = made("error", result.error);
  const usage = made("usage", result.usage);
  const size = lengthOf(output) + lengthOf(outputRef) + lengthOf(error) + lengthOf(usage);
  if (size > MAX_ENCODED_BYTES) refuseSize(MAX_ENCODED_BYTES);
  begin(FIELDS_BYTES + size);
  const start = at++;
  const fields =
    text(ID, result.id) +
    text(POOL, result.pool) +
    text(KIND, result.kind) +
    text(STATUS, result.status) +
    copy(OUTPUT, output) +
    copy(OUTPUT_REF, outputRef) +
    copy(ERROR, error) +
    integer(ATTEMPT, result.attempt) +
    integer(SUBMITTED_AT, result.submittedAt) +
    integer(STARTED_AT, result.startedAt) +
    integer(FINISHED_AT, result.finishedAt) +
    text(AGENT, result.agent) +
    text(HOST, result.host) +
    integer(TICKET, result.ticket) +
    copy(USAGE, usage) +
    text(REPLAY_OF, result.replayOf);
  // A text that is long or not ASCII, a time that is no integer: rare, and not for here.
  if (!(fields < MAX_FIELDS)) {
    at = start;
    return encode(result);
  }
  bytes[start] = 0x80 | fields;
  return bytes.subarray(start, at);
}

/** Names of fields as msgpack writes them. */
const ID = name("id");
const POOL = name("pool");
const KIND = name("kind");
const STATUS = name("status");
const OUTPUT = name("output");
const OUTPUT_REF = name("outputRef");
const ERROR = name("error");
const ATTEMPT = name("attempt");
const SUBMITTED_AT = name("submittedAt");
const STARTED_AT = name("startedAt");
const FINISHED_AT = name("finishedAt");
const AGENT = name("agent");
const HOST = name("host");
const TICKET = name("ticket");
const USAGE = name("usage");
const REPLAY_OF = name("replayOf");

let bytes = new Uint8Array(CHUNK_BYTES);
let at = 0;

/** Makes room for `needed` bytes. */
function begin(needed: number): void {
  if (at + needed <= bytes.length) return;
  bytes = new Uint8Array(Math.max(CHUNK_BYTES, needed));
  at = 0;
}

/** What a behaviour made, checked and encoded as the value of `field`. */
function made(field: string, value: unknown): Uint8Array | undefined {
  return value === undefined ? undefined : encode(value, MAX_VALUES - MAX_FIELDS, field);
}

// Each writes a name and its value and answers 1; 0 for what is left out; NaN for what it cannot write.

function text(field: readonly number[], value: string | undefined): number {
  if (value === undefined) return 0;
  const { length } = value;
  if (length > MAX_TEXT) return Number.NaN;
  label(field);
  if (length < 32) bytes[at++] = 0xa0 | length;
  else {
    bytes[at++] = 0xd9;
    bytes[at++] = length;
  }
  for (let i = 0; i < length; i++) {
    const code = value.charCodeAt(i);
    if (code >= ASCII_END) return Number.NaN;
    bytes[at++] = code;
  }
  return 1;
}

function integer(field: readonly number[], value: number | undefined): number {
  if (value === undefined) return 0;
  if (!(Number.isSafeInteger(value) && value >= 0)) return Number.NaN;
  label(field);
  if (value < 0x80) bytes[at++] = value;
  else if (value < 0x100) {
    bytes[at++] = 0xcc;
    bytes[at++] = value;
  } else if (value < 0x1_0000) {
    bytes[at++] = 0xcd;
    bytes[at++] = value >>> 8;
    bytes[at++] = value;
  } else if (value < TWO_32) {
    bytes[at++] = 0xce;
    word(value);
  } else {
    // As the encoder for everything: signed.
    bytes[at++] = 0xd3;
    word(Math.floor(value / TWO_32));
    word(value >>> 0);
  }
  return 1;
}

function copy(field: readonly number[], encoded: Uint8Array | undefined): number {
  if (encoded === undefined) return 0;
  label(field);
  bytes.set(encoded, at);
  at += encoded.length;
  return 1;
}

function label(field: readonly number[]): void {
  for (let i = 0; i < field.length; i++) bytes[at++] = field[i] as number;
}

/** 32 bits, big-endian. */
function word(value: number): void {
  bytes[at++] = value >>> 24;
  bytes[at++] = value >>> 16;
  bytes[at++] = value >>> 8;
  bytes[at++] = value;
}

function lengthOf(encoded: Uint8Array | undefined): number {
  return encoded === undefined ? 0 : encoded.length;
}

function name(field: keyof TaskResult): readonly number[] {
  return [0xa0 | field.length, ...Buffer.from(field)];
}
