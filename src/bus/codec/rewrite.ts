/**
 * Changes fields of an encoded task and leaves every other byte as it is: what decoding and encoding again would change (long
 * integers, keys that are no text, the form of a number) stays what its sender wrote.
 */
import { VgasError } from "../../protocols/errors.ts";
import { encode } from "./codec.ts";
import { isJson } from "./json.ts";
import { jsonStart, scanJson } from "./json-scan.ts";
import { viewOf } from "./msgpackr.ts";
import { Reader } from "./reader.ts";

const FIXMAP = 0x80;
const FIXMAP_MAX = 15;
const MAP_16 = 0xde;
const MAP_32 = 0xdf;
const MAX_16 = 0xffff;

const CHAR = { quote: 0x22, comma: 0x2c, open: 0x5b, escape: 0x5c, close: 0x5d } as const;
const [OPEN_MAP, CLOSE_MAP] = [0x7b, 0x7d] as const;

/**
 * `task` in its own encoding without the fields `dropped` (ASCII names), and with those of `added`, whose values are texts.
 *
 * @throws VgasError INVALID if `task` is no map in either encoding
 */
export function rewriteTask(
  task: Uint8Array,
  { dropped, added }: { readonly dropped: readonly string[]; readonly added: Readonly<Record<string, string>> },
): Uint8Array {
  const names = [...dropped, ...Object.keys(added)];
  return isJson(task) ? rewriteJson(task, names, added) : rewriteMsgpack(task, names, added);
}

function rewriteMsgpack(
  task: Uint8Array,
  names: readonly string[],
  added: Readonly<Record<string, string>>,
): Uint8Array {
  const reader = new Reader(viewOf(task));
  if (reader.peek() !== "map") throw new VgasError("INVALID", "a task must be a map");
  const kept: Uint8Array[] = [];
  const count = reader.enter();
  for (let i = 0; i < count; i++) {
    const start = reader.position;
    const name = reader.passKey(names);
    reader.skip(1);
    if (name === undefined) kept.push(task.subarray(start, reader.position));
  }
  reader.finish();
  for (const [name, value] of Object.entries(added)) kept.push(Buffer.concat([encode(name), encode(value)]));
  return Buffer.concat([mapHeader(kept.length), ...kept]);
}

function mapHeader(entries: number): Uint8Array {
  if (entries <= FIXMAP_MAX) return Uint8Array.of(FIXMAP | entries);
  const header = Buffer.alloc(entries <= MAX_16 ? 3 : 5);
  header[0] = entries <= MAX_16 ? MAP_16 : MAP_32;
  header.writeUIntBE(entries, 1, header.length - 1);
  return header;
}

function rewriteJson(task: Uint8Array, names: readonly string[], added: Readonly<Record<string, string>>): Uint8Array {
  // Only its depth is checked here; the rest by what decodes it.
  scanJson(task);
  const start = jsonStart(task);
  if (task[start] !== OPEN_MAP) throw new VgasError("INVALID", "a task must be a map");
  try {
    JSON.parse(Buffer.from(task.subarray(start)).toString());
  } catch (cause) {
    throw new VgasError("INVALID", `a task must be a map: ${(cause as Error).message}`, { cause });
  }
  const members = jsonMembers(task, start + 1)
    .filter(({ key }) => !names.includes(key))
    .map(({ from, to }) => task.subarray(from, to));
  for (const [name, value] of Object.entries(added))
    members.push(Buffer.from(`${JSON.stringify(name)}:${JSON.stringify(value)}`));
  const parts = members.flatMap((member, i) => (i === 0 ? [member] : [Uint8Array.of(CHAR.comma), member]));
  return Buffer.concat([Uint8Array.of(OPEN_MAP), ...parts, Uint8Array.of(CLOSE_MAP)]);
}

interface JsonMember {
  readonly key: string;
  readonly from: number;
  readonly to: number;
}

/** The members of a map that is known to be JSON, from behind its brace. */
function jsonMembers(json: Uint8Array, start: number): readonly JsonMember[] {
  const members: JsonMember[] = [];
  let from = start;
  let keyEnd: number | undefined;
  let depth = 0;
  for (let at = start; at < json.length; at++) {
    const char = json[at];
    if (char === CHAR.quote) {
      at = stringEnd(json, at);
      keyEnd ??= at + 1;
    } else if (char === OPEN_MAP || char === CHAR.open) depth++;
    else if (depth > 0 && (char === CLOSE_MAP || char === CHAR.close)) depth--;
    else if (depth === 0 && (char === CHAR.comma || char === CLOSE_MAP)) {
      if (keyEnd !== undefined) {
        const key = Buffer.from(json.subarray(from, keyEnd)).toString();
        members.push({ key: JSON.parse(key) as string, from, to: at });
      }
      if (char === CLOSE_MAP) break;
      from = at + 1;
      keyEnd = undefined;
    }
  }
  return members;
}

/** Where the text that begins at `start` has its closing quote. */
function stringEnd(json: Uint8Array, start: number): number {
  let at = start + 1;
  while (json[at] !== CHAR.quote) at += json[at] === CHAR.escape ? 2 : 1;
  return at;
}
