/**
 * What asking costs is taken from what is waited for: a probe that is repeated without a pause keeps a core busy, here and in
 * the broker that answers it.
 */
const PAUSE_MS = 25;

/** What this process does by itself is done within so many turns of its event loop; other processes take longer. */
const TURNS = 500;

/**
 * Resolves when `check` holds, asked again at each turn of the event loop, and with pauses where that lasts; the test's own time
 * limit is the bound.
 */
export async function until(check: () => boolean): Promise<void> {
  for (let turn = 0; !check(); turn++) {
    await new Promise<void>((resolve) => {
      if (turn < TURNS) setImmediate(resolve);
      else setTimeout(resolve, PAUSE_MS);
    });
  }
}

/** What `work` rejects with. Fails if it resolves. */
export async function rejection(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
  } catch (error) {
    return error;
  }
  throw new Error("it was to be rejected, and resolved");
}

/**
 * The first value of `probe` that is not undefined; the test's own time limit is the bound. False is no value: whoever returns it means
 * that it is not there yet.
 */
export async function eventually<T extends object | string | number | true>(
  probe: () => Promise<T | undefined>,
  what: string,
): Promise<T> {
  for (;;) {
    const value = await probe().catch((error: unknown) => {
      throw new Error(`while waiting for ${what}`, { cause: error });
    });
    if (value !== undefined) return value;
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}
