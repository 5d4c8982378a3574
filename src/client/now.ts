/**
 * Submits a task that is taken at once or not at all.
 *
 * The task gets an id of the client's making if it has none: if a lost connection takes the answer, the swarm is asked by it what
 * became of the task.
 */
import type { Objects } from "../bus/objects.ts";
import { VgasError } from "../protocols/errors.ts";
import { HEADERS, type LaneName, type Names } from "../protocols/subjects.ts";
import { type NowReply, nowReply } from "../protocols/task-state.ts";
import { sendInSpan } from "../telemetry/send-span.ts";
import { ASK_TIMEOUT_MS, type Asker, CUT, type Question } from "./asker.ts";
import type { EventFeed } from "./event-feed.ts";
import type { Guest } from "./guest.ts";
import { type HandleParts, TaskHandle } from "./handle.ts";
import { sendTask } from "./large-task.ts";
import { checkOnEvent, listenFor } from "./on-event.ts";
import { type SubmitOptions, sendingOf } from "./submit-options.ts";
import { encodeAnyTask, ownId } from "./task-message.ts";

/** A task that is to be taken at once cannot wait, so it has neither priority nor a start in the future. */
export interface NowOptions
  extends Omit<SubmitOptions, "priority" | "notBefore" | "delayMs" | "msgId" | "submitTimeoutMs"> {
  /** Gives up after this many ms, with TIMEOUT; an agent may have taken the task all the same. Default: 10 000. */
  readonly submitTimeoutMs?: number;
}

/** A task that an agent took at once. */
export type NowHandle<Output = unknown> = TaskHandle<Output> & { readonly agent: string };

export interface NowParts {
  readonly names: Names;
  readonly asker: Asker;
  readonly guest: Guest | undefined;
  readonly handles: HandleParts;
  readonly objects: Objects;
}

/** Between two questions what became of a task whose answer was lost, ms. */
const RECOVER_MS = 250;
const REFUSED = ["priority", "notBefore", "delayMs", "msgId"] as const;

/** As `Client.now`. */
export async function submitNow<Output>(
  parts: NowParts,
  lane: LaneName,
  input: unknown,
  options: NowOptions,
): Promise<NowHandle<Output>> {
  const { names, asker, guest, handles, objects } = parts;
  if (guest !== undefined) throw guest.refusal("ask for an agent at once");
  for (const field of REFUSED)
    if ((options as SubmitOptions)[field] !== undefined)
      throw new VgasError("INVALID", `${field} is not for a task that is to be taken at once`);
  const { headers } = sendingOf(options, undefined);
  checkOnEvent(options, undefined);
  const id = options.id ?? ownId();
  const pending = options.track === false ? undefined : handles.waiting.expect(lane.pool, id);
  let feed: EventFeed | undefined;
  try {
    const question: Omit<Question, "body"> = {
      operation: `now ${lane.pool}/${lane.kind}`,
      subject: names.now(lane.pool, lane.kind),
      headers: { ...headers, [HEADERS.msgId]: id },
    };
    const task = encodeAnyTask(lane, input, { ...options, id }, handles.waiting.replyTo(pending));
    feed = listenFor(handles, lane.pool, { ...options, id }, pending);
    const { submitTimeoutMs: timeoutMs = ASK_TIMEOUT_MS, signal } = options;
    const taken = await asker.inTime(question.operation, { timeoutMs, ...(signal && { signal }) }, (given) =>
      sendTask(objects, task, { signal: given }, (body) =>
        sendInSpan({ lane, subject: question.subject, messageId: id, tasks: 1 }, question.headers, (withSpan) =>
          askNow(parts, lane, id, { ...question, body, headers: withSpan }, given),
        ),
      ),
    );
    const { pool, kind } = lane;
    return new TaskHandle<Output>(
      handles,
      { id: taken.id, pool, kind, agent: taken.agent },
      pending,
    ) as NowHandle<Output>;
  } catch (error) {
    void feed?.return();
    if (pending !== undefined) handles.waiting.forget(pending);
    throw error;
  }
}

async function askNow(
  { asker, handles }: NowParts,
  lane: LaneName,
  id: string,
  question: Question,
  signal: AbortSignal,
): Promise<NowReply> {
  const { operation } = question;
  for (;;) {
    // The time of the whole call is the only one: a question that is asked twice could start the task twice.
    const answer = await asker.once(question, signal, 2 ** 31 - 1);
    if (answer !== CUT) {
      const parsed = nowReply.safeParse(answer);
      if (parsed.success) return parsed.data;
      throw new VgasError("INTERNAL", `${operation}: what came back is no answer to that`);
    }
    for (;;) {
      const state = await handles.questions.status(lane.pool, id, { signal });
      if (state.state === "running") return { id, agent: state.agent };
      if (state.state === "finished") {
        const { agent = "" } = await new TaskHandle(handles, { id, pool: lane.pool }).result({ signal });
        return { id, agent };
      }
      // Nobody has it: the question was lost, or its refusal was.
      if (state.state === "unknown") break;
      await asker.pause(RECOVER_MS, operation, signal);
    }
  }
}
