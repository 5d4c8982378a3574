/** Every rule of the checker with a forgery that breaks it, and it alone, in a good history. */
import type { ResultStatus, TaskResult } from "../../src/protocols/result.ts";
import type { Forged } from "./forged.ts";
import type { Began, Ended, Evicted, Exited, Promised } from "./history.ts";
import type { MadeUpOptions } from "./made-up.ts";

const ok = ({ status }: TaskResult): boolean => status === "ok";

export function eviction(at: number): Evicted {
  return { type: "evicted", at, process: "dispatcher-1", host: "host-0", why: "it fell silent" };
}

function lastIndex({ made }: Forged): number {
  return made.index[0]?.records.at(-1)?.record.index ?? 0;
}

/** Something between everybody is struck. */
function strikeLink(history: Forged, from: number, to: number): void {
  history.add({ type: "struck", at: from, fault: "link" }, { type: "healed", at: to, fault: "link" });
}

/** Nobody hears these hosts for a while. */
export function silence(history: Forged, hosts: readonly string[]): void {
  const beats = history.all("beat").filter(({ host, at }) => hosts.includes(host) && at > 46_000 && at < 51_000);
  history.remove(...beats);
}

/** A dispatcher is struck together with the host. */
export function strikeDispatcher(history: Forged): void {
  const { at } = history.first("struck");
  const whom = { fault: "pause", process: "dispatcher-1" };
  history.add({ type: "struck", at: at - 100, ...whom }, { type: "healed", at: at + 500, ...whom });
}

interface Forgery {
  readonly promise: Promised;
  readonly rule: string;
  /** How, where a rule can be broken in more ways than one. */
  readonly how?: string;
  readonly strikes?: MadeUpOptions["strikes"];
  readonly size?: MadeUpOptions;
  readonly forge: (history: Forged) => void;
}

