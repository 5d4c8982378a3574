/** The dead letters of a swarm, as they are kept: what an operator lists, repeats and takes away. */
import { z } from "zod";
import { VgasError } from "../protocols/errors.ts";
import { parseObjectRef } from "../protocols/object-ref.ts";
import { DEAD_REASONS, type DeadLetter, type DeadReason } from "../protocols/result.ts";
import type { Names } from "../protocols/subjects.ts";
import type { Bus } from "./bus.ts";
import { decode } from "./codec/codec.ts";
import { rewriteTask } from "./codec/rewrite.ts";
import { readBody, readTasks } from "./codec/task.ts";
import { JsApiError, jsApiCall } from "./js-api.ts";
import type { Objects } from "./objects.ts";
import type { Publisher } from "./publisher.ts";
import { lastBySubject, type StoredMessage } from "./stored.ts";
import { waitingMessages } from "./waiting.ts";

/** A dead letter and its place in the stream. */
export interface KeptLetter {
  readonly sequence: number;
  readonly letter: DeadLetter;
}

/** Which letters are meant; what is not given does not matter. */
export interface LetterFilter {
  readonly kind?: string | undefined;
  readonly reason?: DeadReason | undefined;
  /** Written before, ms since the epoch. */
  readonly before?: number | undefined;
}

const deadLetter = z.object({
  id: z.string(),
  pool: z.string(),
  kind: z.string(),
  reason: z.enum(DEAD_REASONS),
  message: z.string(),
  attempts: z.number(),
  at: z.number(),
  task: z.custom<Uint8Array>((value) => value instanceof Uint8Array),
});

/**
 * The letters of `pool` that `filter` names, oldest first. What is no dead letter is left out, and told to `onUnreadable`.
 *
 * @throws VgasError UNDELIVERABLE if there is no such stream; TIMEOUT; PERMISSION_DENIED
 */
export async function* deadLetters(
  bus: Bus,
  names: Names,
  pool: string,
  { kind, reason, before = Number.POSITIVE_INFINITY }: LetterFilter,
  onUnreadable: (subject: string) => void,
): AsyncGenerator<KeptLetter, void, undefined> {
  for await (const message of waitingMessages(bus, names.streams.dead, { filter: names.dead(pool, "*") })) {
    const kept = parse(message);
    if (kept === undefined) {
      onUnreadable(message.subject);
      continue;
    }
    const { letter } = kept;
    if ((kind ?? letter.kind) === letter.kind && (reason ?? letter.reason) === letter.reason && letter.at < before)
      yield kept;
  }
}

/** @throws VgasError NOT_FOUND; as `deadLetters` */
export async function findDeadLetter(bus: Bus, names: Names, pool: string, id: string): Promise<KeptLetter> {
  const message = await lastBySubject(bus, names.streams.dead, names.dead(pool, id));
  const kept = message && parse(message);
  if (kept !== undefined) return kept;
  throw new VgasError(
    "NOT_FOUND",
    `there is no dead letter ${id} in pool ${pool}; \`vgas dead list\` shows those there are`,
  );
}

/**
 * Submits what `letter` holds as a new task, under an automatic id, which is returned once the task is stored.
 *
 * @param attempt tells one wish to repeat it from another: the same one is stored once
 * @throws VgasError INVALID if it holds no task that could be run, and what `Publisher.publish` throws
 */
export async function replay(publisher: Publisher, names: Names, letter: DeadLetter, attempt: string): Promise<number> {
  const { subject, body } = replayOf(names, letter);
  const msgId = `replay-${attempt}-${letter.id}`;
  return (await publisher.publish(subject, body, { msgId })).sequence;
}

/** @throws VgasError INVALID saying why it cannot be repeated */
export function checkReplayable({ id, reason, message }: DeadLetter): void {
  if (reason !== "malformed" && reason !== "invalid") return;
  const what = reason === "malformed" ? "its bytes are no task" : "its task could never run";
  throw new VgasError(
    "INVALID",
    `the dead letter ${id} cannot be repeated, ${what} (${message}): \`vgas dead show ${id}\` shows it, and \`vgas submit\` takes it mended`,
  );
}

function replayOf(names: Names, letter: DeadLetter): { readonly subject: string; readonly body: Uint8Array } {
  checkReplayable(letter);
  const [task] = readTasks(letter.task).tasks;
  const { priority } = task?.ok ? task.fields : {};
  const body = rewriteTask(letter.task, { dropped: ["id", "replyTo"], added: { replayOf: letter.id } });
  // Its priority was in the subject, of which nothing is kept unless the task names it too.
  return {
    subject: names.task(letter.pool, letter.kind, priority === "high" || priority === "low" ? priority : "normal"),
    body,
  };
}

/** Takes one letter away, and what its task has in the object store. */
export async function removeDeadLetter(
  bus: Bus,
  names: Names,
  objects: Objects,
  { sequence, letter }: KeptLetter,
): Promise<void> {
  for (const ref of inputsOf(letter, names.objectStores.inputs)) await objects.remove(ref);
  const operation = `removing the dead letter ${letter.id}`;
  try {
    await jsApiCall(bus, operation, (manager) => manager.streams.deleteMessage(names.streams.dead, sequence, false));
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

/** Somebody else was faster, or a newer letter of that id has replaced it. */
function isGone(error: unknown): boolean {
  return (
    error instanceof JsApiError && (error.apiCode === SEQUENCE_NOT_FOUND || /no message found/.test(error.message))
  );
}

const SEQUENCE_NOT_FOUND = 10_043;

function inputsOf({ task }: DeadLetter, bucket: string): ReturnType<typeof parseObjectRef>[] {
  try {
    const { fields } = readBody(task);
    return ["inputRef", "contextRef"].flatMap((name) =>
      fields[name] == null ? [] : [parseObjectRef(name, fields[name], bucket)],
    );
  } catch {
    // No task, or a reference that leads nowhere: there is nothing to remove.
    return [];
  }
}

function parse({ data, sequence }: StoredMessage): KeptLetter | undefined {
  try {
    return { sequence, letter: deadLetter.parse(decode(data)) };
  } catch {
    return undefined;
  }
}
