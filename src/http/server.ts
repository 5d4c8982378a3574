/**
 * The HTTP port of a node: whether it runs, whether it is ready, what it counts, how the swarm does, and, with `lan`, the door by which other machines join.
 *
 * Owns the listening socket, its connections, and the certificate that new connections are shown.
 *
 * Invariants
 * 1. Without `lan` it listens on loopback only, and speaks no TLS.
 * 2. With `lan` one port takes both: the first byte of a connection tells TLS from plain HTTP. Plain HTTP is for this machine
 *    only; from beyond it is told to use HTTPS, and nothing else.
 * 3. No request and no connection, whatever it sends or fails to send, ends the process or outlives its deadline.
 * 4. A new certificate changes no connection that is open.
 */
import { createServer as createRequestServer } from "node:http";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { createSecureContext, type SecureContext, TLSSocket } from "node:tls";
import { VgasError } from "../protocols/errors.ts";
import type { Logger } from "../protocols/logger.ts";
import { hangUp } from "./answers.ts";
import { type Connection, type ConnectionLimits, Connections } from "./connections.ts";
import { type Door, handle, type Pages, type RequestsOptions } from "./requests.ts";

/** PEM: the server's certificate with its chain, and its key. */
export interface HttpCertificate {
  readonly certificatePem: string;
  readonly keyPem: string;
}

export interface LanAccess extends Partial<Door> {
  readonly certificate: HttpCertificate;
}

export interface HttpOptions extends Pick<RequestsOptions, "state" | "trouble"> {
  /** 0 picks a free one. */
  readonly port: number;
  readonly logger: Logger;
  /** Opens the port to other machines. The door may come later, by `admit`. */
  readonly lan?: LanAccess | undefined;
  /** What a request may take from its connection or the answer before it to its last byte, ms. Default: 5 000. */
  readonly requestTimeoutMs?: number;
  readonly limits?: ConnectionLimits;
}

export interface HttpServer {
  /** For this machine. */
  readonly url: string;
  readonly port: number;
  /** From now on requests to join and tokens are answered. */
  admit(door: Door): void;
  /** From now on the node's pages are shown. */
  show(pages: Pages): void;
  /** Shown to connections that come from now on. @throws VgasError CONFIG if key and certificate do not fit */
  useCertificate(certificate: HttpCertificate): void;
  /** Cuts all connections. Idempotent. */
  stop(): Promise<void>;
}

const LOOPBACK = "127.0.0.1";
const EVERYWHERE = "0.0.0.0";
/** Requests are small; whoever is slower than this is cut off. */
const REQUEST_MS = 5_000;
/** Answering may wait for a disk or for the broker to take a new user. */
const ANSWER_MS = 30_000;
/** Together with the broker's connections below the 1 024 descriptors that a process may have by default. */
const LIMITS: ConnectionLimits = { all: 256, remote: 192, perRemoteAddress: 32 };
const MAX_HEADER_BYTES = 8 * 1024;
/** One connection cannot ask for ever. */
const MAX_REQUESTS = 100;
const TLS_HANDSHAKE = 0x16;
const MIN_TLS = "TLSv1.2";

