import { type Clock, systemClock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { HomeLayout } from "../home/layout.ts";
import { liveBroker } from "./broker-record.ts";
import { probe } from "./probe.ts";

/** What the broker must answer to a credential once it has loaded the users file. */
export interface Expected {
  readonly seed: Uint8Array;
  readonly answer: "accepted" | "refused";
  /** `try`: nothing changed as far as is known, so ask before reloading. Default `reload`. */
  readonly first?: "reload" | "try";
}

/** A reload takes milliseconds; a broker that is just starting may have to read its store first. */
const RELOAD_TIMEOUT_MS = 20_000;
const POLL_MS = 20;
/** A signal can arrive while a server starts; it is sent again until the answer is right. */
const SIGNAL_PERIOD_MS = 500;

/**
 * Makes the home's running broker load its users file, and waits until it answers as expected. Without a running broker
 * there is nothing to do: the next one reads the file.
 *
 * @throws VgasError TIMEOUT naming the operation
 */
export async function reloadUntil(
  layout: HomeLayout,
  expected: Expected,
  operation: string,
  clock: Clock = systemClock,
): Promise<void> {
  const started = clock.monotonic();
  let signalAt = expected.first === "try" ? started + POLL_MS : started;
  for (;;) {
    const broker = await liveBroker(layout);
    if (broker === undefined) return;
    const now = clock.monotonic();
    if (now - started > RELOAD_TIMEOUT_MS) {
      throw new VgasError("TIMEOUT", `${operation} timed out after ${RELOAD_TIMEOUT_MS} ms: see ${layout.nats.log}`);
    }
    if (broker.ready) {
      if (now >= signalAt) {
        signal(broker.process.pid);
        signalAt = now + SIGNAL_PERIOD_MS;
      }
      const { answer } = await probe(broker.url, expected.seed);
      if (answer === expected.answer) return;
    }
    await new Promise<void>((resolve) => clock.setTimeout(resolve, POLL_MS));
  }
}

/** SIGHUP: the server reads its configuration again. A process that is gone needs none. */
function signal(pid: number): void {
  try {
    process.kill(pid, "SIGHUP");
  } catch {
    // The loop above sees that it is gone.
  }
}
