import { onTestFinished, vi } from "vitest";

/**
 * Holds timers of this length that are set from now on, until the end of the test: they fire when the returned function is called, and not when
 * their time is over. So what is to come in time does, however slow the machine is.
 */
export function holdTimers(ms: number): () => void {
  const { setTimeout } = globalThis;
  const held: (() => void)[] = [];
  const hold = (callback: (...args: unknown[]) => void, delay?: number, ...args: unknown[]): NodeJS.Timeout => {
    if (delay !== ms) return setTimeout(callback, delay, ...args);
    held.push(() => callback(...args));
    return setTimeout(() => undefined);
  };
  const spy = vi.spyOn(globalThis, "setTimeout").mockImplementation(hold as typeof setTimeout);
  onTestFinished(() => spy.mockRestore());
  return () => {
    for (const callback of held.splice(0)) callback();
  };
}