/** @throws VgasError CONFIG if the port is taken, or if the certificate cannot be used */
export async function startHttp(options: HttpOptions): Promise<HttpServer> {
  const { port, lan, logger, requestTimeoutMs = REQUEST_MS } = options;
  const connections = new Connections(options.limits ?? LIMITS);
  const bySocket = new WeakMap<object, Connection>();
  let context = lan && contextOf(lan.certificate);
  let door = lan?.bearer && lan.join && { bearer: lan.bearer, join: lan.join };
  let pages: Pages | undefined;
  const judging = {
    state: options.state,
    trouble: options.trouble,
    logger,
    door: () => door,
    pages: () => pages,
    isOpen: lan !== undefined,
  };

  const requests = createRequestServer({ maxHeaderSize: MAX_HEADER_BYTES }, (request, response) => {
    const connection = bySocket.get(request.socket);
    if (connection === undefined) {
      request.socket.destroy();
      return;
    }
    // The rest of a request that was answered early ends after the answer.
    request.once("end", () => {
      if (!response.writableEnded) connection.deadline(ANSWER_MS);
    });
    response.once("finish", () => connection.deadline(requestTimeoutMs));
    void handle(judging, connection, request, response);
  });
  requests.maxRequestsPerSocket = MAX_REQUESTS;
  requests.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    if (error.code === "HPE_HEADER_OVERFLOW") {
      hangUp(socket, 431, "TOO_LARGE", `the headers of a request have at most ${MAX_HEADER_BYTES} bytes`);
    } else if (error.code?.startsWith("HPE_")) hangUp(socket, 400, "INVALID", "this is no HTTP request");
    else socket.destroy();
  });

  const listener = createServer((socket) => {
    const connection = connections.take(socket);
    if (connection === undefined) return;
    connection.deadline(requestTimeoutMs);
    const speak = (speaker: Socket): void => {
      bySocket.set(speaker, connection);
      requests.emit("connection", speaker);
    };
    if (context === undefined) speak(socket);
    else sniff(socket, (first) => route(first, connection, context, speak));
  });
  await listen(listener, port, lan === undefined ? LOOPBACK : EVERYWHERE);
  listener.on("error", (error) => logger.error({ error: String(error) }, "the HTTP server failed"));
  const bound = (listener.address() as AddressInfo).port;
  let stopping: Promise<void> | undefined;
  return {
    url: `http://${LOOPBACK}:${bound}`,
    port: bound,
    admit: (opened) => {
      door = opened;
    },
    show: (shown) => {
      pages = shown;
    },
    useCertificate: (certificate) => {
      context = contextOf(certificate);
    },
    stop: () => {
      stopping ??= new Promise((resolve) => {
        listener.close(() => resolve());
        connections.destroyAll();
      });
      return stopping;
    },
  };
}

/** Calls `onFirst` with the first byte, which is still there to be read. Nothing if the peer closes before it. */
function sniff(socket: Socket, onFirst: (byte: number) => void): void {
  socket.once("readable", () => {
    const chunk = socket.read() as Buffer | null;
    if (chunk === null) {
      socket.destroy();
      return;
    }
    socket.unshift(chunk);
    onFirst(chunk[0] as number);
  });
}

function route(
  first: number,
  { socket, isLoopback }: Connection,
  context: SecureContext | undefined,
  speak: (speaker: Socket) => void,
): void {
  if (first === TLS_HANDSHAKE && context !== undefined) {
    const secure = new TLSSocket(socket, { isServer: true, secureContext: context, requestCert: false });
    secure.on("error", () => socket.destroy());
    secure.once("close", () => socket.destroy());
    speak(secure);
  } else if (isLoopback) speak(socket);
  else {
    hangUp(socket, 400, "INVALID", "from another machine this port speaks HTTPS only");
    // What is not read would make the close a reset, and the answer might be lost.
    socket.resume();
  }
}

/** @throws VgasError CONFIG */
function contextOf({ certificatePem, keyPem }: HttpCertificate): SecureContext {
  try {
    return createSecureContext({ cert: certificatePem, key: keyPem, minVersion: MIN_TLS });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new VgasError("CONFIG", `the server's certificate cannot be used: ${why}`, { cause });
  }
}

function listen(server: ReturnType<typeof createServer>, port: number, host: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void => {
      const why = error.code === "EADDRINUSE" ? "is taken by another process" : `cannot be used (${error.message})`;
      const remedy = "stop what uses it, or give --http-port N (0 picks a free one)";
      reject(new VgasError("CONFIG", `HTTP port ${port} ${why}; ${remedy}`, { cause: error }));
    };
    server.once("error", failed);
    server.listen(port, host, () => {
      server.off("error", failed);
      resolve();
    });
  });
}
