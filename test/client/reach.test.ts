import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import type { Candidate } from "../../src/admission/candidates.ts";
import { ensureServerCertificate } from "../../src/bus/certificates/server-certificate.ts";
import type { Home } from "../../src/bus/home/home.ts";
import { type Membership, readMembership } from "../../src/bus/home/membership.ts";
import type { Cli } from "../../src/cli/cli.ts";
import { withSwarm } from "../../src/cli/swarm.ts";
import { connectToSwarm } from "../../src/client/connect-to-swarm.ts";
import { reachSwarm } from "../../src/client/reach.ts";
import { brokerTls } from "../support/broker-tls.ts";
import { holdTimers } from "../support/held-timers.ts";
import { startBroker, temporaryHome } from "../support/home.ts";
import { ManualClock } from "../support/manual-clock.ts";
import { type Admitted, memberOf } from "../support/member.ts";
import { freePort } from "../support/nats.ts";
import { rejection, until } from "../support/wait.ts";

/** What mDNS tells in this file, whether it was ever loaded, and how many have listened and do so now. */
const mdns = vi.hoisted(() => ({ loaded: false, started: 0, listeners: 0, heard: [] as unknown[] }));
vi.mock("../../src/actors/discovery/discovery.ts", () => {
  mdns.loaded = true;
  class Discovery {
    async start(): Promise<void> {
      mdns.started++;
      mdns.listeners++;
    }
    async stop(): Promise<void> {
      mdns.listeners--;
    }
    asCandidates() {
      return {
        watch: (tell: (candidate: unknown) => void) => {
          for (const each of mdns.heard) tell(each);
          return () => undefined;
        },
      };
    }
  }
  return { Discovery };
});

beforeEach(() => {
  Object.assign(mdns, { started: 0, heard: [] });
});

const USER = "cabcdefghi";
const NOWHERE = "127.0.0.9";
/** After this a connection is slow, and a search over: on a busy machine this may be one that would be good. */
const [SLOW_MS, SEARCH_MS] = [1_500, 4_000];
const config = { mdns: true, interfaces: [], peers: [], httpPort: 8080 };
const { signal } = new AbortController();

async function port(server: Server): Promise<number> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => sockets.add(socket));
  server.listen(0, "127.0.0.1");
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

interface Leading {
  readonly home: Home;
  readonly url: string;
  readonly natsPort: number;
  /** Of what proves to be the swarm's, as its HTTP does. */
  readonly door: number;
  /** Connections to it so far. */
  readonly knocks: () => number;
}

async function leading(): Promise<Leading> {
  const home = await temporaryHome("own");
  const { url } = await startBroker(home, { tls: await brokerTls(home.layout) });
  const { certificatePem: cert, keyPem: key } = await ensureServerCertificate(home.layout, {
    names: [],
    addresses: [],
  });
  let knocks = 0;
  const server = createTlsServer({ cert, key }, (socket) => socket.on("error", () => undefined).resume());
  server.on("connection", () => knocks++);
  return { home, url, natsPort: Number(new URL(url).port), door: await port(server), knocks: () => knocks };
}

async function storedUrls({ member }: Admitted): Promise<readonly string[] | undefined> {
  return (await readMembership(member.layout))?.urls;
}

function targetOf({ seed, inboxPrefix, ca, serverName, urls }: Membership) {
  return { url: urls.join(","), seed, inboxPrefix, ca, serverName, name: "test" };
}

const memberIn = ({ member: { layout }, made: membership }: Admitted) => ({ layout, membership });

describe("a member's home whose master has moved", () => {
  test("is connected to where its door answers now, and keeps that; nothing is looked for without need", async () => {
    const { home, url, natsPort, door, knocks } = await leading();
    holdTimers(SLOW_MS, SEARCH_MS);
    const { member } = await memberOf(home, { urls: [url] }, "client", "cbcdefghij");
    const ordinary = await connectToSwarm({ home: member.dir });
    await ordinary.bus.close();
    expect(mdns.loaded).toBe(false);

    const gone = `tls://${NOWHERE}:${natsPort}`;
    const admitted = await memberOf(home, { urls: [gone], doors: [`127.0.0.1:${door}`] }, "client", USER);
    const first = await connectToSwarm({ home: admitted.member.dir });
    expect(first.bus.user).toBe(USER);
    await first.bus.close();
    expect(await storedUrls(admitted)).toEqual([url, gone]);
    expect(mdns).toMatchObject({ loaded: true, started: 1, listeners: 0 });

    const searched = knocks();
    expect(searched).toBeGreaterThan(0);
    const again = await connectToSwarm({ home: admitted.member.dir });
    await again.bus.close();
    expect(knocks()).toBe(searched);
    expect(mdns.started).toBe(1);
  });

  test("is connected to the port that mDNS tells; commands too, which say where", async () => {
    const { home, url, natsPort, door } = await leading();
    holdTimers(SLOW_MS, SEARCH_MS);
    const gone = `tls://127.0.0.1:${await freePort()}`;
    const admitted = await memberOf(home, { urls: [gone] }, "observer", "cbcdefghij");
    const heard: Candidate = { id: "m", addresses: ["127.0.0.1"], port: door, natsPort, source: "mdns" };
    mdns.heard.push(heard);
    const cli = { interrupt: { signal }, env: {}, terminal: {}, exitCode: 0 } as unknown as Cli;
    const flags = { home: admitted.member.dir, logLevel: "silent" } as const;
    expect(await withSwarm(cli, flags, "observer", async (swarm) => swarm.url)).toBe(url);
    expect(await storedUrls(admitted)).toEqual([url, gone]);
  });

  test("takes another address that it knows when the first one says nothing, and puts it in front", async () => {
    const { home, url } = await leading();
    const silent = createServer();
    const mute = `tls://127.0.0.1:${await port(silent)}`;
    const admitted = await memberOf(home, { urls: [mute, url] }, "client", USER);
    const clock = new ManualClock();
    const called = once(silent, "connection");
    const reaching = reachSwarm(targetOf(admitted.made), { member: memberIn(admitted), config, signal, clock });
    await called;
    await clock.advance(1_500);
    const { bus, url: reached } = await reaching;
    await bus.close();
    expect(reached).toBe(url);
    expect(await storedUrls(admitted)).toEqual([url, mute]);
  });
});

