/**
 * Cancels tasks on request (contract section 4).
 *
 * 1. The once-only result decides: a task is cancelled when its `cancelled` result is the one that is stored.
 * 2. Hosts are told before it is stored. One that runs the task ends it, and its result comes from there; each other one never
 *    begins it from then on. So when `cancelled` is answered, nobody runs the task and nobody will.
 * 3. It stands in the bucket before its result is stored, and before `cancelling` is answered: wherever this or the host dies, it
 *    is dropped when it is reached.
 */
import type { AttemptsLog } from "../../bus/attempts.ts";
import type { Bus } from "../../bus/bus.ts";
import { decodeMirrored, encodeMirrored } from "../../bus/codec/task.ts";
import type { ResultStore } from "../../bus/results.ts";
import type { TaskObjects } from "../../bus/task-objects.ts";
import { removeUndelivered } from "../../bus/waiting.ts";
import type { LaneMeters } from "../../metrics/lane-meters.ts";
import type { Clock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { TaskResult } from "../../protocols/result.ts";
import type { Names } from "../../protocols/subjects.ts";
import { type CancelReply, type CancelRequest, cancelRequest } from "../../protocols/task-state.ts";
import { isAutomaticId, isToken } from "../../protocols/tokens.ts";
import { toWireError } from "../../protocols/wire-error.ts";
import type { Cancels } from "./cancels.ts";
import type { HostView } from "./fleet.ts";
import type { Inquiries } from "./inquiries.ts";
import type { Asked } from "./rounds.ts";
import type { StoredTask, TaskFinder } from "./task-finder.ts";

export interface CancellerOptions {
  readonly bus: Bus;
  readonly names: Names;
  readonly results: ResultStore;
  readonly attempts: AttemptsLog;
  readonly objects: TaskObjects;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly meters: LaneMeters;
  readonly cancels: Cancels;
  readonly finder: TaskFinder;
  readonly inquiries: Inquiries;
  readonly hosts: () => Iterable<HostView>;
}

type AskedCancel = Asked<CancelRequest>;

/** @throws VgasError INVALID */
export function readCancelRequest(body: unknown): CancelRequest {
  const parsed = cancelRequest.safeParse(body ?? {});
  if (!parsed.success) throw new VgasError("INVALID", "a cancel is {kind?, waiting?} or nothing");
  const { kind } = parsed.data;
  if (kind !== undefined && !isToken(kind))
    throw new VgasError("INVALID", "the kind must be a token [A-Za-z0-9_-]{1,64}");
  return parsed.data;
}

export class Canceller {
  readonly #options: CancellerOptions;

  constructor(options: CancellerOptions) {
    this.#options = options;
  }

  /** Answers all that was asked of one pool. */
  async round(pool: string, asked: readonly AskedCancel[]): Promise<void> {
    const { results, inquiries, hosts, finder } = this.#options;
    const stored = await results.findMany(
      pool,
      asked.map(({ id }) => id),
    );
    const open = asked.filter((each) => !stored.has(each.id) || say(each, "finished"));
    const waiting = await this.#leaveRunning(pool, open);
    if (waiting.length === 0) return;
    const ids = waiting.map(({ id }) => id);
    const told = new Set((await inquiries.cancel(hosts(), pool, ids)).found);
    const left = ids.filter((id) => !told.has(id));
    const { tasks, cut } =
      left.length > 0 ? await finder.find(pool, left, { own: false }) : { tasks: new Map(), cut: false };
    await Promise.all(
      waiting.map(async (each) => {
        try {
          if (told.has(each.id)) await this.#cancelling(pool, each);
          else await this.#cancelWaiting(pool, each, tasks.get(each.id), cut);
        } catch (error) {
          each.fail(error);
        }
      }),
    );
  }

  /** Answers those that run and are to be left alone then; returns the others. One that begins just now is cancelled all the same. */
  async #leaveRunning(pool: string, asked: readonly AskedCancel[]): Promise<readonly AskedCancel[]> {
    const { inquiries, hosts } = this.#options;
    const ids = asked.flatMap(({ id, body }) => (body.waiting === true ? [id] : []));
    if (ids.length === 0) return asked;
    const { found, silent } = await inquiries.where(hosts(), pool, ids);
    const running = new Set(found.map(({ id }) => id));
    return asked.filter((each) => {
      if (each.body.waiting !== true) return true;
      if (running.has(each.id)) return say(each, "running");
      if (silent === undefined) return true;
      each.fail(new VgasError("TIMEOUT", `host ${silent} does not say whether it runs the task; try again`));
      return false;
    });
  }

  /** The host ends it. If that host dies first, it is dropped when it comes back. */
  async #cancelling(pool: string, asked: AskedCancel): Promise<void> {
    await this.#options.cancels.add(pool, asked.id, asked.body.kind ?? UNKNOWN_KIND);
    say(asked, "cancelling");
  }

  async #cancelWaiting(pool: string, asked: AskedCancel, found: StoredTask | undefined, cut: boolean): Promise<void> {
    const { cancels, attempts, bus, names, objects, logger } = this.#options;
    const { id, body } = asked;
    if (found === undefined && isAutomaticId(id) && !cut) {
      say(asked, await this.#ended(pool, id));
      return;
    }
    const kind = found?.lane.kind ?? body.kind ?? UNKNOWN_KIND;
    const record = await attempts.read(pool, { id, submittedAt: found?.submittedAt });
    await cancels.add(pool, id, kind);
    const won = await this.#store(pool, kind, record?.attempts ?? 0, asked, found);
    if (found?.alone) {
      if (won) objects.removeOf(found.body);
      const consumer = names.consumer(found.lane, found.priority);
      // It is settled; what stays in the stream is dropped when it is reached.
      await removeUndelivered(bus, names.streams.tasks, consumer, found.sequence).catch((error: unknown) =>
        logger.debug({ task: id, error: String(error) }, "a cancelled task stays in the stream until it is reached"),
      );
    }
    say(asked, won ? "cancelled" : await this.#ended(pool, id));
  }

  /** A dispatcher or a host that got it in hand after it was told may have been quicker: then it never ran either. */
  async #ended(pool: string, id: string): Promise<CancelReply["state"]> {
    const stored = await this.#options.results.find(pool, id);
    if (stored === undefined) return "unknown";
    const { status, startedAt } = decodeMirrored(stored.data).value as TaskResult;
    return status === "cancelled" && startedAt === undefined ? "cancelled" : "finished";
  }

  /** Resolves with whether this result is the one that is stored. */
  #store(
    pool: string,
    kind: string,
    attempt: number,
    { id, encoding }: AskedCancel,
    found: StoredTask | undefined,
  ): Promise<boolean> {
    const { results, clock, meters } = this.#options;
    const now = clock.now();
    const result: TaskResult = {
      ...{ id, pool, kind, status: "cancelled" },
      error: toWireError(new VgasError("CANCELLED", "the task was cancelled")),
      ...{ attempt, submittedAt: found?.submittedAt ?? now, finishedAt: now },
      ...(found?.replayOf !== undefined && { replayOf: found.replayOf }),
    };
    const { replyTo, traceparent } = found ?? {};
    return new Promise((resolve, reject) => {
      const bytes = encodeMirrored(result, found?.encoding ?? encoding);
      results.store(pool, id, bytes, { replyTo, traceparent }, (error, outcome) => {
        if (outcome === "stored") meters.known({ pool, kind }).results.cancelled++;
        if (outcome === undefined) reject(error);
        else resolve(outcome === "stored");
      });
    });
  }
}

/** Of a task that left no trace and whose kind nobody named. */
const UNKNOWN_KIND = "unknown";

function say({ id, answer }: AskedCancel, state: CancelReply["state"]): false {
  answer({ id, state } satisfies CancelReply);
  return false;
}
