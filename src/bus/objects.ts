/**
 * What is too large for a message: objects of two NATS object stores, whole in memory on both sides. Written and read by the
 * convention that object-store clients keep (`nats object get` reads them), but with single publishes and direct gets: a
 * consumer for each object costs more, and opens more to whoever may make it.
 *
 * 1. An object is there as a whole or not at all: what describes it is stored last, and removed first.
 * 2. What `get` returns is what the reference says, to the last byte, or it is an error.
 * 3. `remove` leaves nothing behind for longer than a minute.
 */
import { createHash, randomBytes } from "node:crypto";
import { setMaxListeners } from "node:events";
import { setTimeout as pause } from "node:timers/promises";
import { z } from "zod";
import { VgasError } from "../protocols/errors.ts";
import { MAX_OBJECT_BYTES } from "../protocols/limits.ts";
import type { ObjectRef } from "../protocols/result.ts";
import { type Names, objectChunks, objectInfo, objectStream } from "../protocols/subjects.ts";
import type { Bus } from "./bus.ts";
import type { PubAck, Publisher } from "./publisher.ts";
import { lastAtLeader, nextBySubject } from "./stored.ts";

/** Bytes in one message: of 64 MiB this makes 256, and other messages of the connection do not wait long for one. */
const CHUNK_BYTES = 256 * 1024;
/** Left of a message for its headers. */
const HEADER_BYTES = 1_024;
/** Chunks on their way at once, both ways: enough to keep a connection busy, too few to hold up what shares it. */
const CHUNKS_AT_ONCE = 16;
/** Another order of chunks than ours needs a lost answer at the wrong moment: it does not happen twice. */
const PUTS = 3;
/** A replica that has not got the newest chunks yet is asked again after these times, ms. */
const LAG_MS = [50, 100, 200, 400, 800] as const;
/** How long a removal is to be seen. The server drops the mark by itself. */
const MARK_TTL = "60s";
const ROLLUP = { "Nats-Rollup": "sub" } as const;
const REMOVAL = { ...ROLLUP, "Nats-TTL": MARK_TTL } as const;
const DIGEST = "SHA-256=";
const EMPTY = new Uint8Array(0);

/** What clients of any language store of an object; the fields that vgas does not need are kept as they are. */
const description = z.looseObject({
  nuid: z.string().regex(/^[A-Za-z0-9_-]{1,64}$/),
  size: z.number().int().min(0),
  deleted: z.boolean().optional(),
  options: z.looseObject({ link: z.unknown().optional() }).nullish(),
});
type Description = z.infer<typeof description>;

export interface ObjectOptions {
  /** Gives up with ABORTED. */
  readonly signal?: AbortSignal | undefined;
}

export class Objects {
  readonly #bus: Bus;
  readonly #publisher: Publisher;
  readonly #names: Names;

  constructor(bus: Bus, publisher: Publisher, names: Names) {
    this.#bus = bus;
    this.#publisher = publisher;
    this.#names = names;
  }

  /**
   * Stores `bytes` under a new name. They must not change meanwhile.
   *
   * @throws VgasError TOO_LARGE above MAX_OBJECT_BYTES, ABORTED, and what `Publisher.publish` throws; nothing is left then, as
   *   far as the connection allows
   */
  async put(store: keyof Names["objectStores"], bytes: Uint8Array, options: ObjectOptions = {}): Promise<ObjectRef> {
    const bucket = this.#names.objectStores[store];
    if (bytes.length > MAX_OBJECT_BYTES)
      throw new VgasError(
        "TOO_LARGE",
        `the object has ${bytes.length} bytes, at most ${MAX_OBJECT_BYTES} may be stored`,
      );
    if (options.signal !== undefined) setMaxListeners(0, options.signal);
    for (let left = PUTS; ; left--) {
      const name = randomBytes(16).toString("hex");
      try {
        const sha256 = await this.#putChunks(bucket, name, bytes, options.signal);
        if (sha256 !== undefined) {
          await this.#describe(bucket, name, bytes.length, sha256, options.signal);
          return { bucket, name, bytes: bytes.length, sha256: sha256.toString("hex") };
        }
      } catch (error) {
        this.#dropChunks(bucket, name);
        throw error;
      }
      this.#dropChunks(bucket, name);
      if (left === 1) throw new VgasError("INTERNAL", `the chunks of an object in ${bucket} came in another order`);
    }
  }

