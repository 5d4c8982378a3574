/** Time and timers, injected so that tests can hold, jump and count them. */
export interface Clock {
  /** Milliseconds since the epoch; may jump. For what is shown or stored. */
  now(): number;
  /** Milliseconds from an arbitrary start; never jumps. For what is measured or waited for. */
  monotonic(): number;
  setTimeout(callback: () => void, delayMs: number): Timer;
  setInterval(callback: () => void, periodMs: number): Timer;
  clear(timer: Timer | undefined): void;
}

/** Opaque; only `Clock.clear` takes it. */
export type Timer = NodeJS.Timeout | number | object;

/** Uniform in [0, 1), as `Math.random`. */
export type Random = () => number;

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimeout: (callback, delayMs) => setTimeout(callback, delayMs),
  setInterval: (callback, periodMs) => setInterval(callback, periodMs),
  clear: (timer) => {
    clearTimeout(timer as NodeJS.Timeout | undefined);
  },
};
