/** Events of a task for a callback that is there before the task is sent. */
import { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";
import type { EventFeed } from "./event-feed.ts";
import type { Guest } from "./guest.ts";
import type { HandleParts } from "./handle.ts";
import type { PendingResult } from "./pending-result.ts";
import type { SubmitOptions } from "./submit-options.ts";

/** @throws VgasError INVALID if it cannot be told from the start which events are its own */
export function checkOnEvent({ onEvent, track, msgId, id }: SubmitOptions, guest: Guest | undefined): void {
  if (onEvent === undefined) return;
  if (guest !== undefined) throw guest.refusal("listen to events");
  if (typeof onEvent !== "function")
    throw new VgasError("INVALID", `onEvent must be a function, got ${typeof onEvent}`);
  if (track === false)
    throw new VgasError("INVALID", "onEvent needs to know when the task ends: track must not be false");
  if (msgId !== undefined && id === undefined)
    throw new VgasError(
      "INVALID",
      "onEvent with msgId needs an id: a repeated submission is the task of the first one",
    );
}

/** Hands the events of a task that is about to be sent to its `onEvent`, until it ends or the feed is returned. */
export function listenFor(
  { events, logger }: HandleParts,
  pool: string,
  { id, onEvent }: Pick<SubmitOptions, "id" | "onEvent">,
  pending: PendingResult | undefined,
): EventFeed | undefined {
  if (onEvent === undefined || id === undefined || pending === undefined) return undefined;
  const feed = events?.(pool, { id, pending, onEnd: () => undefined });
  if (feed !== undefined) void handOver(feed, onEvent, logger);
  return feed;
}

/** Ends with the task. What a callback throws is logged and goes no further. */
async function handOver(
  feed: EventFeed,
  onEvent: NonNullable<SubmitOptions["onEvent"]>,
  logger: Logger,
): Promise<void> {
  try {
    for await (const event of feed) {
      try {
        onEvent(event);
      } catch (error) {
        logger.error({ err: error, task: event.id }, "onEvent of a task failed");
      }
    }
  } catch (error) {
    logger.debug({ err: error }, "the events of a task are not heard any more");
  }
}
