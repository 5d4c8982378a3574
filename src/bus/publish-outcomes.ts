/** What a publish that is not stored ends with, and which refusals say something about the next one. */
import { VgasError } from "../protocols/errors.ts";
import { API } from "./nats-errors.ts";
import { PublishRefused } from "./pub-ack.ts";
import type { PendingPublish } from "./publish-queue.ts";

/** A stream that takes no batches, or not such ones. */
const NO_BATCHES: readonly number[] = [API.batchesDisabled, API.batchHeaderUnsupported, API.fastBatchesDisabled];
const PASSING: readonly number[] = [API.clusterNotAvailable, API.tooManyRequests, API.duplicateInProcess];

/** The stream takes no batches, or none of such messages. */
export function refusesBatches(answer: VgasError | undefined): boolean {
  return answer instanceof PublishRefused && NO_BATCHES.includes(answer.apiCode);
}

/** Refusals that a moment can change. */
export function isPassing(error: VgasError): boolean {
  return error instanceof PublishRefused && PASSING.includes(error.apiCode);
}

export function unknownOutcome(pending: PendingPublish, what: string): VgasError {
  const outcome = pending.sends === 0 ? "it was not sent" : "whether it was stored is unknown";
  return new VgasError("TIMEOUT", `publishing to ${pending.subject} ${what}; ${outcome}`);
}

export function denied(subject: string): VgasError {
  return new VgasError("PERMISSION_DENIED", `the credential does not open ${subject}`);
}

export function shuttingDown(): VgasError {
  return new VgasError("SHUTTING_DOWN", "the publisher is closed");
}
