/** The nats-server that tests start, and a port for it. Needs no vitest. */
import { once } from "node:events";
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

/** A port that nobody listens on now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  server.close();
  await once(server, "close");
  return address.port;
}
