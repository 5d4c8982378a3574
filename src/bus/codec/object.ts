/** The content of an object: one value, in the encoding of the task that it is of. */
import { MAX_OBJECT_VALUES } from "../../protocols/limits.ts";
import { decode, encode } from "./codec.ts";
import { decodeJson, encodeJson } from "./json.ts";
import type { TaskEncoding } from "./task.ts";

/** @throws VgasError INVALID_OUTPUT as `encode`; EncodingTooLarge above MAX_OBJECT_BYTES or MAX_OBJECT_VALUES */
export function encodeObject(value: unknown, encoding: TaskEncoding): Uint8Array {
  return encoding === "json" ? encodeJson(value) : encode(value, MAX_OBJECT_VALUES);
}

/** @throws VgasError INVALID */
export function decodeObject(bytes: Uint8Array, encoding: TaskEncoding): unknown {
  return encoding === "json" ? decodeJson(bytes) : decode(bytes, MAX_OBJECT_VALUES);
}

/**
 * What an object is written in. Of two bytes and more both cannot be meant: in msgpack such a value begins with a byte from 0x80
 * on, and JSON is text that begins in ASCII.
 */
export function objectEncoding(bytes: Uint8Array): TaskEncoding {
  return bytes.length > 1 && (bytes[0] as number) < 0x80 ? "json" : "msgpack";
}
