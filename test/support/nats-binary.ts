/** The nats-server that tests start, and a port for it. Needs no vitest. */
import { randomInt } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The binary that the project uses: VGAS_NATS_SERVER, what scripts/setup brought, or the one on PATH. */
export function findNatsServer(): string {
  const fromEnvironment = process.env["VGAS_NATS_SERVER"];
  if (fromEnvironment) return fromEnvironment;
  const record = fileURLToPath(new URL("../../.cache/nats-server.json", import.meta.url));
  if (existsSync(record)) {
    const { path } = JSON.parse(readFileSync(record, "utf8")) as { path: string };
    if (existsSync(path)) return path;
  }
  for (const dir of (process.env["PATH"] ?? "").split(delimiter)) {
    const path = join(dir, "nats-server");
    if (dir !== "" && existsSync(path)) return path;
  }
  throw new Error("no nats-server: run `npm run setup`, or set VGAS_NATS_SERVER");
}

/**
 * Ports that neither the system hands out by itself (Linux begins at 32 768) nor a broker of a home picks (from 20 000 on), and of those some of
 * this process's own: so nobody takes one between the look and its use, nor while what listened there is started again.
 */
const LOWEST_PORT = 10_000;
const PROCESSES = 100;
const PORTS_OF_PROCESS = 100;

let nextPort = randomInt(PORTS_OF_PROCESS);

/** A port that nobody listens on now, and that nobody else takes. */
export async function freePort(): Promise<number> {
  for (;;) {
    const own = nextPort++ % PORTS_OF_PROCESS;
    const port = LOWEST_PORT + (process.pid % PROCESSES) * PORTS_OF_PROCESS + own;
    if (await isFree(port)) return port;
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return await new Promise((resolve) => {
    server.once("error", () => resolve(false));
    server.listen({ host: "127.0.0.1", port, exclusive: true }, () => server.close(() => resolve(true)));
  });
}
