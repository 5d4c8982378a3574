/** What is stored of tasks: P1 and P2, and of what is no task: P9. */
import type { ResultStatus, TaskResult } from "../../../src/protocols/result.ts";
import type { Exited } from "../history.ts";
import { type Forgery, ok } from "./forgery.ts";

export const OF_RESULTS: readonly Forgery[] = [
  {
    promise: "P1",
    rule: "an acknowledged task ends in a stored result",
    forge: (history) => history.forget(history.result(ok).id),
  },
  {
    promise: "P1",
    rule: "a task ends as it may",
    forge: (history) => history.forge(history.result(ok), { status: "expired" }),
  },
  {
    promise: "P1",
    rule: "INTERRUPTED only where it is so",
    how: "nothing was uncertain",
    forge: (history) =>
      history.fail(
        history.result((result, { maxAttempts }) => ok(result) && maxAttempts === 1),
        "INTERRUPTED",
        "crashed-repeatedly",
      ),
  },
  {
    promise: "P1",
    rule: "INTERRUPTED only where it is so",
    how: "it may begin again",
    strikes: ["kill host"],
    forge: (history) =>
      history.fail(
        history.result((_, { maxAttempts }, begins) => maxAttempts > 1 && begins.length === 2),
        "INTERRUPTED",
        "crashed-repeatedly",
      ),
  },
  {
    promise: "P1",
    rule: "CRASHED_REPEATEDLY only where it is so",
    how: "it began once",
    forge: (history) =>
      history.fail(
        history.result((result, { maxAttempts }, begins) => ok(result) && maxAttempts === 3 && begins.length === 1),
        "CRASHED_REPEATEDLY",
        "crashed-repeatedly",
      ),
  },
  {
    promise: "P1",
    rule: "CRASHED_REPEATEDLY only where it is so",
    how: "it may begin once",
    strikes: ["kill host"],
    forge: (history) =>
      history.fail(
        history.result((result, { maxAttempts }) => ok(result) && maxAttempts === 1),
        "CRASHED_REPEATEDLY",
        "crashed-repeatedly",
      ),
  },
  {
    promise: "P1",
    rule: "no more executions than maxAttempts",
    forge: (history) => {
      const { id } = history.result((result, _, begins) => ok(result) && begins.length === 2);
      history.change(history.submitOf(id), { maxAttempts: 1 });
    },
  },
  {
    promise: "P1",
    rule: "what succeeded was run",
    forge: (history) => {
      const { id } = history.result(ok);
      history.remove(history.first("began", (began) => began.id === id));
    },
  },
  ...(["task-of-nobody", "s99", "s99-3"] as const).map(
    (id): Forgery => ({
      promise: "P1",
      rule: "nothing is made up",
      how: id,
      strikes: ["kill host"],
      forge: ({ made }) => {
        const [first] = made.streams.results;
        if (first === undefined) throw new Error("there is no result");
        const { pool, kind, submittedAt, finishedAt } = first.result;
        const status: ResultStatus = "cancelled";
        const result = { id, pool, kind, status, attempt: 0, submittedAt, finishedAt };
        made.streams.results = [...made.streams.results, { sequence: 10_000, digest: "forged", result }];
      },
    }),
  ),
  {
    promise: "P1",
    rule: "nothing is made up",
    how: "it was refused",
    forge: (history) => {
      const { id } = history.result((result, { ids }) => ok(result) && ids?.length === 1);
      const { call, at } = history.first("accepted", ({ ids }) => ids.includes(id));
      history.remove(history.first("accepted", ({ ids }) => ids.includes(id)));
      history.add({ type: "refused", at, call, code: "INVALID" });
    },
  },
  {
    promise: "P1",
    rule: "nothing is made up",
    how: "more than what is unknown",
    forge: (history) => {
      const free = (result: TaskResult, ids: readonly string[] | null, begins: number): boolean =>
        ok(result) && ids === null && begins === 1;
      const one = history.result((result, { ids }, begins) => free(result, ids, begins.length));
      const other = history.result(
        (result, { ids, call }, begins) => free(result, ids, begins.length) && call !== history.submitOf(one.id).call,
      );
      for (const { id } of [one, other]) {
        const { call } = history.submitOf(id);
        history.remove(history.first("accepted", (accepted) => accepted.call === call));
        // Only of one of the two is it unknown how it came out; the other was never submitted.
        if (id === other.id) history.remove(history.first("submit", (submit) => submit.call === call));
      }
    },
  },
  {
    promise: "P1",
    rule: "a dead letter is of a failed task",
    forge: (history) => {
      const { id, pool } = history.result(ok);
      const { streams } = history.made;
      streams.dead = [...streams.dead, { id, pool, reason: "attempts-exhausted" }];
    },
  },
  {
    promise: "P1",
    rule: "what failed for good has its dead letter",
    how: "none",
    forge: (history) => {
      const { id } = history.result(({ error }) => error?.code === "TASK_FAILED");
      const { streams } = history.made;
      streams.dead = streams.dead.filter((letter) => letter.id !== id);
    },
  },
  {
    promise: "P1",
    rule: "what failed for good has its dead letter",
    how: "of another reason",
    forge: (history) => {
      const { id } = history.result(({ error }) => error?.code === "TASK_FAILED");
      const { streams } = history.made;
      streams.dead = streams.dead.map((each) => (each.id === id ? { ...each, reason: "crashed-repeatedly" } : each));
    },
  },
  {
    promise: "P1",
    rule: "the task stream is empty at the end",
    forge: ({ made }) => {
      made.streams.waiting = 1;
    },
  },
  {
    promise: "P2",
    rule: "one result is stored",
    forge: ({ made }) => {
      const [first] = made.streams.results;
      if (first) made.streams.results = [...made.streams.results, { ...first, sequence: 10_000 }];
    },
  },
  ...[{ digest: "forged" }, { sequence: 10_000 }].map(
    (what): Forgery => ({
      promise: "P2",
      rule: "a stored result never changes",
      how: `its ${Object.keys(what)}`,
      forge: (history) => {
        const saw = history.first("saw");
        history.add({ ...saw, at: saw.at + 5, ...what });
      },
    }),
  ),
  {
    promise: "P2",
    rule: "a stored result is kept",
    how: "another is there",
    forge: ({ made }) => {
      made.streams.results = made.streams.results.map((each, i) => (i === 5 ? { ...each, digest: "forged" } : each));
    },
  },
  {
    promise: "P2",
    rule: "a stored result is kept",
    how: "none is there",
    forge: (history) => {
      const { id } = history.result(ok);
      const { streams } = history.made;
      streams.results = streams.results.filter(({ result }) => result.id !== id);
    },
  },
  {
    promise: "P2",
    rule: "a client is told what is stored",
    forge: (history) => {
      const { id, pool, attempt, finishedAt } = history.result(ok);
      history.add({ type: "told", at: 90_000, id, pool, status: "ok", attempt: attempt + 1, finishedAt });
    },
  },
  {
    promise: "P9",
    rule: "no process ends by itself",
    strikes: ["kill dispatcher"],
    forge: (history) => history.change<Exited>(history.first("exited"), { expected: false, code: 70 }),
  },
  {
    promise: "P9",
    rule: "what is no task fails",
    forge: (history) => {
      const result = history.result((_, { hostile }) => hostile !== undefined);
      const { streams } = history.made;
      history.forge(result, { status: "expired" });
      streams.dead = streams.dead.filter(({ id }) => id !== result.id);
    },
  },
  {
    promise: "P9",
    rule: "what is no task has a dead letter",
    forge: (history) => {
      const { id } = history.result((_, { hostile }) => hostile !== undefined);
      const { streams } = history.made;
      streams.dead = streams.dead.map((each) => (each.id === id ? { ...each, reason: "invalid" } : each));
    },
  },
];
