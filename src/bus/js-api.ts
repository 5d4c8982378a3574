/** The JetStream management API of a bus, and its errors in terms of the catalogue. */
import { JetStreamApiError, type JetStreamManager, jetstreamManager } from "@nats-io/jetstream";
import { VgasError } from "../protocols/errors.ts";
import type { Bus } from "./bus.ts";
import { apiErrorCode, requestError } from "./nats-errors.ts";

/** Creating a replicated stream elects leaders first. */
const API_TIMEOUT_MS = 10_000;

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
 * Runs `work` with the manager.
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
    manager = jetstreamManager(bus.native, { timeout: API_TIMEOUT_MS, checkAPI: false });
    managers.set(bus, manager);
  }
  try {
    return await work(await manager);
  } catch (cause) {
    if (cause instanceof JetStreamApiError) throw new JsApiError(operation, cause);
    if (cause instanceof Error && cause.name === "JetStreamNotEnabled")
      throw new VgasError("CONFIG", `${operation}: the NATS server answers no JetStream request`, { cause });
    throw requestError(operation, cause);
  }
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
