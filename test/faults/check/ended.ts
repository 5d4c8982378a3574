/**
 * P1: every task whose publish was acknowledged ends in exactly one stored result. Nothing is lost, and nothing is made up.
 *
 * A second stored result, and one that was seen and is gone, are the business of P2.
 */
import type { Streams } from "../history.ts";
import type { Disturbances } from "./disturbances.ts";
import type { Record, Submission, Task } from "./record.ts";
import type { Report } from "./report.ts";

const AUTOMATIC = /^s(?<sequence>\d+)(?:-(?<element>\d+))?$/;

export function checkEnded(record: Record, disturbances: Disturbances, streams: Streams, report: Report): void {
  const strangers: Task[] = [];
  const observed = new Set(record.executions.map(({ began }) => `${began.pool}.${began.kind}`));
  for (const task of record.everyTask()) {
    if (task.accepted && task.stored.length === 0 && task.seen.length === 0) {
      report.add("P1", "an acknowledged task ends in a stored result", nameOf(task));
    }
    if (task.submissions.length === 0) strangers.push(task);
    else checkTask(task, allowedBy(task.submissions), observed, disturbances, report);
  }
  checkStrangers(strangers, record, disturbances, observed, report);
  checkDead(record, streams, report);
  if (streams.waiting > 0) report.add("P1", "the task stream is empty at the end", `${streams.waiting} are left`);
}

/** What its submissions allow a task. */
interface Allowed {
  readonly ends: ReadonlySet<string>;
  /** Executions, in all. */
  mayBegin: number;
  /** The least and the most `maxAttempts`. */
  least: number;
  most: number;
  /** When the first of them was sent. */
  from: number;
  hostile: boolean;
}

function allowedBy(submissions: readonly Submission[]): Allowed {
  const ends = new Set<string>();
  const allowed = {
    ends,
    mayBegin: 0,
    least: Number.POSITIVE_INFINITY,
    most: 0,
    from: Number.POSITIVE_INFINITY,
    hostile: false,
  };
  for (const { submit } of submissions) {
    for (const status of submit.ends) ends.add(status);
    allowed.mayBegin += submit.maxAttempts;
    allowed.least = Math.min(allowed.least, submit.maxAttempts);
    allowed.most = Math.max(allowed.most, submit.maxAttempts);
    allowed.from = Math.min(allowed.from, submit.at);
    allowed.hostile ||= submit.hostile !== undefined;
  }
  return allowed;
}

function checkTask(
  task: Task,
  allowed: Allowed,
  observed: ReadonlySet<string>,
  disturbances: Disturbances,
  report: Report,
): void {
  if (task.executions.length > allowed.mayBegin) {
    report.add("P1", "no more executions than maxAttempts", `${nameOf(task)} began ${task.executions.length} times`);
  }
  const stored = task.stored[0]?.result;
  if (stored === undefined) return;
  const { status, kind, error } = stored;
  if (status === "failed" && CUT_OFF.has(error?.code ?? "")) {
    const wrong = unexplained(task, allowed, error?.code as string, disturbances);
    if (wrong !== undefined) report.add("P1", `${error?.code} only where it is so`, `${nameOf(task)}: ${wrong}`);
  } else if (!allowed.ends.has(status) && !allowed.hostile) {
    report.add("P1", "a task ends as it may", `${nameOf(task)} ended ${status}${error ? ` with ${error.code}` : ""}`);
  }
  const ran = task.executions.some(
    ({ began }) => began.ticket === stored.ticket && began.agent === stored.agent && began.attempt === stored.attempt,
  );
  if (status === "ok" && !ran && observed.has(`${task.pool}.${kind}`)) {
    report.add("P1", "what succeeded was run", `${nameOf(task)}, attempt ${stored.attempt}, ticket ${stored.ticket}`);
  }
}

/** What speaks against a result that says that its task was cut off. */
function unexplained(task: Task, allowed: Allowed, code: string, disturbances: Disturbances): string | undefined {
  const { least, most, from } = allowed;
  if (code === "INTERRUPTED" && least > 1) return `it has ${least} attempts`;
  if (code === "CRASHED_REPEATEDLY" && most === 1) return "it has one attempt";
  const uncertain = disturbances.uncertain(from, task.seenAt);
  if (code === "INTERRUPTED") {
    const cutOff = task.executions.some(({ ended }) => ended === undefined);
    return cutOff || uncertain > 0 ? undefined : "it was not cut off, and nothing can have made that uncertain";
  }
  const accounted = task.executions.length + uncertain;
  return accounted >= least ? undefined : `of ${least} executions ${accounted} can be accounted for`;
}

