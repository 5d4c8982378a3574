/** Hosts that are taken for dead, that die, and that stop: P6 to P8. */
import type { Forged } from "../forged.ts";
import type { Evicted, Exited } from "../history.ts";
import { eviction, type Forgery, silence, strikeDispatcher } from "./forgery.ts";

/** Something between everybody is struck. */
function strikeLink(history: Forged, from: number, to: number): void {
  history.add({ type: "struck", at: from, fault: "link" }, { type: "healed", at: to, fault: "link" });
}

export const OF_HOSTS: readonly Forgery[] = [
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
];
