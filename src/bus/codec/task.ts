/**
 * A task message as its reader needs it: a dispatcher the envelope only, without building input and context; a host
 * everything. Both encodings are taken, and answered in kind.
 */
import { VgasError } from "../../protocols/errors.ts";
import { MAX_ARRAY_TASKS } from "../../protocols/limits.ts";
import { ENVELOPE_FIELDS, type EnvelopeField } from "../../protocols/task.ts";
import { isToken } from "../../protocols/tokens.ts";
import { decode, encode } from "./codec.ts";
import { decodeJson, encodeJson, isJson, parseJson } from "./json.ts";
import { scanJson } from "./json-scan.ts";
import { unpack, viewOf } from "./msgpackr.ts";
import { Reader } from "./reader.ts";

/** What a client wrote its message in, and gets its answers in. */
export type TaskEncoding = "msgpack" | "json";

/** The envelope's fields as they were sent, unchecked: `parseEnvelope` judges them. */
export type EnvelopeFields = Partial<Record<EnvelopeField, unknown>>;

/** One task, or one element that is none. `body` is its own bytes, a view on the message. */
export type ParsedTask = { readonly encoding: TaskEncoding; readonly body: Uint8Array } & (
  | { readonly ok: true; readonly fields: EnvelopeFields }
  | { readonly ok: false; readonly error: VgasError }
);

export interface ParsedTasks {
  /** The message was an array, so its tasks are elements with ids of their own. */
  readonly array: boolean;
  readonly tasks: readonly ParsedTask[];
}

/**
 * Reads the envelopes of a task message. All of it is checked, so a body from here always decodes later.
 *
 * @throws VgasError INVALID: neither msgpack nor JSON, neither a map nor an array, an empty array, or one of more than
 *   MAX_ARRAY_TASKS. An array element that is no map is `{ok: false}` and fails alone.
 */
export function readTasks(data: Uint8Array): ParsedTasks {
  return isJson(data) ? readJsonTasks(data) : readMsgpackTasks(data);
}

/** What `bytes` are written in; they may be anything. */
export function readEncoding(bytes: Uint8Array): TaskEncoding {
  return isJson(bytes) ? "json" : "msgpack";
}

/**
 * Decodes one task completely.
 *
 * @param walked it is from `readTasks` of this process, which has checked all of it
 * @throws VgasError INVALID if `body` is no map in either encoding
 */
export function readBody(
  body: Uint8Array,
  walked = false,
): {
  readonly encoding: TaskEncoding;
  readonly fields: Record<string, unknown>;
} {
  const { encoding, value } = walked && !isJson(body) ? walkedMsgpack(body) : decodeMirrored(body);
  if (!isMap(value)) throw new VgasError("INVALID", `a task must be a map, got ${kindOf(value)}`);
  return { encoding, fields: value };
}

