/**
 * What is let in of what comes to port 5353, before it costs anything: a packet is decoded only if it is of bearable size, from a
 * neighbour on this link, about us, and within the rate. Everything else on the link (printers, speakers, floods) is dropped for
 * the price of a scan.
 *
 * 1. Nothing here throws, whatever the bytes.
 * 2. At most MAX_SOURCES buckets; sources beyond them share one, so a flood of forged sources gets no more than a single one.
 * 3. All strangers together get no more than STRANGERS; a source that is known has its own bucket alone, so a flood does not hide it.
 */
import type { Clock } from "../../protocols/clock.ts";
import { SERVICE } from "../../protocols/discovery.ts";
import { isOnLink, type LocalInterface } from "./interfaces.ts";
import { MDNS_PORT } from "./network.ts";
import { type BucketSize, TokenBucket } from "./token-bucket.ts";

export interface ScreenOptions {
  readonly on: LocalInterface;
  readonly hostId: string;
  readonly clock: Clock;
  /** A peer that has been there for a while announces itself from this address. */
  readonly isKnown: (address: string) => boolean;
}

const HEADER_BYTES = 12;
/** RFC 6762, 17: the largest mDNS packet. */
const MAX_BYTES = 9_000;
/** Each question can make one answer. */
const MAX_QUESTIONS = 32;
const MAX_RECORDS = 128;
const RESPONSE_BIT = 0x8000;
const OPCODE_AND_RCODE = 0x780f;

/** Several nodes of one machine share an address: ten that start at once answer each other. */
const PER_SOURCE: BucketSize = { perSecond: 50, burst: 200 };
/** A packet costs a tenth of a millisecond or two: a flood takes a few hundredths of a core. */
const STRANGERS: BucketSize = { perSecond: 200, burst: 400 };
/** Every question that is let in is answered by multicast: this bounds what anybody can make us send. */
const QUESTIONS: BucketSize = { perSecond: 20, burst: 40 };
const MAX_SOURCES = 256;

const SERVICE_LABEL = label(`_${SERVICE}`);
/** The question for all types of services. */
const TYPES_LABEL = label("_services");

export class Screen {
  readonly #options: ScreenOptions;
  readonly #hostLabel: string;
  readonly #sources = new Map<string, TokenBucket>();
  readonly #overflow: TokenBucket;
  readonly #strangers: TokenBucket;
  readonly #questions: TokenBucket;

  constructor(options: ScreenOptions) {
    this.#options = options;
    this.#hostLabel = label(options.hostId);
    this.#overflow = new TokenBucket(PER_SOURCE, options.clock);
    this.#strangers = new TokenBucket(STRANGERS, options.clock);
    this.#questions = new TokenBucket(QUESTIONS, options.clock);
  }

  /** Sources that are remembered. */
  get sources(): number {
    return this.#sources.size;
  }

  admits(bytes: Buffer, from: { readonly address: string; readonly port: number }): boolean {
    if (bytes.length < HEADER_BYTES || bytes.length > MAX_BYTES) return false;
    const flags = bytes.readUInt16BE(2);
    if ((flags & OPCODE_AND_RCODE) !== 0) return false;
    const questions = bytes.readUInt16BE(4);
    const records = bytes.readUInt16BE(6) + bytes.readUInt16BE(8) + bytes.readUInt16BE(10);
    if (questions > MAX_QUESTIONS || records > MAX_RECORDS) return false;
    const isResponse = (flags & RESPONSE_BIT) !== 0;
    // RFC 6762, 6: an answer from another port is no answer.
    if (isResponse && from.port !== MDNS_PORT) return false;
    if (!isOnLink(from.address, this.#options.on)) return false;
    if (!this.#concernsUs(bytes, isResponse)) return false;
    if (!this.#bucketOf(from.address).take()) return false;
    if (!this.#options.isKnown(from.address) && !this.#strangers.take()) return false;
    return isResponse || this.#questions.take();
  }

  #concernsUs(bytes: Buffer, isResponse: boolean): boolean {
    // Labels are compared without case, and cannot be split: compression replaces whole labels.
    const text = bytes.toString("latin1").toLowerCase();
    if (text.includes(SERVICE_LABEL)) return true;
    return !isResponse && (text.includes(TYPES_LABEL) || text.includes(this.#hostLabel));
  }

  #bucketOf(address: string): TokenBucket {
    const known = this.#sources.get(address);
    if (known) return known;
    if (this.#sources.size >= MAX_SOURCES) this.#forgetIdle();
    if (this.#sources.size >= MAX_SOURCES) return this.#overflow;
    const bucket = new TokenBucket(PER_SOURCE, this.#options.clock);
    this.#sources.set(address, bucket);
    return bucket;
  }

  #forgetIdle(): void {
    for (const [address, bucket] of this.#sources) if (bucket.full) this.#sources.delete(address);
  }
}

/** A label as it is in a packet, lower case. */
function label(text: string): string {
  return String.fromCharCode(text.length) + text.toLowerCase();
}
