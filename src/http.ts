/** The HTTP port of a node: `/healthz` (the process runs) and `/readyz` (it has started and is connected). Loopback only. */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { BusState } from "./bus/bus.ts";
import { VgasError } from "./protocols/errors.ts";
import type { Logger } from "./protocols/logger.ts";

export interface HttpOptions {
  /** 0 picks a free one. */
  readonly port: number;
  /** State of the node's connection while the node takes tasks; `starting` before, `stopping` after. */
  readonly state: () => BusState | "starting" | "stopping";
  readonly logger: Logger;
}

export interface HttpServer {
  readonly url: string;
  stop(): Promise<void>;
}

/** Requests are small and answered at once; whoever is slower than this is cut off, ms. */
const REQUEST_MS = 5_000;
const HOST = "127.0.0.1";

/** @throws VgasError CONFIG if the port is taken */
export async function startHttp({ port, state, logger }: HttpOptions): Promise<HttpServer> {
  const server = createServer({ requestTimeout: REQUEST_MS, headersTimeout: REQUEST_MS }, (request, response) => {
    const path = (request.url ?? "").split("?")[0];
    if (request.method !== "GET" && request.method !== "HEAD")
      return answer(response, 405, { error: "only GET and HEAD" });
    if (path === "/healthz") return answer(response, 200, { status: "ok" });
    if (path === "/readyz") {
      const bus = state();
      const ready = bus === "connected";
      return answer(response, ready ? 200 : 503, { status: ready ? "ready" : "not ready", bus });
    }
    return answer(response, 404, { error: "not found; there are /healthz and /readyz" });
  });
  server.on("clientError", (_error, socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const why = error.code === "EADDRINUSE" ? "is taken by another process" : `cannot be used (${error.message})`;
      reject(
        new VgasError(
          "CONFIG",
          `HTTP port ${port} ${why}; stop what uses it, or give --http-port N (0 picks a free one)`,
          { cause: error },
        ),
      );
    });
    server.listen(port, HOST, resolve);
  });
  server.on("error", (error) => logger.error({ error: String(error) }, "the HTTP server failed"));
  const bound = (server.address() as AddressInfo).port;
  return {
    url: `http://${HOST}:${bound}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function answer(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/json" }).end(`${JSON.stringify(body)}\n`);
}
