/** Errors of nats.js and of the JetStream API in terms of the catalogue. */
import {
  AuthorizationError,
  ClosedConnectionError,
  DrainingConnectionError,
  errors,
  InvalidArgumentError,
  NoRespondersError,
  PermissionViolationError,
  RequestError,
  TimeoutError,
  UserAuthenticationExpiredError,
} from "@nats-io/transport-node";
import { type ErrorCode, VgasError } from "../protocols/errors.ts";

/** JetStream API error codes that are told apart. The names are the server's. */
export const API = {
  /** Fewer servers of a cluster are known than copies are wanted: while they start, that passes. */
  noSuitablePeers: 10_005,
  clusterNotAvailable: 10_008,
  insufficientResources: 10_023,
  accountResources: 10_002,
  consumerNotFound: 10_014,
  noMessage: 10_037,
  notEnabledForAccount: 10_039,
  storageResources: 10_047,
  messageTooLarge: 10_054,
  streamNameInUse: 10_058,
  streamNotFound: 10_059,
  subjectsOverlap: 10_065,
  wrongLastSequence: 10_071,
  replicasUnsupported: 10_074,
  notEnabled: 10_076,
  storeFailed: 10_077,
  consumerExists: 10_148,
  /** A message with the same id is on its way into the copies of a cluster: whether it gets there is not known yet. */
  duplicateInProcess: 10_158,
  wrongLastSequenceConstant: 10_164,
  tooManyRequests: 10_167,
  batchesDisabled: 10_174,
  /** Also a server of 2.12.0 for a message id: it takes batches only without. */
  batchHeaderUnsupported: 10_177,
  fastBatchesDisabled: 10_205,
} as const;

/** The catalogue's code for a JetStream API error. */
export function apiErrorCode(apiCode: number): ErrorCode {
  switch (apiCode) {
    case API.wrongLastSequence:
    case API.wrongLastSequenceConstant:
      return "CONFLICT";
    case API.storeFailed:
    case API.insufficientResources:
    case API.accountResources:
    case API.storageResources:
      return "STREAM_FULL";
    case API.messageTooLarge:
      return "TOO_LARGE";
    case API.streamNotFound:
    case API.consumerNotFound:
    case API.noMessage:
      return "NOT_FOUND";
    case API.clusterNotAvailable:
    case API.noSuitablePeers:
      return "NO_SWARM";
    case API.duplicateInProcess:
      return "TIMEOUT";
    case API.notEnabled:
    case API.notEnabledForAccount:
    case API.replicasUnsupported:
      return "CONFIG";
    default:
      return "INTERNAL";
  }
}

/** An error of `publish` or `subscribe`, thrown before anything reached the connection. */
export function callError(subject: string, cause: unknown): VgasError {
  if (cause instanceof VgasError) return cause;
  if (cause instanceof ClosedConnectionError || cause instanceof DrainingConnectionError) {
    return new VgasError("SHUTTING_DOWN", "the connection to NATS is closed", { cause });
  }
  if (cause instanceof InvalidArgumentError && cause.message.includes("max_payload")) {
    return new VgasError("TOO_LARGE", `the message for ${subject} is larger than the server takes`, { cause });
  }
  return new VgasError("INVALID", `cannot use subject ${JSON.stringify(subject)}: ${describe(cause)}`, { cause });
}

/** An error that a connection ended with, or that the server reported. */
export function connectionError(cause: unknown): Error {
  if (cause instanceof AuthorizationError || cause instanceof UserAuthenticationExpiredError) {
    return new VgasError("PERMISSION_DENIED", `NATS refused the credential: ${cause.message}`, { cause });
  }
  return cause instanceof Error ? cause : new Error(describe(cause));
}

/** An error of a request that nats.js made for us. */
export function requestError(operation: string, cause: unknown): VgasError {
  if (cause instanceof VgasError) return cause;
  const inner = cause instanceof RequestError && cause.cause !== undefined ? cause.cause : cause;
  if (inner instanceof TimeoutError) return new VgasError("TIMEOUT", `${operation} timed out`, { cause });
  if (inner instanceof NoRespondersError)
    return new VgasError("UNDELIVERABLE", `${operation}: nobody answers`, { cause });
  if (inner instanceof PermissionViolationError) {
    return new VgasError("PERMISSION_DENIED", `${operation}: the credential does not open ${inner.subject}`, { cause });
  }
  if (inner instanceof ClosedConnectionError || inner instanceof errors.DrainingConnectionError) {
    return new VgasError("SHUTTING_DOWN", `${operation}: the connection to NATS is closed`, { cause });
  }
  return new VgasError("INTERNAL", `${operation}: ${describe(inner)}`, { cause });
}

function describe(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
