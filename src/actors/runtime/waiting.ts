import type { Clock, Timer } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";

export interface WaitOptions {
  readonly clock: Clock;
  /** Name of what is waited for: "counter.add timed out after 2000 ms". */
  readonly operation: string;
  readonly timeoutMs: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Waits for what `begin` hands to `resolve`.
 *
 * @throws VgasError TIMEOUT, ABORTED; what `begin` throws
 */
export function waitFor<Value>(options: WaitOptions, begin: (resolve: (value: Value) => void) => void): Promise<Value> {
  const { clock, operation, timeoutMs, signal } = options;
  return new Promise((resolve, reject) => {
    let timer: Timer | undefined;
    const end = (finish: () => void): void => {
      clock.clear(timer);
      signal?.removeEventListener("abort", aborted);
      finish();
    };
    const aborted = (): void =>
      end(() => reject(new VgasError("ABORTED", `${operation} was aborted`, { cause: signal?.reason })));
    if (signal?.aborted) {
      aborted();
      return;
    }
    signal?.addEventListener("abort", aborted);
    timer = clock.setTimeout(() => {
      end(() => reject(new VgasError("TIMEOUT", `${operation} timed out after ${timeoutMs} ms`)));
    }, timeoutMs);
    begin((value) => end(() => resolve(value)));
  });
}

/** Waits for `work`, but no longer than `timeoutMs`. Says whether it came to its end; a failure of `work` counts as one. */
export async function endsWithin(clock: Clock, timeoutMs: number, work: Promise<unknown>): Promise<boolean> {
  let timer: Timer | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = clock.setTimeout(() => resolve(false), timeoutMs);
  });
  const ended = work.then(
    () => true,
    () => true,
  );
  try {
    return await Promise.race([ended, late]);
  } finally {
    clock.clear(timer);
  }
}