  /**
   * The bytes of the object.
   *
   * @throws VgasError OBJECT_MISSING if it is not there, or is not what `ref` says; TOO_LARGE, INVALID if `ref` names no store of
   *   the swarm; TIMEOUT, PERMISSION_DENIED, NOT_FOUND without the store; ABORTED
   */
  async get(ref: ObjectRef, { signal }: ObjectOptions = {}): Promise<Uint8Array> {
    const { bucket, name } = ref;
    this.#checkBucket(bucket);
    if (ref.bytes > MAX_OBJECT_BYTES)
      throw new VgasError(
        "TOO_LARGE",
        `object ${name} of ${bucket} has ${ref.bytes} bytes, at most ${MAX_OBJECT_BYTES} are read`,
      );
    const found = await this.#find(bucket, name);
    if (found === undefined) throw missing(ref, "there is none of that name");
    if (found.size !== ref.bytes) throw missing(ref, `it has ${found.size} bytes, not ${ref.bytes}`);
    const bytes = new Uint8Array(ref.bytes);
    const hash = createHash("sha256");
    let filled = 0;
    let next = 1;
    let lagging = 0;
    while (filled < bytes.length) {
      if (signal?.aborted)
        throw new VgasError("ABORTED", `reading object ${name} of ${bucket} was aborted`, { cause: signal.reason });
      const { messages } = await nextBySubject(this.#bus, objectStream(bucket), {
        filter: objectChunks(bucket, found.nuid),
        from: next,
        maxMessages: CHUNKS_AT_ONCE,
        maxBytes: CHUNKS_AT_ONCE * CHUNK_BYTES,
      });
      for (const { data, sequence } of messages) {
        if (data.length > bytes.length - filled) throw missing(ref, "there is more of it");
        bytes.set(data, filled);
        hash.update(data);
        filled += data.length;
        next = sequence + 1;
      }
      if (messages.length > 0) continue;
      const waitMs = LAG_MS[lagging++];
      if (waitMs === undefined) throw missing(ref, `${bytes.length - filled} of its ${bytes.length} bytes are gone`);
      await pause(waitMs);
    }
    if (hash.digest("hex") !== ref.sha256) throw missing(ref, "its content is another");
    return bytes;
  }

  /**
   * Removes the object, if it is there.
   *
   * @throws VgasError INVALID, and what `Publisher.publish` throws
   */
  async remove({ bucket, name }: Pick<ObjectRef, "bucket" | "name">): Promise<void> {
    this.#checkBucket(bucket);
    const found = await this.#find(bucket, name);
    if (found === undefined) return;
    const mark = { ...found, deleted: true, size: 0, chunks: 0, digest: "" };
    await this.#publisher.publish(objectInfo(bucket, name), Buffer.from(JSON.stringify(mark)), { headers: REMOVAL });
    await this.#publisher.publish(objectChunks(bucket, found.nuid), EMPTY, { headers: REMOVAL });
  }

  /** The digest; undefined if the stream has the chunks in another order. */
  async #putChunks(
    bucket: string,
    name: string,
    bytes: Uint8Array,
    signal: AbortSignal | undefined,
  ): Promise<Buffer | undefined> {
    const hash = createHash("sha256");
    const subject = objectChunks(bucket, name);
    const chunkBytes = this.#chunkBytes;
    let last = 0;
    for (let from = 0; from < bytes.length; ) {
      const underWay: Promise<PubAck>[] = [];
      for (; from < bytes.length && underWay.length < CHUNKS_AT_ONCE; from += chunkBytes) {
        const chunk = bytes.subarray(from, from + chunkBytes);
        underWay.push(this.#publisher.publish(subject, chunk, { msgId: `${name}-${from}`, ...(signal && { signal }) }));
        // Between publishes, so that the hash of all of it does not stop the process.
        hash.update(chunk);
      }
      for (const { sequence } of await allOf(underWay)) {
        if (sequence <= last) return undefined;
        last = sequence;
      }
    }
    return hash.digest();
  }

  async #describe(
    bucket: string,
    name: string,
    size: number,
    sha256: Buffer,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const chunkBytes = this.#chunkBytes;
    const info = {
      name,
      description: "",
      options: { max_chunk_size: chunkBytes },
      bucket,
      nuid: name,
      size,
      mtime: new Date().toISOString(),
      chunks: Math.ceil(size / chunkBytes),
      digest: `${DIGEST}${sha256.toString("base64").replaceAll("+", "-").replaceAll("/", "_")}`,
    };
    const options = { headers: ROLLUP, ...(signal && { signal }) };
    await this.#publisher.publish(objectInfo(bucket, name), Buffer.from(JSON.stringify(info)), options);
  }

  async #find(bucket: string, name: string): Promise<Description | undefined> {
    const found = await lastAtLeader(this.#bus, objectStream(bucket), objectInfo(bucket, name));
    if (found === undefined) return undefined;
    const parsed = description.safeParse(jsonOf(found.data));
    if (!parsed.success || parsed.data.deleted === true || parsed.data.options?.link != null) return undefined;
    return parsed.data;
  }

  /** Best effort: what stays is dropped with the store's old messages. Not described, it is no object. */
  #dropChunks(bucket: string, name: string): void {
    this.#publisher.send(objectChunks(bucket, name), EMPTY, REMOVAL, () => undefined);
  }

  get #chunkBytes(): number {
    return Math.min(CHUNK_BYTES, this.#bus.maxPayload - HEADER_BYTES);
  }

  #checkBucket(bucket: string): void {
    const { inputs, outputs } = this.#names.objectStores;
    if (bucket === inputs || bucket === outputs) return;
    throw new VgasError("INVALID", `bucket must be "${inputs}" or "${outputs}", got ${JSON.stringify(bucket)}`);
  }
}

/** Rejects when the last has settled: what follows must not come between them. */
async function allOf(publishes: readonly Promise<PubAck>[]): Promise<readonly PubAck[]> {
  await Promise.allSettled(publishes);
  return await Promise.all(publishes);
}

function jsonOf(data: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(data).toString()) as unknown;
  } catch {
    return undefined;
  }
}

function missing(ref: ObjectRef, why: string): VgasError {
  return new VgasError("OBJECT_MISSING", `object ${ref.name} of ${ref.bucket} is not what was put there: ${why}`);
}
