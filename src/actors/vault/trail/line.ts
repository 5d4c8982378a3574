/**
 * One record as a line of the trail: JSON, with its place in the chain at both ends. Pure.
 *
 * ```
 * {"seq":7,"at":1700000000000,"epoch":2,"op":"lease","outcome":"ok",...,"prev":"<43 characters>","mac":"<43 characters>"}
 * ```
 *
 * `mac` is HMAC-SHA256, under the key of the epoch, over the bytes of the line without `,"mac":"..."`. `prev` is the SHA-256 of
 * the whole line before, so a record vouches for everything that stands before it, also where the key is gone by which that could
 * be checked by itself. Both are base64url. The first record of a trail has an empty `prev`.
 */
import { createHash, createHmac } from "node:crypto";
import { z } from "zod";
import type { Secret } from "../../../bus/sealed/secret.ts";
import { USAGE_FIELDS, type Usage } from "../../../protocols/vault/keys.ts";
import type { TrailEntry, TrailRecord } from "./entry.ts";

/** Longest line of an entry, its end included, in bytes. What is longer is clipped. */
export const MAX_LINE_BYTES = 8 * 1024;
/** Most bytes of entries that are written at once: what a crash can leave torn. */
export const MAX_BATCH_BYTES = 2 ** 20;
/** Longest line of a segment's head, which carries a snapshot, in bytes. */
export const MAX_HEAD_BYTES = 8 * 2 ** 20;

/** Where a record stands. */
export interface Place {
  readonly seq: number;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly epoch: number;
  readonly prev: string;
}

export interface Line {
  /** With the end of the line. */
  readonly bytes: Buffer;
  readonly record: TrailRecord;
  readonly mac: string;
  /** What the next record's `prev` is. */
  readonly digest: string;
}

/** A record as it was read. */
export interface StoredRecord extends TrailRecord {
  readonly epoch: number;
  readonly prev: string;
  readonly mac: string;
  /** Of a segment's head. */
  readonly snapshot?: unknown;
}

const END = "\n";
const MAC_FIELD = /,"mac":"([A-Za-z0-9_-]{43})"\}$/;
const MAC_FIELD_LENGTH = ',"mac":"'.length + 43 + '"}'.length;

/** Longest strings, in characters, tried until the line fits: the last bound fits whatever the characters are. */
const CLIPS = [2_000, 500, 64] as const;
/** Most fields of `detail`, and the bound below which there is no room for any. */
const MAX_DETAILS = 32;
const MIN_CLIP_WITH_DETAIL = 500;

/** The line of `entry` at `place`, clipped to MAX_LINE_BYTES; with a snapshot, a segment's head of any length. */
export function encodeLine(entry: TrailEntry, place: Place, key: Secret, snapshot?: object): Line {
  const stand = { seq: place.seq, at: place.at, epoch: place.epoch };
  let record: TrailRecord | undefined;
  let body = "";
  for (const maxChars of CLIPS) {
    const clipped = clipEntry(entry, maxChars);
    record = { seq: place.seq, at: place.at, ...clipped };
    body = JSON.stringify({ ...stand, ...clipped, ...(snapshot && { snapshot }), prev: place.prev });
    if (snapshot !== undefined || Buffer.byteLength(body) + MAC_FIELD_LENGTH + END.length <= MAX_LINE_BYTES) break;
  }
  if (record === undefined) throw new Error("unreachable");
  const mac = macOf(key, [body]);
  const text = `${body.slice(0, -1)},"mac":"${mac}"}`;
  return { bytes: Buffer.from(text + END), record, mac, digest: digestOf(text) };
}

const count = z.number().int().min(0);
const text = z.string();
const fact = z.union([z.string(), z.number(), z.boolean()]);

const stored = z.object({
  seq: count.min(1),
  at: z.number(),
  epoch: count,
  op: text,
  outcome: z.enum(["ok", "refused", "failed"]),
  who: z.object({ user: text, role: text, host: text.optional() }).optional(),
  why: text.optional(),
  provider: text.optional(),
  key: text.optional(),
  version: count.optional(),
  task: z.object({ pool: text, kind: text, id: text, attempt: z.number(), agent: text }).optional(),
  usage: z.record(text, z.number()).optional(),
  detail: z.record(text, fact).optional(),
  snapshot: z.unknown().optional(),
  prev: text,
  mac: text,
});

/** The record of a line without its end, or what is wrong with it. Whether it is genuine is another question: `hasMac`. */
export function decodeLine(bytes: Buffer): StoredRecord | { readonly problem: string } {
  try {
    const line = bytes.toString("utf8");
    if (!MAC_FIELD.test(line)) return { problem: "it does not end with a MAC" };
    return stored.parse(JSON.parse(line)) as StoredRecord;
  } catch (error) {
    return { problem: error instanceof SyntaxError ? "it is not JSON" : "its fields are not those of a record" };
  }
}

/** Whether the line's MAC was made with `key`. */
export function hasMac(bytes: Buffer, key: Secret): boolean {
  const from = bytes.length - MAC_FIELD_LENGTH;
  const mac = MAC_FIELD.exec(bytes.toString("latin1", Math.max(0, from)))?.[1];
  return mac !== undefined && mac === macOf(key, [bytes.subarray(0, from), "}"]);
}

/** What the record after this line has as its `prev`. */
export function digestOf(line: Buffer | string): string {
  return createHash("sha256").update(line).digest("base64url");
}

function macOf(key: Secret, parts: readonly (Buffer | string)[]): string {
  const hmac = key.use((bytes) => createHmac("sha256", bytes));
  for (const part of parts) hmac.update(part);
  return hmac.digest("base64url");
}

/** Only the fields that an entry has, in one order, with strings of at most that many characters. */
function clipEntry(entry: TrailEntry, maxChars: number): TrailEntry {
  const { op, outcome, who, why, provider, key, version, task, usage, detail } = entry;
  const clip = (value: string): string => (value.length <= maxChars ? value : `${value.slice(0, maxChars - 1)}…`);
  return {
    op,
    outcome,
    ...(who && {
      who: { user: clip(who.user), role: clip(who.role), ...(who.host !== undefined && { host: clip(who.host) }) },
    }),
    ...(why !== undefined && { why: clip(why) }),
    ...(provider !== undefined && { provider: clip(provider) }),
    ...(key !== undefined && { key: clip(key) }),
    ...(version !== undefined && { version }),
    ...(task && {
      task: {
        pool: clip(task.pool),
        kind: clip(task.kind),
        id: clip(task.id),
        attempt: task.attempt,
        agent: clip(task.agent),
      },
    }),
    ...(usage && { usage: countsOf(usage) }),
    ...(detail && maxChars >= MIN_CLIP_WITH_DETAIL && { detail: clipDetail(detail, clip) }),
  };
}

function countsOf(usage: Partial<Usage>): Partial<Usage> {
  const counts: { -readonly [Field in keyof Usage]?: number } = {};
  for (const field of USAGE_FIELDS) {
    const value = usage[field];
    if (value !== undefined) counts[field] = value;
  }
  return counts;
}

function clipDetail(
  detail: NonNullable<TrailEntry["detail"]>,
  clip: (value: string) => string,
): NonNullable<TrailEntry["detail"]> {
  return Object.fromEntries(
    Object.entries(detail)
      .slice(0, MAX_DETAILS)
      .map(([name, value]) => [clip(name), typeof value === "string" ? clip(value) : value]),
  );
}
