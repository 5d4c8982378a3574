import { type Clock, systemClock } from "../../protocols/clock.ts";
import { VgasError } from "../../protocols/errors.ts";
import type { HomeLayout } from "../home/layout.ts";
import { type BrokerRecord, liveBroker } from "./broker-record.ts";
import { probe } from "./probe.ts";

export interface Load {
  /** Seed of the canary in the accounts file that is to be loaded. */
  readonly canary: Uint8Array;
  /** `try`: nothing changed as far as is known, so ask before reloading. Default `reload`. */
  readonly first?: "reload" | "try";
}

/** A reload takes milliseconds; a broker that is just starting may have to read its store first. */
const RELOAD_TIMEOUT_MS = 20_000;
const POLL_MS = 20;
/** A signal can arrive while a server starts; it is sent again until the answer is right. */
const SIGNAL_PERIOD_MS = 500;

/**
 * Makes the home's running broker load its accounts file, and waits until it accepts that file's canary. False without a
 * running broker: the next one reads the file.
 *
 * The server takes one reload at a time and cuts the users that are gone at the end of each: when the canary of a later
 * writing is accepted, all that an earlier one asked for has been done.
 *
 * @throws VgasError TIMEOUT naming the operation
 */
export async function loadAccounts(
  layout: HomeLayout,
  { canary, first = "reload" }: Load,
  operation: string,
  clock: Clock = systemClock,
): Promise<boolean> {
  const started = clock.monotonic();
  let signalAt = first === "try" ? started + POLL_MS : started;
  for (;;) {
    const broker = await liveBroker(layout);
    if (broker === undefined) return false;
    const now = clock.monotonic();
    if (now - started > RELOAD_TIMEOUT_MS) {
      throw new VgasError("TIMEOUT", `${operation} timed out after ${RELOAD_TIMEOUT_MS} ms: see ${layout.nats.log}`);
    }
    if (broker.ready) {
      if (now >= signalAt) {
        signal(broker.process.pid);
        signalAt = now + SIGNAL_PERIOD_MS;
      }
      if (await accepts(broker, canary)) return true;
    }
    await new Promise<void>((resolve) => clock.setTimeout(resolve, POLL_MS));
  }
}

async function accepts(broker: BrokerRecord, canary: Uint8Array): Promise<boolean> {
  return (await probe(broker, canary)).answer === "accepted";
}

/** SIGHUP: the server reads its configuration again. A process that is gone needs none. */
function signal(pid: number): void {
  try {
    process.kill(pid, "SIGHUP");
  } catch {
    // The loop above sees that it is gone.
  }
}
