/** Bounds of brokered calls. */
import { MAX_CALL_BODY_BYTES } from "../../../protocols/vault/operations.ts";

export interface CallLimits {
  /** Most calls at a time, of all and of one user. */
  readonly calls: number;
  readonly callsPerOwner: number;
  /** Of an answer, beyond which the provider is not read from until the agent has read; and of a request's body. */
  readonly bufferBytes: number;
  readonly bodyBytes: number;
  /** How long a read waits for something to answer. */
  readonly waitMs: number;
  /** For resolving the name, connecting and TLS. */
  readonly connectMs: number;
  /** From the request's last piece to the answer's head: a model may think for minutes. */
  readonly headMs: number;
  /** Between two pieces of the answer. */
  readonly idleMs: number;
  /** Since the agent last asked for anything; and how long the end of a call is remembered. */
  readonly unreadMs: number;
}

export const CALL_LIMITS: CallLimits = Object.freeze({
  calls: 1_000,
  callsPerOwner: 64,
  bufferBytes: 512 * 1024,
  bodyBytes: MAX_CALL_BODY_BYTES,
  waitMs: 15_000,
  connectMs: 30_000,
  headMs: 600_000,
  idleMs: 300_000,
  unreadMs: 60_000,
});