/** The id of the task that `body` repeats; undefined if it repeats none, or is no task. */
export function readReplayOf(body: Uint8Array): string | undefined {
  try {
    const { array, tasks } = readTasks(body);
    const [task] = tasks;
    const replayOf = !array && task?.ok ? task.fields.replayOf : undefined;
    return isToken(replayOf) ? replayOf : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Decodes a client's message in either encoding, and tells which, for `encodeMirrored` to answer in.
 *
 * @throws VgasError INVALID
 */
export function decodeMirrored(bytes: Uint8Array): { readonly encoding: TaskEncoding; readonly value: unknown } {
  return isJson(bytes) ? { encoding: "json", value: decodeJson(bytes) } : { encoding: "msgpack", value: decode(bytes) };
}

/**
 * Encodes in the encoding that was asked in.
 *
 * @throws VgasError INVALID_OUTPUT
 */
export function encodeMirrored(value: unknown, encoding: TaskEncoding): Uint8Array {
  return encoding === "json" ? encodeJson(value) : encode(value);
}

function walkedMsgpack(body: Uint8Array): ReturnType<typeof decodeMirrored> {
  return { encoding: "msgpack", value: unpack(viewOf(body), 0, body.length) };
}

function readMsgpackTasks(data: Uint8Array): ParsedTasks {
  if (data.length === 0) throw new VgasError("INVALID", "the message is empty");
  const view = viewOf(data);
  const reader = new Reader(view);
  const type = reader.peek();
  if (type === "scalar") throw noTask(kindOf(decode(data)));
  if (type === "map") {
    const fields = readFields(reader, view, 0);
    reader.finish();
    return { array: false, tasks: [{ ok: true, encoding: "msgpack", fields, body: data }] };
  }
  const count = reader.enter();
  checkCount(count);
  const tasks: ParsedTask[] = [];
  for (let i = 0; i < count; i++) {
    const start = reader.position;
    reader.recount();
    const fields = reader.peek() === "map" ? readFields(reader, view, 1) : reader.skip(1);
    const body = view.subarray(start, reader.position);
    tasks.push(
      fields
        ? { ok: true, encoding: "msgpack", fields, body }
        : { ok: false, encoding: "msgpack", error: noMap(i), body },
    );
  }
  reader.finish();
  return { array: true, tasks };
}

/**
 * Passes over a task's map and decodes its envelope. A field that is a container is answered as an empty one.
 *
 * @param depth containers around the map
 */
function readFields(reader: Reader, view: Uint8Array, depth: number): EnvelopeFields {
  const fields: EnvelopeFields = {};
  const count = reader.enter(depth);
  for (let i = 0; i < count; i++) {
    const name = reader.passKey(ENVELOPE_FIELDS);
    const type = reader.peek();
    const start = reader.position;
    reader.skip(depth + 1);
    if (name === undefined) continue;
    if (type === "scalar") fields[name] = unpack(view, start, reader.position);
    else fields[name] = type === "map" ? {} : [];
  }
  return fields;
}

function readJsonTasks(data: Uint8Array): ParsedTasks {
  const shape = scanJson(data, MAX_ARRAY_TASKS);
  const value = parseJson(data, shape);
  const { elements } = shape;
  if (elements === undefined)
    return { array: false, tasks: [{ ok: true, encoding: "json", fields: pickFields(value), body: data }] };
  checkCount(elements.length);
  const values = value as unknown[];
  const tasks = elements.map(([start, end], index): ParsedTask => {
    const body = data.subarray(start, end);
    const element = values[index];
    return isMap(element)
      ? { ok: true, encoding: "json", fields: pickFields(element), body }
      : { ok: false, encoding: "json", error: noMap(index), body };
  });
  return { array: true, tasks };
}

function pickFields(value: unknown): EnvelopeFields {
  const fields: EnvelopeFields = {};
  const map = value as Record<string, unknown>;
  for (const name of ENVELOPE_FIELDS) if (Object.hasOwn(map, name)) fields[name] = map[name];
  return fields;
}

function checkCount(count: number): void {
  if (count === 0) throw new VgasError("INVALID", "an array of tasks must not be empty");
  if (count > MAX_ARRAY_TASKS)
    throw new VgasError("INVALID", `an array of tasks has at most ${MAX_ARRAY_TASKS} elements, got ${count}`);
}

function isMap(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    !(value instanceof Uint8Array) &&
    !(value instanceof Date)
  );
}

function noTask(got: string): VgasError {
  return new VgasError("INVALID", `a task message must be a map or an array of maps, got ${got}`);
}

function noMap(index: number): VgasError {
  return new VgasError("INVALID", `element ${index} of the array is no map`);
}

function kindOf(value: unknown): string {
  if (value === null) return "nil";
  if (Array.isArray(value)) return "an array";
  if (value instanceof Uint8Array) return "binary data";
  return value instanceof Date ? "a timestamp" : `a ${typeof value}`;
}
