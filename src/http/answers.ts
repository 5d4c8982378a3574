/** Answers of the HTTP port, JSON but for the metrics, and the form of its errors. */
import type { ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import { type ErrorCode, VgasError } from "../protocols/errors.ts";

export interface Answer {
  readonly status: number;
  /** JSON; a text is sent as it is, with the content type that `headers` name. */
  readonly body: object | string;
  readonly headers?: Readonly<Record<string, string>>;
  /** The connection ends with it, for what the peer still sends is not read. */
  readonly last?: boolean;
}

export function answer(response: ServerResponse, { status, body, headers, last = false }: Answer): void {
  response
    .writeHead(status, {
      "content-type": "application/json",
      "cache-control": "no-store",
      ...headers,
      ...(last && { connection: "close" }),
    })
    .end(typeof body === "string" ? body : `${JSON.stringify(body)}\n`);
}

export function errorAnswer(status: number, error: VgasError, more: Partial<Answer> = {}): Answer {
  const { code, message, retryable } = error;
  return { status, body: { error: { code, message, retryable } }, ...more };
}

export function refusal(status: number, code: ErrorCode, message: string, more: Partial<Answer> = {}): Answer {
  return errorAnswer(status, new VgasError(code, message), more);
}

const REASONS: Readonly<Record<number, string>> = {
  400: "Bad Request",
  408: "Request Timeout",
  431: "Request Header Fields Too Large",
};

/** Says why to a peer whose request could not be read as one, and hangs up. */
export function hangUp(socket: Duplex, status: number, code: ErrorCode, message: string): void {
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const body = `${JSON.stringify(errorAnswer(status, new VgasError(code, message)).body)}\n`;
  const head = [
    `HTTP/1.1 ${status} ${REASONS[status] ?? "Error"}`,
    "content-type: application/json",
    `content-length: ${Buffer.byteLength(body)}`,
    "connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`, () => socket.destroy());
}
