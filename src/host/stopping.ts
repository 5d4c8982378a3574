/** Stops the parts of a node in the reverse order of their start. */
import { setTimeout as pause } from "node:timers/promises";
import { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";

/** What a part may take beyond the grace to close, ms. */
const STOP_MARGIN_MS = 3_000;

/** Stops one part; gets what is left of the grace, ms. */
export type Stop = (leftMs: number) => Promise<void> | void;

export async function stopAll(stops: Stop[], graceMs: number, logger: Logger): Promise<void> {
  const deadline = performance.now() + graceMs;
  for (const stop of stops.splice(0).reverse()) {
    const leftMs = Math.max(0, deadline - performance.now());
    try {
      await within(leftMs + STOP_MARGIN_MS, Promise.resolve(stop(leftMs)));
    } catch (error) {
      // The rest must be stopped whatever one part does.
      logger.warn({ error: String(error) }, "a part did not stop cleanly");
    }
  }
}

/** Waits for `work` that long and no longer: with a dead broker there are parts that would wait for ever. */
async function within(ms: number, work: Promise<void>): Promise<void> {
  const controller = new AbortController();
  const late = pause(ms, undefined, { signal: controller.signal }).then(
    () => Promise.reject(new VgasError("TIMEOUT", `host.stop: a part took longer than ${Math.round(ms)} ms`)),
    () => undefined,
  );
  try {
    await Promise.race([work, late]);
  } finally {
    controller.abort();
  }
}
