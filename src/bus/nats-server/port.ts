import { randomInt } from "node:crypto";
import { createServer } from "node:net";
import { VgasError } from "../../protocols/errors.ts";
import { errnoOf } from "../home/files.ts";

/**
 * Ports that no system hands out for outgoing connections (Linux begins at 32 768, others at 49 152). A broker that is
 * restarted on such a port cannot find it taken by a client of its own that was trying to reach it.
 */
const LOWEST = 20_000;
const BEYOND = 32_000;
const TRIES = 100;

const NATS_FLAG = "--nats-port";

/** A free port of `host`. It is free now; whoever uses it must be ready to find it taken. */
export async function pickPort(host: string): Promise<number> {
  for (let attempt = 0; attempt < TRIES; attempt++) {
    const port = randomInt(LOWEST, BEYOND);
    if ((await bindError(host, port)) === undefined) return port;
  }
  throw new VgasError("BROKER_FAILED", `no free port between ${LOWEST} and ${BEYOND} was found on ${host}`);
}

/**
 * `flag` is how another port is given.
 *
 * @throws VgasError CONFIG if nothing can listen there, with who to ask and what to give instead
 */
export async function requirePort(host: string, port: number, flag = NATS_FLAG): Promise<void> {
  const code = await bindError(host, port);
  if (code === "EADDRINUSE") throw portInUse(host, port, flag);
  if (code === "EACCES") throw new VgasError("CONFIG", `port ${port} needs privileges; give another with ${flag}`);
  if (code === "EADDRNOTAVAIL") throw new VgasError("CONFIG", `${host} is no address of this machine`);
  if (code !== undefined) throw new VgasError("CONFIG", `cannot listen on ${host}:${port}: the system says ${code}`);
}

export function portInUse(host: string, port: number, flag = NATS_FLAG): VgasError {
  const ask = process.platform === "linux" ? `ss -ltnp 'sport = :${port}'` : `lsof -nP -iTCP:${port} -sTCP:LISTEN`;
  return new VgasError(
    "CONFIG",
    `port ${port} of ${host} is in use (\`${ask}\` tells by whom); stop that, or give ${flag} N, where 0 picks a free one`,
  );
}

/** Why that port cannot be listened on, or undefined if it can. */
async function bindError(host: string, port: number): Promise<string | undefined> {
  return await new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error) => resolve(errnoOf(error) ?? "an unknown error"));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}
