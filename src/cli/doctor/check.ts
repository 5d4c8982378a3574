/** One thing that vgas needs, looked at. */
export type Verdict = "ok" | "warning" | "failed";

export interface Check {
  /** What was looked at: `node`, `home`, `stream VGAS_TASKS`. */
  readonly check: string;
  readonly verdict: Verdict;
  /** What was found, and what is needed where that differs. */
  readonly message: string;
  /** What to do; absent where nothing is to be done. */
  readonly remedy?: string;
  /** For programs: what is missing or wanted, as data. */
  readonly details?: Readonly<Record<string, unknown>>;
}

type Rest = Pick<Check, "details">;

export function ok(check: string, message: string): Check {
  return { check, verdict: "ok", message };
}

export function warning(check: string, message: string, remedy: string, rest: Rest = {}): Check {
  return { check, verdict: "warning", message, remedy, ...rest };
}

export function failed(check: string, message: string, remedy: string, rest: Rest = {}): Check {
  return { check, verdict: "failed", message, remedy, ...rest };
}