/**
 * Ids that no client knows. They are those of submissions with automatic ids whose outcome is unknown, or that were stored once
 * more because the acknowledgement was lost together with the broker's memory of message ids: as many, and no more.
 */
function checkStrangers(
  strangers: readonly Task[],
  record: Record,
  disturbances: Disturbances,
  observed: ReadonlySet<string>,
  report: Report,
): void {
  if (strangers.length === 0) return;
  const lanes = spareSubmissions(record, disturbances);
  for (const task of strangers) {
    const kind = task.stored[0]?.result.kind ?? task.seen[0]?.result.kind ?? task.executions[0]?.began.kind;
    // One that only a dead letter names is looked at there.
    if (kind === undefined) continue;
    const spare = lanes.get(`${task.pool}.${kind}`);
    const sequence = AUTOMATIC.exec(task.id)?.groups?.["sequence"];
    if (sequence !== undefined) spare?.messages.add(sequence);
    if (sequence === undefined || spare === undefined || spare.messages.size > spare.copies) {
      const what = task.stored.length > 0 ? "has a result" : "ran";
      report.add("P1", "nothing is made up", `${nameOf(task)} of kind ${kind} ${what}, and nobody submitted it`);
    } else {
      spare.allowed ??= { ...allowedBy(spare.submissions), hostile: false };
      checkTask(task, { ...spare.allowed, mayBegin: spare.allowed.most }, observed, disturbances, report);
    }
  }
}

interface Spare {
  readonly submissions: Submission[];
  /** Messages that they can have been stored as, besides those that were acknowledged. */
  copies: number;
  /** Sequences of those that were found. */
  readonly messages: Set<string>;
  allowed?: Allowed;
}

function spareSubmissions(record: Record, disturbances: Disturbances): ReadonlyMap<string, Spare> {
  const lanes = new Map<string, Spare>();
  for (const submission of record.submissions.values()) {
    const { submit, outcome } = submission;
    if (submit.ids !== null || outcome?.type === "refused") continue;
    const lost = disturbances.lostAnswers(submit.at, outcome?.at ?? Number.POSITIVE_INFINITY);
    const copies = outcome?.type === "accepted" ? lost : 1 + lost;
    if (copies === 0) continue;
    const lane = `${submit.pool}.${submit.kind}`;
    const spare: Spare = lanes.get(lane) ?? { submissions: [], copies: 0, messages: new Set() };
    spare.submissions.push(submission);
    spare.copies += copies;
    lanes.set(lane, spare);
  }
  return lanes;
}

/** Dead letters and failed results name the same tasks. */
function checkDead(record: Record, streams: Streams, report: Report): void {
  const buried = new Map<string, Set<string>>();
  for (const { pool, id, reason } of streams.dead) {
    const result = record.tasks.get(pool)?.get(id)?.stored[0]?.result;
    if (result?.status !== "failed") {
      report.add("P1", "a dead letter is of a failed task", `${pool} ${id} ended ${result?.status ?? "not at all"}`);
    }
    const reasons = buried.get(`${pool} ${id}`) ?? new Set();
    buried.set(`${pool} ${id}`, reasons.add(reason));
  }
  for (const task of record.everyTask()) {
    const result = task.stored[0]?.result;
    // What was hostile is the business of P9.
    if (result?.status !== "failed" || task.submissions.some(({ submit }) => submit.hostile !== undefined)) continue;
    const reasons = buried.get(`${task.pool} ${task.id}`);
    const reason = CUT_OFF.has(result.error?.code ?? "") ? "crashed-repeatedly" : "attempts-exhausted";
    // Of what no client knows it is not known either whether it was a task.
    const known = reason === "crashed-repeatedly" || task.submissions.length > 0;
    if (reasons === undefined || (known && !reasons.has(reason))) {
      report.add("P1", "what failed for good has its dead letter", `${nameOf(task)}: ${reason}`);
    }
  }
}

const CUT_OFF: ReadonlySet<string> = new Set(["INTERRUPTED", "CRASHED_REPEATEDLY"]);

export function nameOf({ pool, id }: Pick<Task, "pool" | "id">): string {
  return pool === "default" ? id : `${pool} ${id}`;
}
