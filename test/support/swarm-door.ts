/** A swarm's door as joiners meet it: a home, its authority, and an HTTPS server in front of its AdmissionDoor. */
import { once } from "node:events";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";
import type { Candidate } from "../../src/admission/candidates.ts";
import { AdmissionDoor } from "../../src/admission/door.ts";
import { parseToken, type Token } from "../../src/admission/token.ts";
import { TokenStore } from "../../src/admission/token-store.ts";
import { type Authority, ensureAuthority } from "../../src/bus/certificates/authority.ts";
import { ensureServerCertificate } from "../../src/bus/certificates/server-certificate.ts";
import type { Home } from "../../src/bus/home/home.ts";
import { type Clock, systemClock } from "../../src/protocols/clock.ts";
import type { AdmissionRole } from "../../src/protocols/roles.ts";
import { temporaryHome } from "./home.ts";
import { RecordingLogger } from "./recording-logger.ts";

export const NATS_PORT = 4333;

export interface SwarmDoor {
  readonly home: Home;
  readonly authority: Authority;
  readonly logger: RecordingLogger;
  readonly tokens: TokenStore;
  door: AdmissionDoor;
  /** As mDNS tells of it. */
  candidate(): Candidate;
  readonly port: number;
  /** Paths asked for so far. */
  readonly asked: string[];
  /** May answer instead of the door: undefined leaves it to the door, "hang up" cuts the connection after the door answered. */
  intercept: (path: string) => "hang up" | undefined;
  token(options?: Partial<{ role: AdmissionRole; ttlMs: number; uses: number; name: string }>): Promise<Token>;
  /** Codes of the refusals in the log, in order. */
  refusals(): readonly unknown[];
  /** Another door on the same home, as after a restart of the master. */
  restart(): void;
  stop(): Promise<void>;
}

export async function startSwarmDoor(clock: Clock = systemClock): Promise<SwarmDoor> {
  const home = await temporaryHome();
  await home.credentials.prepare();
  const authority = await ensureAuthority(home.layout);
  const certificate = await ensureServerCertificate(home.layout, { names: [], addresses: [] });
  const logger = new RecordingLogger();
  const makeDoor = (): AdmissionDoor =>
    new AdmissionDoor({ home, authority, clock, logger, natsPort: () => NATS_PORT });
  const server = createServer({ key: certificate.keyPem, cert: certificate.certificatePem });
  const tokens = new TokenStore(home.layout, clock);
  const swarm: SwarmDoor = {
    ...{ home, authority, logger, tokens, asked: [] },
    door: makeDoor(),
    intercept: () => undefined,
    port: await listen(server),
    candidate: () => ({
      id: home.hostId,
      swarmId: authority.swarmId,
      pinPrefix: authority.pin.slice(0, 16),
      addresses: ["127.0.0.1"],
      port: swarm.port,
      natsPort: NATS_PORT,
      source: "mdns",
    }),
    token: async (options = {}) => {
      const request = { role: "worker", ttlMs: 60_000, uses: 1, name: undefined, ...options } as const;
      return parseToken((await tokens.create(authority, request)).line);
    },
    refusals: () => logger.lines.flatMap(({ fields }) => ("code" in fields ? [fields.code] : [])),
    restart: () => {
      swarm.door.stop();
      swarm.door = makeDoor();
    },
    stop: async () => {
      swarm.door.stop();
      server.closeAllConnections();
      if (server.listening) await new Promise((resolve) => server.close(resolve));
    },
  };
  server.on("request", (request, response) => {
    const path = request.url ?? "";
    swarm.asked.push(path);
    const parts: Buffer[] = [];
    request.on("data", (part: Buffer) => parts.push(part));
    request.on("end", () => {
      const address = request.socket.remoteAddress ?? "";
      void swarm.door.handle({ path, body: Buffer.concat(parts), address }).then(({ status, body }) => {
        if (swarm.intercept(path) === "hang up") request.socket.destroy();
        else response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
      });
    });
  });
  onTestFinished(swarm.stop);
  return swarm;
}

async function listen(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}