export const FORGERIES: readonly Forgery[] = [
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
    promise: "P3",
    rule: "the index never goes back",
    forge: (history) => history.record({ index: history.made.index[0]?.records.at(-2)?.record.index ?? 0 }),
  },
  {
    promise: "P3",
    rule: "no roster begins above the index",
    forge: (history) => history.record({ base: 100_000, roster: 100_000 }),
  },
  {
    promise: "P3",
    rule: "a swap is stored once",
    forge: (history) => history.record({ nonce: history.made.index[0]?.records.at(-1)?.record.nonce ?? "" }),
  },
  {
    promise: "P3",
    rule: "the index counts every ticket",
    forge: (history) => history.reticket(history.result(ok), 100_000),
  },
  {
    promise: "P3",
    rule: "a ticket is used once",
    how: "by two executions",
    forge: (history) => {
      const one = history.result(ok);
      const other = history.result((result) => ok(result) && result.agent === one.agent && result.id !== one.id);
      history.reticket(one, other.ticket as number);
    },
  },
  {
    promise: "P3",
    rule: "a ticket is used once",
    how: "by one assignment that was run twice",
    forge: (history) => {
      const { id } = history.result((each, { maxAttempts }) => ok(each) && maxAttempts > 2);
      const began = history.first("began", (each) => each.id === id);
      history.add({ ...began, at: began.at + 1 });
    },
  },
  {
    promise: "P3",
    rule: "a ticket is used once",
    how: "by a result of which no execution is known",
    forge: (history) => {
      const { agent, host, ticket } = history.result(ok) as Required<TaskResult>;
      history.forge(
        history.result(({ error }) => error?.code === "INVALID"),
        { agent, host, ticket },
      );
    },
  },
  {
    promise: "P4",
    rule: "a ticket falls to the agent at its place",
    forge: (history) => {
      const result = history.result((each, _, begins) => ok(each) && begins.length === 1);
      const agent = result.agent?.endsWith("0") ? result.agent.replace(/0$/, "1") : result.agent?.replace(/1$/, "0");
      for (const entry of [...history.all("began"), ...history.all("ended")])
        if (entry.id === result.id) history.change<Began | Ended>(entry, { agent: agent as string });
      history.forge(result, { agent: agent as string });
    },
  },
  {
    promise: "P4",
    rule: "an older roster never comes back",
    forge: (history) => history.record({ roster: 0, base: lastIndex(history) }),
  },
  {
    promise: "P4",
    rule: "a roster begins once",
    forge: (history) => history.record({ base: lastIndex(history) }),
  },
  {
    promise: "P4",
    rule: "a roster is for tickets to come",
    forge: (history) => history.record({ roster: 100_000, base: lastIndex(history) - 1 }),
  },
  {
    promise: "P5",
    rule: "no more at once than the slots",
    size: { hosts: 1, agents: 1 },
    forge: ({ made }) => {
      made.index = made.index.map((lane) => ({
        ...lane,
        rosters: lane.rosters.map(({ revision, ranges }) => ({
          revision,
          ranges: ranges.map((range) => ({ ...range, slots: range.slots - 1 })),
        })),
      }));
    },
  },
  {
    promise: "P6",
    rule: "a living host is not evicted",
    how: "nothing struck it",
    forge: (history) => history.add(eviction(50_000)),
  },
  {
    promise: "P6",
    rule: "a living host is not evicted",
    how: "it was struck long ago",
    strikes: ["kill host"],
    forge: (history) => {
      const { process } = history.first("struck");
      history.add({ ...eviction(60_000), host: process as string });
    },
  },
  {
    promise: "P6",
    rule: "a living host is not evicted",
    how: "nobody hears it, but all others",
    forge: (history) => {
      silence(history, ["host-0"]);
      history.add(eviction(50_000));
    },
  },
  {
    promise: "P6",
    rule: "a living host is not evicted",
    how: "a task keeps it busy",
    forge: (history) => {
      const fault = { fault: "busy", process: "host-0" };
      history.add(
        { type: "struck", at: 48_000, ...fault, busyUntil: 52_000 },
        { type: "healed", at: 53_000, ...fault },
      );
      history.add(eviction(50_000));
    },
  },
  {
    promise: "P6",
    rule: "a killed host is noticed within three heartbeats",
    how: "never",
    strikes: ["kill host"],
    forge: (history) => history.remove(...history.all("evicted").slice(0, 1)),
  },
  {
    promise: "P6",
    rule: "a killed host is noticed within three heartbeats",
    how: "after five",
    strikes: ["kill host"],
    forge: (history) => {
      for (const each of history.all("evicted")) history.change<Evicted>(each, { at: each.at + 5_000 });
    },
  },
  {
    promise: "P6",
    rule: "what a killed host ran begins elsewhere",
    strikes: ["kill host"],
    forge: (history) => history.delay(10_000),
  },
  {
    promise: "P6",
    rule: "what a killed host ran begins elsewhere",
    how: "where a dispatcher was killed with it",
    strikes: ["kill host"],
    forge: (history) => {
      strikeDispatcher(history);
      history.delay(20_000);
    },
  },
  {
    promise: "P7",
    rule: "a monitor that was disturbed evicts nobody",
    how: "after it was paused",
    strikes: ["pause dispatcher"],
    forge: (history) => {
      const { process = "", at } = history.first("healed");
      history.add({ ...eviction(at + 300), process });
    },
  },
  {
    promise: "P7",
    rule: "a monitor that was disturbed evicts nobody",
    how: "while it is cut off",
    strikes: ["pause dispatcher"],
    forge: (history) => {
      const { process = "", at } = history.first("healed");
      history.add({ ...eviction(at - 300), process });
    },
  },
  {
    promise: "P8",
    rule: "a stop ends with 0",
    strikes: ["stop host"],
    forge: (history) => history.change<Exited>(history.first("exited"), { code: 143 }),
  },
  {
    promise: "P8",
    rule: "what ends within the grace is done",
    how: "it began again",
    strikes: ["stop host"],
    forge: (history) => {
      const { began, ended } = history.graceful;
      history.change(history.submitOf(began.id), { maxAttempts: 3 });
      // In a lane whose rotation nobody saw.
      const elsewhere = { pid: 1, host: "x", agent: "x-0" };
      history.add({ ...began, at: ended.at + 5_000, kind: "other", attempt: 2, ...elsewhere });
    },
  },
  {
    promise: "P8",
    rule: "what ends within the grace is done",
    how: "it was taken for interrupted",
    strikes: ["stop host"],
    forge: (history) => {
      const { id } = history.graceful.began;
      // What was struck before it began makes it uncertain whether it had begun before, not that it has ended.
      history.change(history.submitOf(id), { maxAttempts: 1, at: -40_000 });
      strikeLink(history, -30_000, -29_000);
      history.fail(
        history.result((each) => each.id === id),
        "INTERRUPTED",
        "crashed-repeatedly",
      );
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
