/** Tickets, rosters and slots: P3 to P5. */
import type { TaskResult } from "../../../src/protocols/result.ts";
import type { Forged } from "../forged.ts";
import type { Began, Ended } from "../history.ts";
import { type Forgery, ok } from "./forgery.ts";

function lastIndex({ made }: Forged): number {
  return made.index[0]?.records.at(-1)?.record.index ?? 0;
}

export const OF_ROTATION: readonly Forgery[] = [
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
];
