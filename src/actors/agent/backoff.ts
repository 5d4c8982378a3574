import type { Random } from "../../protocols/clock.ts";

/** How long a failed task waits for its next attempt: `initialMs` before the second, `factor` times longer before each further one. */
export interface Backoff {
  /** Milliseconds, 0..86 400 000. Default 500. */
  readonly initialMs?: number;
  /** 1..100. Default 2. */
  readonly factor?: number;
  /** Longest pause before what `jitter` adds, ms, `initialMs`..86 400 000. Default 30 000, or `initialMs` if that is more. */
  readonly maxMs?: number;
  /** Up to this part more at random, 0..1, so that what failed together does not come back together. Default 0.2. */
  readonly jitter?: number;
}

export const DEFAULT_BACKOFF: Required<Backoff> = { initialMs: 500, factor: 2, maxMs: 30_000, jitter: 0.2 };

/** The pause after that attempt, ms. */
export function pauseAfter(
  attempt: number,
  { initialMs, factor, maxMs, jitter }: Required<Backoff>,
  random: Random,
): number {
  // A factor to a high power overflows to infinity, which the longest pause bounds; nothing times infinity is NaN.
  const pauseMs = initialMs === 0 ? 0 : Math.min(maxMs, initialMs * factor ** (attempt - 1));
  return Math.round(pauseMs * (1 + random() * jitter));
}
