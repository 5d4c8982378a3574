/** Keeps what is dear to make for a moment, so that many who ask at once cost as much as one. */

/**
 * A function that answers with what `make` made at most `keepMs` ago. While it is being made, everybody waits for the same one.
 * What failed is not kept.
 */
export function keptFor<T>(keepMs: number, make: () => Promise<T>, now: () => number): () => Promise<T> {
  let kept: { readonly value: Promise<T>; until: number } | undefined;
  return () => {
    if (kept !== undefined && now() < kept.until) return kept.value;
    const made = { value: make(), until: Number.POSITIVE_INFINITY };
    kept = made;
    made.value.then(
      () => {
        made.until = now() + keepMs;
      },
      () => {
        kept = undefined;
      },
    );
    return made.value;
  };
}
