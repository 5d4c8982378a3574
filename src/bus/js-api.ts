/** The JetStream management API of a bus, and its errors in terms of the catalogue. */
import { setTimeout as pause } from "node:timers/promises";
import { JetStreamApiError, type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { VgasError } from "../protocols/errors.ts";
import type { Bus } from "./bus.ts";
import { askLeader, isClustered } from "./leader.ts";
import { apiErrorCode, requestError } from "./nats-errors.ts";

/** Of a call in all. In a cluster that is time for most elections. */
const API_TIMEOUT_MS = 10_000;
/** Of one try in a cluster: making a stream takes its servers a moment. */
const TRY_MS = 3_000;

/** "No JetStream" is believed after so long: a server that starts, or reads its users again, answers so for a moment, and does nothing. */
const NO_JETSTREAM_MS = 1_000;
const NO_JETSTREAM_PAUSE_MS = 50;

const managers = new WeakMap<Bus, Promise<JetStreamManager>>();

/** An error of the JetStream API. `apiCode` is the server's, 0 if none came. */
export class JsApiError extends VgasError {
  readonly apiCode: number;

  constructor(operation: string, cause: JetStreamApiError) {
    super(apiErrorCode(cause.code), `${operation}: ${cause.message} (${cause.code})`, { cause });
    this.apiCode = cause.code;
  }
}

/**
 * Runs `work` with the manager; in a cluster again where no leader answers, so it is to be such that can be done twice.
 *
 * @throws VgasError as the server answered; CONFIG if it has no JetStream
 */
export async function jsApiCall<T>(
  bus: Bus,
  operation: string,
  work: (manager: JetStreamManager) => Promise<T>,
): Promise<T> {
  let manager = managers.get(bus);
  if (manager === undefined) {
    const timeout = isClustered(bus) ? TRY_MS : API_TIMEOUT_MS;
    manager = jetstreamManager(bus.native, { timeout, checkAPI: false });
    managers.set(bus, manager);
  }
  const api = await manager;
  return await askLeader(bus, API_TIMEOUT_MS, async () => {
    const deadline = performance.now() + NO_JETSTREAM_MS;
    for (;;) {
      try {
        return await work(api);
      } catch (cause) {
        if (!isUnheard(cause) || performance.now() > deadline) throw apiError(operation, cause);
      }
      await pause(NO_JETSTREAM_PAUSE_MS);
    }
  });
}

/** Nobody listened, as nats.js says it: there is no JetStream, or not at this moment. */
function isUnheard(cause: unknown): boolean {
  return cause instanceof Error && cause.name === "JetStreamNotEnabled";
}

function apiError(operation: string, cause: unknown): VgasError {
  if (cause instanceof JetStreamApiError) return new JsApiError(operation, cause);
  if (isUnheard(cause))
    return new VgasError("CONFIG", `${operation}: the NATS server answers no JetStream request`, { cause });
  return requestError(operation, cause);
}

/** As `jsApiCall`, but undefined where the named thing does not exist. */
export async function jsApiFind<T>(
  bus: Bus,
  operation: string,
  work: (manager: JetStreamManager) => Promise<T>,
): Promise<T | undefined> {
  try {
    return await jsApiCall(bus, operation, work);
  } catch (error) {
    if (error instanceof VgasError && error.code === "NOT_FOUND") return undefined;
    throw error;
  }
}
