/** A task that does not fit into a message: its input, its context or both go to the object store before it is sent. */
import { encode } from "../bus/codec/codec.ts";
import { encodeObject } from "../bus/codec/object.ts";
import { EncodingTooLarge } from "../bus/codec/plain.ts";
import type { ObjectOptions, Objects } from "../bus/objects.ts";
import { type ErrorCode, VgasError } from "../protocols/errors.ts";
import { MAX_OBJECT_BYTES, MAX_OBJECT_VALUES } from "../protocols/limits.ts";
import type { ObjectRef } from "../protocols/result.ts";

/** Of a reference in a task: a store's name of at most 71 bytes, 32 and 64 digits, and the names of the fields. */
const REF_BYTES = 256;
/** Errors after which a task that was sent is not stored and never will be. After others it may be, and needs what was put. */
const NOT_STORED: ReadonlySet<ErrorCode> = new Set([
  "INVALID",
  "LANE_FULL",
  "NO_SWARM",
  "PERMISSION_DENIED",
  "RESOURCE_LIMIT",
  "STREAM_FULL",
  "TOO_LARGE",
]);

type Part = "input" | "context";

/** A task that can be sent, and what was put for it. */
export interface StoredParts {
  readonly bytes: Uint8Array;
  readonly refs: readonly ObjectRef[];
}

export class LargeTask {
  readonly #fields: Readonly<Record<string, unknown>>;
  readonly #objects: readonly { readonly part: Part; readonly bytes: Uint8Array }[];

  /**
   * @param fields all of the task but input and context
   * @param maxBytes of the message
   * @throws VgasError INVALID naming the part; TOO_LARGE
   */
  constructor(fields: Readonly<Record<string, unknown>>, parts: Readonly<Record<Part, unknown>>, maxBytes: number) {
    const encoded = (["input", "context"] as const)
      .filter((part) => parts[part] !== undefined)
      .map((part) => ({ part, bytes: encodePart(part, parts[part]) }))
      .sort((a, b) => b.bytes.length - a.bytes.length);
    const kept: Record<string, unknown> = { ...fields, ...parts };
    const objects: typeof encoded = [];
    // The largest first: mostly the other one fits then. By its number of values it may not, with few bytes.
    for (const each of encoded) {
      objects.push(each);
      delete kept[each.part];
      if (sizeOf(kept) <= maxBytes - objects.length * REF_BYTES) break;
    }
    const bytes = sizeOf(kept) + objects.length * REF_BYTES;
    if (bytes > maxBytes) {
      const size = Number.isFinite(bytes) ? `has ${bytes} bytes` : "is too large";
      const room = `at most ${maxBytes} fit into a message`;
      throw new VgasError("TOO_LARGE", `the task ${size} besides its input and context, ${room}`);
    }
    this.#fields = kept;
    this.#objects = objects;
  }

  /**
   * Puts the large parts into the store.
   *
   * @throws VgasError what `Objects.put` throws; nothing is left in the store then
   */
  async put(objects: Objects, options: ObjectOptions): Promise<StoredParts> {
    const refs: ObjectRef[] = [];
    const fields: Record<string, unknown> = { ...this.#fields };
    try {
      for (const { part, bytes } of this.#objects) {
        const ref = await objects.put("inputs", bytes, options);
        refs.push(ref);
        fields[`${part}Ref`] = ref;
      }
    } catch (error) {
      await removeAll(objects, refs);
      throw error;
    }
    return { bytes: encode(fields), refs };
  }
}

/** Puts what is large, sends the task, and removes what was put if the task is not stored. */
export async function sendTask<T>(
  objects: Objects,
  task: Uint8Array | LargeTask,
  options: ObjectOptions,
  send: (body: Uint8Array) => Promise<T>,
): Promise<T> {
  if (!(task instanceof LargeTask)) return await send(task);
  const { bytes, refs } = await task.put(objects, options);
  try {
    return await send(bytes);
  } catch (error) {
    await removeUnlessStored(objects, refs, error);
    throw error;
  }
}

/** What was put for a task that is certainly not stored, by what sending it failed with, is removed. */
export async function removeUnlessStored(objects: Objects, refs: readonly ObjectRef[], error: unknown): Promise<void> {
  if (error instanceof VgasError && NOT_STORED.has(error.code)) await removeAll(objects, refs);
}

/** As far as that goes: what stays is dropped with the store's old objects. */
export async function removeAll(objects: Objects, refs: readonly ObjectRef[]): Promise<void> {
  await Promise.allSettled(refs.map((ref) => objects.remove(ref)));
}

function encodePart(part: Part, value: unknown): Uint8Array {
  try {
    return encodeObject(value, "msgpack");
  } catch (cause) {
    if (cause instanceof EncodingTooLarge) {
      const bound = `at most ${MAX_OBJECT_BYTES} bytes and ${MAX_OBJECT_VALUES} values can be sent`;
      throw new VgasError("TOO_LARGE", `the ${part} is too large: ${bound}`, { cause });
    }
    throw invalid(`the ${part}`, cause);
  }
}

/** Bytes of the encoding; infinite if it has too many values. */
function sizeOf(fields: Readonly<Record<string, unknown>>): number {
  try {
    return encode(fields).length;
  } catch (cause) {
    if (cause instanceof EncodingTooLarge) return Number.POSITIVE_INFINITY;
    throw invalid("the task", cause);
  }
}

function invalid(what: string, cause: unknown): VgasError {
  const why = cause instanceof Error ? cause.message : String(cause);
  return new VgasError("INVALID", `${what} cannot be encoded: ${why}`, { cause });
}
