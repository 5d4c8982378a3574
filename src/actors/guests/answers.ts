/** Answers to guests, as JetStream would give them: any client library reads them. */
import { API } from "../../bus/nats-errors.ts";
import { type PubAck, PublishRefused } from "../../bus/publisher.ts";
import { STORED_HEADERS, type StoredMessage } from "../../bus/stored.ts";
import type { VgasError } from "../../protocols/errors.ts";
import { QuotaExceeded } from "./quota.ts";

/** Of the server's own errors: "bad request". */
const BAD_REQUEST = 10_003;

const encoder = new TextEncoder();

/** The acknowledgement of a publish. */
export function ackOf({ stream, sequence, duplicate }: PubAck): Uint8Array {
  return json({ stream, seq: sequence, ...(duplicate && { duplicate }) });
}

/** The refusal of a publish. Its description begins with the code of vgas, for clients that know them. */
export function refusalOf(error: VgasError): Uint8Array {
  return json({ error: { ...codesOf(error), description: `${error.code}: ${error.message}` } });
}

/** A stored message as a direct get has it. */
export function headersOfStored(message: StoredMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const name of STORED_HEADERS) {
    const value = message.header(name);
    if (value !== undefined) headers[name] = value;
  }
  return headers;
}

function codesOf(error: VgasError): { readonly code: number; readonly err_code: number } {
  if (error instanceof PublishRefused) return { code: 503, err_code: error.apiCode };
  if (error.code === "INVALID") return { code: 400, err_code: BAD_REQUEST };
  if (error.code === "TOO_LARGE") return { code: 400, err_code: API.messageTooLarge };
  // As a stream that is full: it is told, for it can last.
  if (error instanceof QuotaExceeded) return { code: 429, err_code: API.storeFailed };
  // Client libraries that know this one try again.
  if (error.code === "RESOURCE_LIMIT") return { code: 429, err_code: API.tooManyRequests };
  return { code: 503, err_code: API.clusterNotAvailable };
}

function json(value: object): Uint8Array {
  return encoder.encode(JSON.stringify(value));
}