describe("a member's home whose swarm is not there", () => {
  const pastSearch = async (clock: ManualClock): Promise<void> => {
    await until(() => mdns.listeners > 0 && clock.armed > 0);
    await clock.advance(4_000);
  };

  test("is told which swarm, where, and what a member can do", async () => {
    const home = await temporaryHome("own");
    const urls = [`tls://127.0.0.1:${await freePort()}`, `tls://127.0.0.1:${await freePort()}`];
    const admitted = await memberOf(home, { urls }, "client", USER);
    const clock = new ManualClock();
    const reaching = reachSwarm(targetOf(admitted.made), { member: memberIn(admitted), config, signal, clock });
    const [error] = await Promise.all([rejection(reaching), pastSearch(clock)]);
    const message = String(error);
    expect(error).toMatchObject({ code: "NO_SWARM" });
    for (const part of [admitted.made.swarmId, ...urls, "(connection refused)", "`vgas up --lan`", "VGAS_PEERS"]) {
      expect(message).toContain(part);
    }
    expect(message).not.toContain("start a swarm");
    expect(mdns.listeners).toBe(0);
    expect(await storedUrls(admitted)).toEqual(urls);
  });

  test("is told of the other program that has its address", async () => {
    const home = await temporaryHome("own");
    const { certificatePem: cert, keyPem: key } = await ensureServerCertificate((await temporaryHome()).layout, {
      names: [],
      addresses: [],
    });
    const other = await port(createTlsServer({ cert, key }).on("tlsClientError", () => undefined));
    const urls = [`tls://127.0.0.1:${await freePort()}`, `tls://127.0.0.1:${other}`];
    const admitted = await memberOf(home, { urls }, "client", USER);
    const clock = new ManualClock();
    const reaching = reachSwarm(targetOf(admitted.made), { member: memberIn(admitted), config, signal, clock });
    const [error] = await Promise.all([rejection(reaching), pastSearch(clock)]);
    expect(error).toMatchObject({ code: "CERTIFICATE_MISMATCH", message: expect.stringContaining(urls[1] ?? "") });
    expect(String(error)).toContain(`the swarm ${admitted.made.swarmId} that this home is a member of`);
  });

  test("gives up when it is told to", async () => {
    const home = await temporaryHome("own");
    const admitted = await memberOf(home, { urls: [`tls://127.0.0.1:${await freePort()}`] }, "client", USER);
    const controller = new AbortController();
    const options = { member: memberIn(admitted), config, signal: controller.signal, clock: new ManualClock() };
    const reaching = rejection(reachSwarm(targetOf(admitted.made), options));
    await until(() => mdns.listeners > 0);
    controller.abort();
    expect(await reaching).toMatchObject({ code: "ABORTED" });
    expect(await rejection(reachSwarm(targetOf(admitted.made), options))).toMatchObject({ code: "ABORTED" });
    await until(() => mdns.listeners === 0);
  });
});

test("a member whose credential is refused is told so, wherever else it may look", async () => {
  const { home, url } = await leading();
  const admitted = await memberOf(home, { urls: [url, `tls://${NOWHERE}:1`] }, "client", USER);
  const stranger = await memberOf(await temporaryHome("own"), { urls: [url] }, "client", USER);
  const target = { ...targetOf(admitted.made), seed: stranger.made.seed };
  const clock = new ManualClock();
  const refused = rejection(reachSwarm(target, { member: memberIn(admitted), config, signal, clock }));
  // A refusal is tried again for a while. The search that begins meanwhile does not end, for its clock stands still.
  await clock.advance(1_500);
  await until(() => mdns.started > 0);
  expect(await refused).toMatchObject({ code: "PERMISSION_DENIED" });
  await until(() => mdns.listeners === 0);
});
