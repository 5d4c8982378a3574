/** Stored results in their order, then those that follow, for a consumer of any speed. */
import type { Bus } from "../bus/bus.ts";
import { type ReadMessage, StreamReader } from "../bus/reader.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";
import type { TaskResult } from "../protocols/result.ts";
import { decodeResult } from "./waiting-results.ts";

export interface ResultFeedOptions {
  readonly bus: Bus;
  readonly stream: string;
  readonly filter: string;
  /** Goes on when everything that was stored has been handed over. */
  readonly follow: boolean;
  readonly signal: AbortSignal | undefined;
  /** Gives a result the output that is elsewhere. */
  readonly complete: (result: TaskResult) => Promise<TaskResult>;
  readonly logger: Logger;
}

const CUT = Symbol("the connection was cut");

/** Results read ahead. A consumer that is slower than the stream makes the reader stop here, and start again later. */
const READ_AHEAD = 1_000;

/**
 * @throws VgasError ABORTED, SHUTTING_DOWN when the connection ends, NO_SWARM if there is no such stream, PERMISSION_DENIED,
 *   TIMEOUT
 */
export async function* resultFeed(options: ResultFeedOptions): AsyncGenerator<TaskResult, void, undefined> {
  const { bus, signal, follow, complete, logger, ...source } = options;
  const queue: ReadMessage[] = [];
  let reader: StreamReader | undefined;
  let next = 0;
  let caughtUp = false;
  let failure: VgasError | undefined;
  let wake: () => void = () => undefined;
  const fail = (error: VgasError): void => {
    failure ??= error;
    wake();
  };
  const onAbort = (): void => fail(new VgasError("ABORTED", "reading results was aborted", { cause: signal?.reason }));
  const open = async (): Promise<void> => {
    const opened = new StreamReader(bus, {
      ...source,
      from: next === 0 ? "all" : { sequence: next },
      logger,
      onMessage: (message) => {
        if (reader !== opened) return;
        queue.push(message);
        next = message.sequence + 1;
        if (queue.length >= READ_AHEAD) {
          opened.stop();
          reader = undefined;
        }
        wake();
      },
      onCaughtUp: () => {
        caughtUp = true;
        wake();
      },
    });
    reader = opened;
    const cut = new Promise<never>((_, reject) => {
      onCut = reject;
    });
    try {
      await Promise.race([opened.start(), cut]);
    } catch (error) {
      opened.stop();
      reader = undefined;
      // What a lost connection took is begun again when it is back.
      if (error !== CUT) throw error;
    }
  };
  let onCut: (reason: unknown) => void = () => undefined;
  const stopListening = bus.onStatus((status) => {
    if (status.type === "disconnected") onCut(CUT);
    if (status.type === "reconnected") wake();
    if (status.type === "closed") fail(closed());
  });
  signal?.addEventListener("abort", onAbort);
  try {
    if (signal?.aborted) onAbort();
    for (;;) {
      if (failure !== undefined) throw failure;
      const message = queue.shift();
      if (message !== undefined) {
        const result = decodeResult(message.data);
        if (result !== undefined) yield result.outputRef === undefined ? result : await complete(result);
        else logger.warn({ subject: message.subject }, "a stored message is no result; it is left out");
      } else if (caughtUp && !follow) return;
      else if (reader === undefined && bus.state === "connected") await open();
      else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } catch (error) {
    // What was going on when it was given up, or when the connection closed, ended for that reason.
    if (failure !== undefined) throw failure;
    if (bus.state === "closed") throw closed();
    if (!(error instanceof VgasError) || error.code !== "NOT_FOUND") throw error;
    throw new VgasError("NO_SWARM", `there is no stream ${source.stream}: no swarm runs with this prefix`, {
      cause: error,
    });
  } finally {
    stopListening();
    signal?.removeEventListener("abort", onAbort);
    reader?.stop();
  }
}

function closed(): VgasError {
  return new VgasError("SHUTTING_DOWN", "the connection to the swarm is closed");
}
