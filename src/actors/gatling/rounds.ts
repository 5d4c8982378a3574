/**
 * Takes what clients ask about single tasks, and answers what is asked of one pool at the same time in one round: a round asks
 * each host, and the stream of results, once.
 *
 * 1. Every question with an inbox gets an answer: what was asked for, or `{error}`, in the encoding of the question.
 * 2. What waits for its round is bounded; more is refused for now.
 */
import type { Bus, BusMessage } from "../../bus/bus.ts";
import { decodeMirrored, encodeMirrored, readEncoding, type TaskEncoding } from "../../bus/codec/task.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { Names } from "../../protocols/subjects.ts";
import { isToken } from "../../protocols/tokens.ts";
import { toWireError } from "../../protocols/wire-error.ts";

/** Tasks in one round: what one request to a host, and one read of results, carries. */
const MAX_ROUND = 256;
/** Questions that wait: what a client asks about a large batch at once, several times over. */
const MAX_WAITING = 32_768;
/** Longest question, bytes: what it may say has less than a hundred. */
const MAX_BODY_BYTES = 4_096;

/** One question. */
export interface Asked<Body> {
  readonly id: string;
  readonly body: Body;
  readonly encoding: TaskEncoding;
  /** Call once. */
  readonly answer: (reply: unknown) => void;
  readonly fail: (error: unknown) => void;
}

export interface RoundsOptions<Body> {
  readonly bus: Bus;
  readonly names: Names;
  readonly logger: Logger;
  /** Checks a decoded body; undefined for an empty one. @throws VgasError INVALID */
  readonly read: (body: unknown) => Body;
  /** Answers all of one pool's; whatever it leaves unanswered when it throws fails with that. */
  readonly round: (pool: string, asked: readonly Asked<Body>[]) => Promise<void>;
}

export class Rounds<Body> {
  readonly #options: RoundsOptions<Body>;
  readonly #pools = new Map<string, Asked<Body>[]>();
  #waiting = 0;
  #running: Promise<void> | undefined;

  constructor(options: RoundsOptions<Body>) {
    this.#options = options;
  }

  /** Takes a message to `<prefix>.<operation>.<pool>.<id>`. */
  take(message: BusMessage): void {
    const { bus, names, read } = this.#options;
    const { data, subject, reply: inbox } = message;
    const encoding = readEncoding(data);
    // Without the message: it would keep all that came in the same packet for as long as the question waits.
    const answer = (reply: unknown): void => {
      bus.respond({ subject, reply: inbox }, encodeMirrored(reply, encoding));
    };
    const fail = (error: unknown): void => answer({ error: toWireError(error) });
    try {
      const { pool, kind: id } = names.parse(subject) ?? { pool: "", kind: "" };
      if (!isToken(pool)) throw new VgasError("INVALID", "the pool must be a token [A-Za-z0-9_-]{1,64}");
      if (!isToken(id)) throw new VgasError("INVALID", "the id must be a token [A-Za-z0-9_-]{1,64}");
      if (data.length > MAX_BODY_BYTES)
        throw new VgasError("INVALID", `a question has at most ${MAX_BODY_BYTES} bytes, got ${data.length}`);
      const body = read(data.length === 0 ? undefined : decodeMirrored(data).value);
      if (this.#waiting >= MAX_WAITING) throw new VgasError("RESOURCE_LIMIT", "too many questions wait for an answer");
      this.#waiting++;
      const asked = { id, body, encoding, answer, fail };
      const others = this.#pools.get(pool);
      if (others) others.push(asked);
      else this.#pools.set(pool, [asked]);
      this.#running ??= this.#run();
    } catch (error) {
      fail(error);
    }
  }

  /** Resolves when nothing waits for an answer. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    // What arrives in this turn of the loop joins the first round.
    await new Promise<void>((resolve) => setImmediate(resolve));
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      const { pool, asked } = next;
      const open = new Set(asked.map((_, i) => i));
      const tracked = asked.map((each, i) => ({
        ...each,
        answer: (reply: unknown) => void (open.delete(i) && this.#say(() => each.answer(reply))),
        fail: (error: unknown) => void (open.delete(i) && this.#say(() => each.fail(error))),
      }));
      try {
        await this.#options.round(pool, tracked);
        for (const each of tracked) each.fail(new VgasError("INTERNAL", "the question was left without an answer"));
      } catch (error) {
        for (const each of tracked) each.fail(error);
      }
      this.#waiting -= asked.length;
    }
    this.#running = undefined;
  }

  #next(): { readonly pool: string; readonly asked: readonly Asked<Body>[] } | undefined {
    for (const [pool, all] of this.#pools) {
      const asked = all.splice(0, MAX_ROUND);
      this.#pools.delete(pool);
      // Behind the other pools.
      if (all.length > 0) this.#pools.set(pool, all);
      return { pool, asked };
    }
    return undefined;
  }

  #say(answer: () => void): void {
    try {
      answer();
    } catch (error) {
      this.#options.logger.debug({ error: String(error) }, "an answer could not be sent");
    }
  }
}
