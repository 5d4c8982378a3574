/** Headers of a message, encoded once: a publish that is repeated sends the same bytes. */
import { MsgHdrsImpl } from "@nats-io/transport-node";
import { VgasError } from "../protocols/errors.ts";

export type HeaderRecord = Readonly<Record<string, string>>;

/** What `Bus.publish` takes: a record, or one that was encoded before with `encodeHeaders`. */
export class EncodedHeaders extends MsgHdrsImpl {
  #bytes: Uint8Array | undefined;

  override encode(): Uint8Array {
    this.#bytes ??= super.encode();
    return this.#bytes;
  }

  get byteLength(): number {
    return this.encode().length;
  }

  /** The bytes of these headers with further lines, each `Name: value` and CRLF: for what nobody reads here, and is sent once. */
  static extended(headers: EncodedHeaders | undefined, lines: string): EncodedHeaders {
    const extended = new EncodedHeaders();
    extended.#bytes =
      headers === undefined
        ? Buffer.from(FIRST_LINE + lines + END, "latin1")
        : Buffer.concat([headers.encode().subarray(0, -END.length), Buffer.from(lines + END, "latin1")]);
    return extended;
  }
}

const END = "\r\n";
const FIRST_LINE = `NATS/1.0${END}`;

/**
 * Checks and encodes. Uses `append`, which refuses CR and LF; `fromRecord` would let a value start a header of its own.
 *
 * @throws VgasError INVALID for a name or value that no header can hold
 */
export function encodeHeaders(headers: HeaderRecord | EncodedHeaders): EncodedHeaders {
  if (headers instanceof EncodedHeaders) return headers;
  const encoded = new EncodedHeaders();
  for (const name in headers) {
    try {
      encoded.append(name, headers[name] ?? "");
    } catch (cause) {
      throw new VgasError("INVALID", `header ${JSON.stringify(name)} holds a character that headers cannot carry`, {
        cause,
      });
    }
  }
  return encoded;
}

/**
 * Headers that begin with a NATS status, as the server answers a read that finds nothing.
 *
 * @param description not empty: without one the status would be left out
 */
export function statusHeaders(status: number, description: string): EncodedHeaders {
  return new EncodedHeaders(status, description);
}
