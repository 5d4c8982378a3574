/**
 * Tasks that are to be taken at once or not at all (`<prefix>.now.<pool>.<kind>`).
 *
 * 1. A dispatcher that sees no free slot refuses without storing anything. Otherwise the task is stored as one of high priority
 *    whose headers say who waits and until when.
 * 2. Whoever gets its first delivery answers: with the agent when a host has taken it, or with RESOURCE_LIMIT when no slot is
 *    free or it is too late. Then the task is taken out of the stream without a result: it was never accepted.
 * 3. A later delivery is that of a task that some host may have begun: it is a normal task, and nobody is answered.
 */
import type { Bus, BusMessage } from "../../bus/bus.ts";
import { encodeMirrored, readEncoding, readTasks, type TaskEncoding } from "../../bus/codec/task.ts";
import type { Publisher } from "../../bus/publisher.ts";
import { ackTask, type PulledMessage } from "../../bus/pull.ts";
import type { Clock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { Logger } from "../../protocols/logger.ts";
import { HEADERS, type LaneName, type Names } from "../../protocols/subjects.ts";
import { parseEnvelope } from "../../protocols/task.ts";
import type { NowReply } from "../../protocols/task-state.ts";
import { isInbox, isToken } from "../../protocols/tokens.ts";
import { traceparentOf } from "../../protocols/traceparent.ts";
import { toWireError } from "../../protocols/wire-error.ts";
import type { Lane } from "./lane.ts";
import type { TaskInHand } from "./task-in-hand.ts";

/** How long a task that came by `now` may be on its way to an agent, ms. */
const PATIENCE_MS = 2_000;
/** Of them on their way to one lane: each is asked of the queue beyond the credit, and may bring another task of high priority. */
const MAX_EXPECTED = 4_096;

/** Who waits for the answer, and until when, ms since the epoch. */
export interface NowAsk {
  readonly reply: string;
  readonly until: number;
}

export interface NowOptions {
  readonly bus: Bus;
  readonly names: Names;
  readonly publisher: Publisher;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly nonce: () => string;
  readonly findLane: (lane: LaneName) => Pick<Lane, "hasRoom" | "expect" | "expected"> | undefined;
}

export class Now {
  readonly #options: NowOptions;

  constructor(options: NowOptions) {
    this.#options = options;
  }

  /** Takes a request. */
  take(message: BusMessage): void {
    const { reply } = message;
    // Without somebody to answer to there is no `now`; elsewhere than at an inbox nobody is answered.
    if (reply === undefined || !isInbox(reply)) {
      this.#options.bus.respond(message, NOTHING);
      return;
    }
    const encoding = readEncoding(message.data);
    try {
      const lane = this.#options.names.parse(message.subject);
      if (lane === undefined || !isToken(lane.pool) || !isToken(lane.kind))
        throw new VgasError("INVALID", "pool and kind must be tokens [A-Za-z0-9_-]{1,64}");
      checkTask(message.data, lane);
      const at = this.#options.findLane(lane);
      if (at?.hasRoom !== true || at.expected >= MAX_EXPECTED) throw noRoom(lane.kind);
      // Others may take the last slot first; then nobody has credit to pull it, and it is to be refused all the same.
      at.expect(PATIENCE_MS);
      this.#store(message, lane, reply).catch((error: unknown) => this.#answer(reply, encoding, errorOf(error)));
    } catch (error) {
      this.#answer(reply, encoding, errorOf(error));
    }
  }

  /** Who waits for this delivery. */
  static askOf(message: PulledMessage): NowAsk | undefined {
    const reply = message.header(HEADERS.nowReply);
    const until = Number(message.header(HEADERS.nowUntil));
    // Headers that no dispatcher writes count as none: what is dropped without a result must have been answered for.
    return reply !== undefined && isInbox(reply) && Number.isSafeInteger(until) && until > 0
      ? { reply, until }
      : undefined;
  }

  /** A host has taken it. */
  accepted({ id, now, body }: TaskInHand, agent: string): void {
    if (now !== undefined) this.#answer(now.reply, readEncoding(body), { id, agent } satisfies NowReply);
  }

  /**
   * Refuses those of `tasks` that came by `now` and cannot be given to an agent: too late, expired at `at`, or `full`. Returns the others.
   * Whoever drops what has expired besides asks for the same moment, or a task that expires in between is dropped unanswered.
   */
  sift(
    kind: string,
    tasks: readonly TaskInHand[],
    full: boolean,
    at = this.#options.clock.now(),
  ): readonly TaskInHand[] {
    const isRefused = ({ now, expiresAt = at }: TaskInHand): boolean =>
      now !== undefined && (full || now.until < at || expiresAt < at);
    const refused = tasks.filter(isRefused);
    if (refused.length === 0) return tasks;
    for (const { now, body, ack } of refused) {
      this.#answer((now as NowAsk).reply, readEncoding(body), errorOf(noRoom(kind)));
      ackTask(this.#options.bus, ack);
    }
    return tasks.filter((task) => !isRefused(task));
  }

  async #store(message: BusMessage, lane: LaneName, reply: string): Promise<void> {
    const { publisher, names, clock, nonce } = this.#options;
    const traceparent = traceparentOf(message.header(HEADERS.traceparent));
    await publisher.publish(names.task(lane.pool, lane.kind, "high"), message.data, {
      msgId: nonce(),
      headers: {
        [HEADERS.nowReply]: reply,
        [HEADERS.nowUntil]: String(clock.now() + PATIENCE_MS),
        ...(traceparent !== undefined && { [HEADERS.traceparent]: traceparent }),
      },
    });
  }

  #answer(reply: string, encoding: TaskEncoding, answer: unknown): void {
    const { bus, logger } = this.#options;
    // The header is a client's word too: it is answered at an inbox and nowhere else.
    if (!isInbox(reply) || bus.state === "closed") return;
    try {
      bus.publish(reply, encodeMirrored(answer, encoding));
    } catch (error) {
      logger.debug({ error: String(error) }, "an answer could not be sent");
    }
  }
}

const NOTHING = new Uint8Array(0);

/** @throws VgasError INVALID */
function checkTask(data: Uint8Array, lane: LaneName): void {
  const { array, tasks } = readTasks(data);
  const [task] = tasks;
  if (array || task === undefined) throw new VgasError("INVALID", "one task is to be taken at once, no array");
  if (!task.ok) throw task.error;
  if (task.fields.priority != null)
    throw new VgasError("INVALID", "a task that is to be taken at once has no priority");
  const { notBefore } = parseEnvelope(task.fields, lane);
  if (notBefore !== undefined) throw new VgasError("INVALID", "a task that is to be taken at once has no notBefore");
}

function noRoom(kind: string): VgasError {
  return new VgasError("RESOURCE_LIMIT", `no agent for "${kind}" is free now`);
}

function errorOf(error: unknown): unknown {
  return { error: toWireError(error) };
}
