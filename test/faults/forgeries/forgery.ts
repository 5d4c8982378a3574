/** One rule of the checker, and how it alone is broken in a good history. */
import type { TaskResult } from "../../../src/protocols/result.ts";
import type { Forged } from "../forged.ts";
import type { Evicted, Promised } from "../history.ts";
import type { MadeUpOptions } from "../made-up.ts";

export interface Forgery {
  readonly promise: Promised;
  readonly rule: string;
  /** How, where a rule can be broken in more ways than one. */
  readonly how?: string;
  readonly strikes?: MadeUpOptions["strikes"];
  readonly size?: MadeUpOptions;
  readonly forge: (history: Forged) => void;
}

export const ok = ({ status }: TaskResult): boolean => status === "ok";

export function eviction(at: number): Evicted {
  return { type: "evicted", at, process: "dispatcher-1", host: "host-0", why: "it fell silent" };
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
