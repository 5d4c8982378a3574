/**
 * What is different for a client that is a guest: it is in an account of its own, out of which only submissions and reads of its
 * own results lead.
 */
import { createHash, randomBytes } from "node:crypto";
import type { Bus } from "../bus/bus.ts";
import { PublishRefused } from "../bus/publisher.ts";
import { lastBySubject } from "../bus/stored.ts";
import { ERRORS, type ErrorCode, VgasError } from "../protocols/errors.ts";
import { checkOwnId, guestIdPrefix, guestMessageId } from "../protocols/guests.ts";

/** In flight: below what the swarm lets a guest have under way, so that it is hardly ever refused for it. */
export const GUEST_WINDOW = { maxMessages: 512, maxBytes: 4 * 2 ** 20 } as const;

/** Reads under way; the swarm lets a guest have 64. */
const MAX_READS = 32;
/** Of the digest of a message id: 132 bits. */
const ID_CHARS = 22;
/** The gate's refusals begin with a code of the catalogue. */
const CODED = /^([A-Z_]+): (.*)$/s;

export class Guest {
  /** Its user, which its task ids begin with. */
  readonly name: string;
  /** Begins the ids of this client: 72 random bits tell two clients of one guest apart. */
  readonly #start: string;
  #made = 0;

  constructor(name: string) {
    this.name = name;
    this.#start = `${guestIdPrefix(name)}${randomBytes(9).toString("base64url")}`;
  }

  /**
   * The id of a task about to be submitted: `given` if there is one. Else the one that belongs to its message id, for a submission
   * that is made again is the task of the first one; else a new one.
   *
   * @throws VgasError INVALID naming the rule
   */
  newId(given: string | undefined, messageId: string | undefined): string {
    if (given !== undefined) return this.ownId(given);
    if (messageId === undefined) return `${this.#start}-${(this.#made++).toString(36)}`;
    return guestIdPrefix(this.name) + createHash("sha256").update(messageId).digest("base64url").slice(0, ID_CHARS);
  }

  /** @throws VgasError INVALID naming the rule if it is not the guest's */
  ownId(id: string): string {
    checkOwnId(this.name, id);
    return id;
  }

  /** @throws VgasError INVALID if the swarm would not take it */
  checkMessageId(messageId: string): void {
    guestMessageId(this.name, messageId);
  }

  /** For what a guest's credential does not open. */
  refusal(operation: string): VgasError {
    return new VgasError(
      "PERMISSION_DENIED",
      `a guest cannot ${operation}: it submits tasks and reads their results, nothing else (use a credential of role client)`,
    );
  }

  /** What the swarm's refusal of a submission means. */
  meaningOf(error: VgasError): VgasError {
    if (error.code === "UNDELIVERABLE") {
      const message = "nobody takes the submissions of guests: no swarm runs there, or it is starting";
      return new VgasError("NO_SWARM", message, { cause: error });
    }
    const [, code = "", message = ""] = (error instanceof PublishRefused && CODED.exec(error.description)) || [];
    return Object.hasOwn(ERRORS, code) ? new VgasError(code as ErrorCode, message, { cause: error }) : error;
  }
}

/** The stored results of `subjects`, one by one: several in one request would need more than a guest may. */
export async function readOneByOne(
  bus: Bus,
  stream: string,
  subjects: readonly string[],
): Promise<Map<string, { readonly data: Uint8Array }>> {
  const found = new Map<string, { readonly data: Uint8Array }>();
  const left = subjects.values();
  const read = async (): Promise<void> => {
    for (const subject of left) {
      const message = await lastBySubject(bus, stream, subject);
      if (message !== undefined) found.set(subject, message);
    }
  };
  await Promise.all(Array.from({ length: Math.min(MAX_READS, subjects.length) }, read));
  return found;
}
