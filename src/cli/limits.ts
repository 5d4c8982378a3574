/** How long a question about a task may take. */
import type { Cli } from "./cli.ts";

export interface LimitFlags {
  readonly timeout?: number;
}

/** Ends with the first signal, and after `--timeout`. */
export function limits(
  { interrupt }: Cli,
  { timeout }: LimitFlags,
): { readonly signal: AbortSignal; readonly timeoutMs?: number } {
  return { signal: interrupt.signal, ...(timeout !== undefined && { timeoutMs: timeout }) };
}
