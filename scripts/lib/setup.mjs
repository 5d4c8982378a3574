/** The steps of set-up, in order. */
import { ensureBroker } from "./broker.mjs";
import { ensureBuild } from "./build.mjs";
import { ensureDependencies } from "./dependencies.mjs";
import { reasonOf, SetupError, say } from "./log.mjs";
import { exitCodeOf, stopChildren } from "./run.mjs";

/** @type {Record<string, () => Promise<unknown>>} */
const STEPS = { dependencies: ensureDependencies, broker: ensureBroker, build: ensureBuild };

/**
 * Does the named steps (all of them by default). Ends the process with 1 and a message if one fails.
 * @param {readonly string[]} [names]
 */
export async function setUp(names = []) {
  const unknown = names.find((name) => !Object.hasOwn(STEPS, name));
  if (unknown !== undefined) {
    say(`unknown step "${unknown}"; there are: ${Object.keys(STEPS).join(", ")}`);
    process.exit(2);
  }
  /** @type {NodeJS.Signals[]} */
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"];
  /** @param {NodeJS.Signals} signal */
  const leave = (signal) => {
    say(`interrupted by ${signal}; run it again to go on`);
    stopChildren();
    // The exit handlers release the lock and remove what was half fetched.
    process.exit(exitCodeOf(signal));
  };
  for (const signal of signals) process.on(signal, leave);
  try {
    for (const [name, step] of Object.entries(STEPS)) {
      if (names.length === 0 || names.includes(name)) await step();
    }
  } catch (error) {
    say(
      error instanceof SetupError ? error.message : `failed: ${error instanceof Error ? error.stack : reasonOf(error)}`,
    );
    process.exit(1);
  } finally {
    for (const signal of signals) process.off(signal, leave);
  }
}
