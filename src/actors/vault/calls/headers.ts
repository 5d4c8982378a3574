/** Headers of brokered calls: what of the agent's goes to the provider, and what of the provider's goes to the agent. */
import { validateHeaderName, validateHeaderValue } from "node:http";
import { VgasError } from "../../../protocols/errors.ts";
import { CREDENTIAL_HEADERS } from "../../../protocols/vault/credential-headers.ts";
import { carriesKeys, FRAMING_HEADERS, HOP_BY_HOP_HEADERS } from "../../../protocols/vault/header-names.ts";
import type { ResolvedKeySettings } from "../../../protocols/vault/keys.ts";

/** Pairs of a name in small letters and a value; a name may occur more than once. */
export type CallHeaders = [name: string, value: string][];

/** Answered in parts, a key that the provider echoes could be cut in two, and neither of them be found. */
const PARTIAL = ["if-range", "range", "request-range"];
const NOT_SENT = new Set<string>([...HOP_BY_HOP_HEADERS, ...FRAMING_HEADERS, ...PARTIAL, ...CREDENTIAL_HEADERS]);
const NOT_RETURNED = new Set([...HOP_BY_HOP_HEADERS, "set-cookie", "set-cookie2"]);

/** As the schema of replies has it. */
const MAX_HEADERS = 128;
const MAX_NAME_CHARS = 256;
const MAX_VALUE_CHARS = 16_384;

/** Header values by name, as node:http takes them; latin1, a byte per character. */
export type OutgoingHeaders = Record<string, string | string[]>;

/**
 * What is sent for the agent, with the key in its header. Throws INVALID for what is no header.
 * The header's value is a string, as node:http wants it: it cannot be wiped, and lives until the engine collects it.
 */
export function requestHeaders(
  headers: Readonly<CallHeaders>,
  { header, scheme }: Pick<ResolvedKeySettings, "header" | "scheme">,
  secret: Buffer,
): OutgoingHeaders {
  // Without a prototype: `__proto__` is a name like any other.
  const sent = Object.create(null) as OutgoingHeaders;
  const skipped = new Set([...NOT_SENT, header, ...named(headers)]);
  for (const [given, value] of headers) {
    const name = given.toLowerCase();
    checkHeader(name, value);
    if (skipped.has(name) || name.startsWith("proxy-")) continue;
    const before = sent[name];
    sent[name] = before === undefined ? value : [before, value].flat();
  }
  if (!carriesKeys(header)) throw new VgasError("INVALID", `the key's header cannot be ${header}`);
  const value = scheme + secret.toString("latin1");
  checkHeader(header, value);
  sent[header] = value;
  sent["accept-encoding"] = "identity";
  return sent;
}

/** How long the agent says that its body is, in bytes, if it says so. Throws INVALID. */
export function declaredLength(headers: Readonly<CallHeaders>): number | undefined {
  const lengths = headers.filter(([name]) => name.toLowerCase() === "content-length");
  const [first] = lengths;
  if (first === undefined) return undefined;
  if (lengths.length > 1 || !/^\d{1,15}$/.test(first[1]))
    throw new VgasError("INVALID", "content-length must be one number of bytes");
  return Number(first[1]);
}

/** Throws INVALID for a body that is encoded: limits of bytes and estimates of tokens are of plain ones. */
export function checkPlain(headers: Readonly<CallHeaders>): void {
  const encoded = headers.some(
    ([name, value]) => name.toLowerCase() === "content-encoding" && codings(value).length > 0,
  );
  if (encoded) throw new VgasError("INVALID", "the body of a brokered call must be sent without a content-encoding");
}

/** What is returned to the agent; `decoded`: the body is passed on in another form than it came. */
export function responseHeaders(
  raw: readonly string[],
  { redact, decoded }: { redact: (bytes: Buffer) => Buffer; decoded: boolean },
): CallHeaders {
  const pairs: CallHeaders = [];
  for (let at = 0; at + 1 < raw.length; at += 2) pairs.push([raw[at] ?? "", raw[at + 1] ?? ""]);
  const skipped = new Set([...NOT_RETURNED, ...named(pairs)]);
  if (decoded) for (const name of ["content-encoding", "content-length"]) skipped.add(name);
  const returned: CallHeaders = [];
  for (const [given, value] of pairs) {
    const name = given.toLowerCase();
    if (skipped.has(name) || name.length > MAX_NAME_CHARS || value.length > MAX_VALUE_CHARS) continue;
    if (returned.length === MAX_HEADERS) break;
    const masked = redact(Buffer.from(value, "latin1")).toString("latin1");
    // A name in which the key stands is not worth having.
    if (!redact(Buffer.from(given, "latin1")).includes("*")) returned.push([name, masked]);
  }
  return returned;
}

/** The reason phrase, without what cannot stand in one. */
export function statusText(message: string | undefined, redact: (bytes: Buffer) => Buffer): string {
  const bytes = Buffer.from((message ?? "").slice(0, MAX_NAME_CHARS), "latin1");
  return redact(bytes)
    .toString("latin1")
    .replace(/[^\t\x20-\x7e\x80-\xff]/g, "");
}

/** The codings of a body, in the order in which they were applied. */
export function codings(value: string | undefined): string[] {
  return (value ?? "")
    .toLowerCase()
    .split(",")
    .map((coding) => coding.trim())
    .filter((coding) => coding !== "" && coding !== "identity");
}

/** Longest pause that is believed, ms: a day. */
const MAX_RETRY_AFTER_MS = 86_400_000;

/** When to try again, in ms from `now`: `retry-after-ms`, or Retry-After in seconds or as a date. */
export function retryAfterMs(headers: Readonly<CallHeaders>, now: number): number | undefined {
  const find = (wanted: string) => headers.find(([name]) => name === wanted)?.[1].trim();
  const exact = find("retry-after-ms");
  const text = find("retry-after") ?? "";
  const delay = isNumber(exact) ? Number(exact) : isNumber(text) ? Number(text) * 1_000 : Date.parse(text) - now;
  return Number.isNaN(delay) ? undefined : Math.min(Math.max(0, Math.ceil(delay)), MAX_RETRY_AFTER_MS);
}

function isNumber(text: string | undefined): boolean {
  return text !== undefined && /^\d{1,15}(\.\d{1,15})?$/.test(text);
}

/** Headers that `connection` names are of the connection too. */
function named(headers: Readonly<CallHeaders>): string[] {
  return headers
    .filter(([name]) => name.toLowerCase() === "connection")
    .flatMap(([, value]) => value.toLowerCase().split(","))
    .map((name) => name.trim());
}

function checkHeader(name: string, value: string): void {
  try {
    validateHeaderName(name);
    validateHeaderValue(name, value);
  } catch {
    // Neither is quoted: what does not belong into a header does not belong into an error either.
    throw new VgasError("INVALID", "a header's name or value has characters that a header cannot have");
  }
}
