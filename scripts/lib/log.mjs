/** Progress for people, on stderr only: stdout belongs to the job that runs after set-up. */

/** @param {string} message */
export function say(message) {
  process.stderr.write(`setup: ${message}\n`);
}

/** A failure whose message is all that a user needs; shown without a stack. */
export class SetupError extends Error {
  /** @override */
  name = "SetupError";
}

/**
 * @param {unknown} error
 * @returns {string}
 */
export function reasonOf(error) {
  if (!(error instanceof Error)) return String(error);
  // fetch() says only "fetch failed"; what failed is in the cause.
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message || error.cause.name}` : error.message;
}
