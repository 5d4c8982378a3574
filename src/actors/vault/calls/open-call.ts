/** What it takes to make a brokered call, and what is said of it when it is over. */
import type { Clock } from "../../../protocols/clock.ts";
import { VgasError } from "../../../protocols/errors.ts";
import type { Logger } from "../../../protocols/logger.ts";
import type { ResolvedKeySettings, Usage } from "../../../protocols/vault/keys.ts";
import type { Connections } from "./exchange.ts";
import { checkUrl, type Lookup } from "./guard.ts";
import { type CallHeaders, checkPlain, declaredLength, type OutgoingHeaders } from "./headers.ts";
import type { CallLimits } from "./limits.ts";

/** Takes the answer's bytes, decoded, to find out what they say of tokens. */
export interface CallMeter {
  push(piece: Uint8Array): void;
}

export interface CallOutcome {
  /** HTTP status, if there was an answer. */
  readonly status?: number;
  /** Why the call did not come to its end. */
  readonly error?: VgasError;
  /** Of the bodies; the answer's as it was decoded. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** With 429 and 503: when the provider wants to be asked again. */
  readonly retryAfterMs?: number;
}

export interface OpenCall {
  /** Id from `Calls.newId()`; made if left out. */
  readonly id?: string;
  /** User that opens it; nobody else can name it. */
  readonly owner: string;
  readonly method: string;
  readonly url: string;
  readonly headers: Readonly<CallHeaders>;
  /** The whole body, or its first piece. */
  readonly body?: Uint8Array;
  /** Further pieces follow by `write`. */
  readonly more: boolean;
  readonly settings: ResolvedKeySettings;
  /** Copied at once. Its header's value is a string all the same, since node:http takes nothing else. */
  readonly secret: Buffer;
  /** By `clock.now()`: the call ends then, whatever it does. */
  readonly expiresAt: number;
  /** The answer has begun; its body goes to the meter that this gives, if any. */
  readonly onHead: (status: number, headers: Readonly<CallHeaders>) => CallMeter | undefined;
  /** Records the end; the caller learns of it (`done`) once this has resolved. */
  readonly onEnd: (outcome: CallOutcome) => Promise<Usage>;
}

/** What all calls share. */
export interface CallSurroundings {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly lookup: Lookup;
  readonly connections: Connections;
  readonly limits: CallLimits;
}

export interface CallHooks {
  /** It takes up no room any more. */
  closed(): void;
  /** Nobody can ask for it any more. */
  forgotten(): void;
}

/** Methods that would turn the connection into something else, or echo the request. */
const METHODS_REFUSED = new Set(["CONNECT", "TRACE", "TRACK"]);
const METHODS_WITHOUT_BODY = new Set(["GET", "HEAD"]);

interface CheckedCall {
  readonly url: URL;
  /** Length of the whole body, if the agent says it. */
  readonly declaredBytes: number | undefined;
}

/** Throws INVALID or PERMISSION_DENIED for a call that must not be made. */
export function checkCall({
  method,
  url,
  headers,
  settings,
  body,
  more,
}: Pick<OpenCall, "method" | "url" | "headers" | "settings" | "body" | "more">): CheckedCall {
  if (METHODS_REFUSED.has(method)) throw new VgasError("INVALID", `${method} cannot be brokered`);
  if (METHODS_WITHOUT_BODY.has(method) && (body !== undefined || more))
    throw new VgasError("INVALID", `${method} has no body`);
  checkPlain(headers);
  const declaredBytes = declaredLength(headers);
  // What is beyond the length that the provider is told would be another request to it, which nobody has checked.
  const bytes = body?.length ?? 0;
  if (declaredBytes !== undefined && (bytes > declaredBytes || (!more && bytes < declaredBytes)))
    throw new VgasError("INVALID", `the body has ${bytes} bytes, and content-length says ${declaredBytes}`);
  return { url: checkUrl(url, settings), declaredBytes };
}

/** Says how the body is framed; node:http would guess by the method. */
export function frame(headers: OutgoingHeaders, { body, more }: OpenCall, declaredBytes: number | undefined): void {
  if (more && declaredBytes === undefined) headers["transfer-encoding"] = "chunked";
  else if (more) headers["content-length"] = String(declaredBytes);
  else if (body !== undefined) headers["content-length"] = String(body.length);
}
