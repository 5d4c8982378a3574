/** Homes that enrol, the candidates that they are told of, and doors that say what is not so. */
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { onTestFinished, vi } from "vitest";
import {
  type Candidate,
  type CandidateSource,
  type EnrolEvent,
  type EnrolOptions,
  enrol,
} from "../../src/admission/enrol.ts";
import type { Membership } from "../../src/bus/home/membership.ts";
import { type Clock, systemClock } from "../../src/protocols/clock.ts";
import { silentLogger } from "../../src/protocols/logger.ts";
import { temporaryHome } from "./home.ts";
import { NATS_PORT, type SwarmDoor } from "./swarm-door.ts";

/** Pauses are a fiftieth of what they are meant to be, and as long by this clock. */
export const FAST: Clock = {
  ...systemClock,
  monotonic: () => systemClock.monotonic() * 50,
  setTimeout: (callback, delayMs) => systemClock.setTimeout(callback, delayMs / 50),
};

/** Candidates that a test announces when it likes. */
export class Announced implements CandidateSource {
  readonly #watchers = new Set<(candidate: Candidate) => void>();
  readonly #known: Candidate[] = [];

  constructor(...known: readonly Candidate[]) {
    this.#known.push(...known);
  }

  watch(onCandidate: (candidate: Candidate) => void): () => void {
    this.#watchers.add(onCandidate);
    for (const each of this.#known) onCandidate(each);
    return () => this.#watchers.delete(onCandidate);
  }

  get watchers(): number {
    return this.#watchers.size;
  }

  announce(candidate: Candidate): void {
    this.#known.push(candidate);
    for (const watcher of this.#watchers) watcher(candidate);
  }
}

export interface Tried {
  readonly events: EnrolEvent[];
  /** Resolves with the first event of that type. */
  seen(type: EnrolEvent["type"]): Promise<EnrolEvent>;
  readonly end: Promise<Membership>;
  /** What it ends with, if not as a member. */
  readonly code: Promise<string | undefined>;
  readonly options: EnrolOptions;
}

export async function start(options: Partial<EnrolOptions>): Promise<Tried> {
  const home = options.home ?? (await temporaryHome());
  const events: EnrolEvent[] = [];
  const waiting = new Map<string, ((event: EnrolEvent) => void)[]>();
  const whole: EnrolOptions = {
    ...{ home, role: "worker", sources: [], clock: FAST, logger: silentLogger, random: () => 0 },
    signal: new AbortController().signal,
    onProgress: (event) => {
      events.push(event);
      for (const tell of waiting.get(event.type) ?? []) tell(event);
    },
    ...options,
  };
  const end = enrol(whole);
  const code = end.then(
    () => undefined,
    (error: { code?: string }) => error.code,
  );
  return {
    events,
    options: whole,
    end,
    code,
    seen: (type) =>
      new Promise((resolve) => {
        const before = events.find((event) => event.type === type);
        if (before) resolve(before);
        else waiting.set(type, [...(waiting.get(type) ?? []), resolve]);
      }),
  };
}

/** Port of a server that speaks no TLS. */
export async function deadEnd(): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    socket.end("HTTP/1.1 400 Bad Request\r\n\r\n");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

/** Lets the door admit whoever asks at `path`, with `more` beside or instead of what it says then. */
export function answer({ door, authority }: SwarmDoor, path: string, more: object): void {
  const handle = door.handle.bind(door);
  let user = "";
  vi.spyOn(door, "handle").mockImplementation(async (request) => {
    if (request.path === "/join/hello")
      user = (JSON.parse(Buffer.from(request.body).toString()) as { user: string }).user;
    if (request.path !== path) return await handle(request);
    const { swarmId, serverName } = authority;
    const facts = { swarmId, serverName, prefix: "vgas", user, role: "worker", natsPort: NATS_PORT };
    return { status: 200, body: { v: 1, state: "admitted", ...facts, ...more } };
  });
}

/** What a machine can say of itself that is not so. */
export function pick({ swarmId, pinPrefix }: Candidate): Pick<Candidate, "swarmId" | "pinPrefix"> {
  return { ...(swarmId !== undefined && { swarmId }), ...(pinPrefix !== undefined && { pinPrefix }) };
}
