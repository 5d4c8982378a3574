/** Tries the addresses of one machine side by side, each a little later than the one before it; the first that succeeds counts. */
import type { Clock } from "../protocols/clock.ts";
import { VgasError } from "../protocols/errors.ts";

/** As RFC 8305 has it: a machine that answers does so before. */
const STAGGER_MS = 250;
/** More addresses than a machine has; whoever announces more is up to something. */
const MAX_ADDRESSES = 6;

export interface Reached<T> {
  readonly host: string;
  readonly value: T;
}

/**
 * @throws VgasError what the addresses failed with, a certificate that is wrong before an address that does not answer; ABORTED
 */
export async function dial<T>(
  addresses: readonly string[],
  attempt: (host: string, signal: AbortSignal) => Promise<T>,
  { clock, signal }: { readonly clock: Clock; readonly signal: AbortSignal },
): Promise<Reached<T>> {
  const over = new AbortController();
  const either = AbortSignal.any([signal, over.signal]);
  const failures: unknown[] = [];
  try {
    const tries = addresses.slice(0, MAX_ADDRESSES).map(async (host, i) => {
      // Earlier if all before it have failed already.
      if (i > 0) await pauseUnless(clock, i * STAGGER_MS, either, () => failures.length >= i);
      if (either.aborted) throw new VgasError("ABORTED", "dialing was given up");
      try {
        return { host, value: await attempt(host, either) };
      } catch (error) {
        failures.push(error);
        throw error;
      }
    });
    return await Promise.any(tries);
  } catch {
    if (signal.aborted) throw new VgasError("ABORTED", "dialing was given up");
    const errors = failures.filter((error) => error instanceof VgasError);
    const worst = errors.find(({ code }) => code === "CERTIFICATE_MISMATCH") ?? errors[0];
    if (worst !== undefined) throw worst;
    if (failures.length > 0) throw failures[0] instanceof Error ? failures[0] : new Error(String(failures[0]));
    throw new VgasError("NO_SWARM", "the machine announces no address");
  } finally {
    over.abort();
  }
}

/** How often it is looked whether the wait is needless. */
const LOOK_MS = 50;

async function pauseUnless(clock: Clock, ms: number, signal: AbortSignal, needless: () => boolean): Promise<void> {
  const until = clock.monotonic() + ms;
  while (clock.monotonic() < until && !signal.aborted && !needless()) await pause(clock, LOOK_MS, signal);
}

/** Resolves after `ms`, or at once when the signal fires. */
export async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clock.clear(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = clock.setTimeout(done, ms);
    signal.addEventListener("abort", done, { once: true });
  });
}
