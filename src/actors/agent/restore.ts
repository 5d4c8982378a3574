import type { Checkpoints } from "../../bus/checkpoints.ts";
import type { Clock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { Run } from "./run.ts";

/** Between two looks while the broker does not answer, ms. */
const AGAIN_MS = 1_000;

export interface RestoreOptions {
  readonly checkpoints: Checkpoints;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Reads the last checkpoint of the run's task. While the broker does not answer it asks again, for as long as the attempt may
 * run: a behaviour that began anew for that reason would do twice what it has done.
 */
export async function restore(run: Run, { checkpoints, clock, logger }: RestoreOptions): Promise<void> {
  run.checkpoints = checkpoints.of(run.lane.pool, run.id);
  for (;;) {
    run.throwIfEnded();
    try {
      run.restored = await run.checkpoints.read();
      run.throwIfEnded();
      return;
    } catch (error) {
      run.throwIfEnded();
      if (!(error instanceof VgasError && error.retryable)) throw error;
      logger.warn({ task: run.id, error: error.message }, "the checkpoint of a task cannot be read yet");
    }
    await new Promise<void>((resolve) => {
      clock.setTimeout(resolve, AGAIN_MS);
    });
  }
}
