import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Certificates } from "./certificates.ts";

export interface HttpServer extends AsyncDisposable {
  readonly port: number;
  readonly origin: string;
  /** Connections that were made to it. */
  readonly connections: ReadonlySet<Socket>;
  close(): Promise<void>;
}

/** A server on a free port of 127.0.0.1, or of `host`. */
export async function serve(
  listener: RequestListener,
  { host = "127.0.0.1", port = 0, tls }: { host?: string; port?: number; tls?: Certificates } = {},
): Promise<HttpServer> {
  const server =
    tls === undefined ? createServer(listener) : createSecureServer({ key: tls.key, cert: tls.cert }, listener);
  const connections = new Set<Socket>();
  server.on("connection", (socket: Socket) => connections.add(socket));
  server.listen(port, host);
  await once(server, "listening");
  const bound = (server.address() as AddressInfo).port;
  const close = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  };
  return {
    port: bound,
    origin: `http${tls === undefined ? "" : "s"}://${host}:${bound}`,
    connections,
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** The body of a request. */
export async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}
