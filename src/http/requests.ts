/**
 * What the HTTP port answers.
 *
 * | path | who | answer |
 * |---|---|---|
 * | GET /healthz | everybody | 200: the process runs |
 * | GET /readyz | this machine, and who shows a token | 200 if the node has started, is connected, and its broker stores what it is sent; else 503 |
 * | GET /metrics | this machine, and who shows a token | the node's metrics, text format of Prometheus |
 * | GET /api/status | this machine, and who shows a token | the state of the swarm, or of the node and why no more |
 * | POST /join/… | everybody | what the door of the swarm says (src/admission) |
 *
 * Beyond loopback everything else asks for `Authorization: Bearer <token line>`, also what is not there. Tokens are never logged.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { BusState } from "../bus/bus.ts";
import { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";
import { type Answer, answer, errorAnswer, refusal } from "./answers.ts";
import type { Connection } from "./connections.ts";

/** Who lets nodes and readers in; both never reject. */
export interface Door {
  /** Undefined lets the holder of that token read. */
  readonly bearer: (token: string) => Promise<VgasError | undefined>;
  /** `path` begins with `/join/`. */
  readonly join: (request: {
    readonly path: string;
    readonly body: Uint8Array;
    readonly address: string;
  }) => Promise<{ readonly status: number; readonly body: object }>;
}

/** What a node that runs shows; each is kept for a moment, so that asking often is cheap. */
export interface Pages {
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>;
  readonly status: () => Promise<object>;
}

export interface RequestsOptions {
  /** State of the node's connection while the node takes tasks; `starting` before, `stopping` after. */
  readonly state: () => BusState | "starting" | "stopping";
  /** Why nothing can be stored through this node's broker now; undefined if it can, or if the node has none. */
  readonly trouble?: (() => string | undefined) | undefined;
  readonly logger: Logger;
  /** Undefined as long as there is none. */
  readonly door: () => Door | undefined;
  /** Undefined until the node has started. */
  readonly pages: () => Pages | undefined;
  /** The port is open to other machines, so there is a door, or will be. */
  readonly isOpen: boolean;
}

/** Largest body of a request to join, bytes. */
const MAX_BODY_BYTES = 8 * 1024;
/** So much is read of a body that is too large, so that its sender reads the refusal instead of a broken connection. */
const MAX_READ_BYTES = 64 * 1024;
const JOIN = "/join/";
/** Scheme and token of an `Authorization` header; a token line has about 130 characters. */
const BEARER = /^bearer +([!-~]{1,512})$/i;
const CHALLENGE = 'Bearer realm="vgas"';

/** Answers one request. Never rejects. */
export async function handle(
  options: RequestsOptions,
  connection: Connection,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  let said: Answer;
  try {
    said = await judge(options, connection, request);
  } catch (error) {
    // The peer hung up while its request was being read: there is nobody to answer.
    if (request.destroyed && !request.complete) return;
    options.logger.error({ error: String(error) }, "an HTTP request failed");
    said = refusal(500, "INTERNAL", "the node failed to answer; its log says why", { last: true });
  }
  if (!response.headersSent && !response.destroyed) answer(response, said);
}

async function judge(options: RequestsOptions, connection: Connection, request: IncomingMessage): Promise<Answer> {
  const path = (request.url ?? "").split("?")[0] ?? "";
  if (options.isOpen && path.startsWith(JOIN)) return await join(options, connection, request, path);
  const isRead = request.method === "GET" || request.method === "HEAD";
  if (path === "/healthz" && isRead) return { status: 200, body: { status: "ok" } };
  if (!connection.isLoopback) {
    const refused = await unauthorized(options, request);
    if (refused !== undefined) return refused;
  }
  if (!isRead) {
    return refusal(405, "INVALID", "only GET and HEAD", { headers: { allow: "GET, HEAD" }, last: true });
  }
  if (path === "/readyz") {
    const bus = options.state();
    const trouble = options.trouble?.();
    const ready = bus === "connected" && trouble === undefined;
    const status = ready ? "ready" : "not ready";
    return { status: ready ? 200 : 503, body: { status, bus, ...(trouble !== undefined && { trouble }) } };
  }
  if (path === "/metrics" || path === "/api/status") return await page(options, path);
  return refusal(404, "NOT_FOUND", "there are /healthz, /readyz, /metrics and /api/status");
}

async function page({ pages }: RequestsOptions, path: "/metrics" | "/api/status"): Promise<Answer> {
  const shown = pages();
  if (shown === undefined) {
    const message = "the node has not started yet; try again in a moment";
    return errorAnswer(503, new VgasError("NO_SWARM", message), { headers: { "retry-after": "1" } });
  }
  if (path === "/api/status") return { status: 200, body: await shown.status() };
  const { contentType, text } = await shown.metrics();
  return { status: 200, body: text, headers: { "content-type": contentType } };
}

async function join(
  { door, logger }: RequestsOptions,
  { address }: Connection,
  request: IncomingMessage,
  path: string,
): Promise<Answer> {
  if (request.method !== "POST") {
    return refusal(405, "INVALID", "only POST", { headers: { allow: "POST" }, last: true });
  }
  const body = await readBody(request);
  if (body === undefined) {
    return refusal(413, "TOO_LARGE", `the body of a request has at most ${MAX_BODY_BYTES} bytes`, { last: true });
  }
  const open = door();
  if (open === undefined) return notYet();
  const said = await open.join({ path, body, address });
  logger.debug({ path, address, status: said.status }, "a request to join was answered");
  return said;
}

async function unauthorized({ door }: RequestsOptions, request: IncomingMessage): Promise<Answer | undefined> {
  const token = BEARER.exec(request.headers.authorization ?? "")?.[1];
  if (token === undefined) {
    const message =
      "from another machine this asks for `Authorization: Bearer <token>`, as `vgas token create --http` prints";
    return refusal(401, "PERMISSION_DENIED", message, { headers: { "www-authenticate": CHALLENGE }, last: true });
  }
  const open = door();
  if (open === undefined) return notYet();
  const error = await open.bearer(token);
  if (error === undefined) return undefined;
  const headers = { "www-authenticate": `${CHALLENGE}, error="invalid_token"` };
  return errorAnswer(401, error, { headers, last: true });
}

function notYet(): Answer {
  const message = "the node has not opened its door yet; try again in a moment";
  return errorAnswer(503, new VgasError("NO_SWARM", message), { headers: { "retry-after": "1" }, last: true });
}

/** Undefined if it is too large. */
async function readBody(request: IncomingMessage): Promise<Uint8Array | undefined> {
  return await new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let bytes = 0;
    request.on("data", (piece: Buffer) => {
      bytes += piece.length;
      if (bytes <= MAX_BODY_BYTES) pieces.push(piece);
      else if (bytes > MAX_READ_BYTES) {
        request.pause();
        resolve(undefined);
      }
    });
    request.once("end", () => resolve(bytes > MAX_BODY_BYTES ? undefined : Buffer.concat(pieces)));
    request.once("error", reject);
    request.once("close", () => reject(new Error("the request ended early")));
  });
}
