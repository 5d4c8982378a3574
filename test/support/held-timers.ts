import { onTestFinished, vi } from "vitest";

/**
 * Holds timers of these lengths that are set from now on, until the end of the test: they fire when the returned function is called, and not when
 * their time is over. So what is to come in time does, however slow the machine is. Once in a test.
 */
export function holdTimers(...lengths: readonly number[]): () => void {
  const { setTimeout } = globalThis;
  if (vi.isMockFunction(setTimeout)) throw new Error("timers are held already");
  const held: (() => void)[] = [];
  const hold = (callback: (...args: unknown[]) => void, delay = 1, ...args: unknown[]): NodeJS.Timeout => {
    if (!lengths.includes(delay)) return setTimeout(callback, delay, ...args);
    held.push(() => callback(...args));
    return setTimeout(() => undefined);
  };
  const spy = vi.spyOn(globalThis, "setTimeout").mockImplementation(hold as typeof setTimeout);
  onTestFinished(() => spy.mockRestore());
  return () => {
    for (const callback of held.splice(0)) callback();
  };
}
