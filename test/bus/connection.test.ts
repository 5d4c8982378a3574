import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { join } from "node:path";
import { createUser } from "@nats-io/nkeys";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { makeAuthority, makeServerCertificate } from "../../src/bus/certificates/make.ts";
import { connectBus } from "../../src/bus/connection.ts";
import type { BusStatus } from "../../src/bus/status.ts";
import { makeCertificates } from "../support/certificates.ts";
import { holdTimers } from "../support/held-timers.ts";
import { temporaryDirectory } from "../support/home.ts";
import { freePort, TestNats, useNats } from "../support/nats.ts";
import { rejection, until } from "../support/wait.ts";

const DAY_MS = 24 * 3_600_000;
const LOOK_MS = 2_000;

const known = createUser();
const revoked = createUser();
const users = (...names: { getPublicKey(): string }[]): string =>
  `authorization { users: [${names.map((name) => `{ nkey: ${name.getPublicKey()} }`).join(", ")}] }`;
const nats = useNats({ config: users(known, revoked) });
const options = { name: "test", inboxPrefix: "_INBOX.someone" };

describe("connectBus", () => {
  test("connects with an nkey and knows who it is", async () => {
    const bus = await nats.bus({ seed: known.getSeed(), user: "someone" });
    expect(bus.user).toBe("someone");
    expect(bus.state).toBe("connected");
    expect(bus.serverId).toMatch(/^N[A-Z0-9]+$/);
    expect(bus.maxPayload).toBe(1_048_576);
    expect(bus.inbox()).toMatch(/^_INBOX\.someone\.[A-Z0-9]+$/i);
  });

  test("says which address did not answer, and what to do", async () => {
    const url = `nats://127.0.0.1:${await freePort()}`;
    const error = await rejection(connectBus({ ...options, url, seed: undefined }));
    expect(error).toMatchObject({ code: "NO_SWARM", message: expect.stringContaining(url) });
    expect(error).toMatchObject({ message: expect.stringContaining("vgas up") });
  });

  test("asks again a server that hangs up, as one does that stops or starts, and says so if it goes on", async () => {
    let hangUps = 2;
    const server = createServer((socket) => {
      if (hangUps-- > 0) socket.end();
      else socket.pipe(connect(nats.port, "127.0.0.1")).pipe(socket);
    });
    await once(server.listen(0, "127.0.0.1"), "listening");
    onTestFinished(() => void server.close());
    const url = `nats://127.0.0.1:${(server.address() as AddressInfo).port}`;
    // The time for which it tries does not end, however slow the machine is.
    const time = vi.spyOn(performance, "now").mockReturnValue(performance.now());
    onTestFinished(() => time.mockRestore());
    const bus = await connectBus({ ...options, url, seed: known.getSeed() });
    time.mockRestore();
    expect(hangUps).toBeLessThan(0);
    await bus.close();
    hangUps = Number.POSITIVE_INFINITY;
    expect(await rejection(connectBus({ ...options, url, seed: known.getSeed() }))).toMatchObject({
      code: "NO_SWARM",
      message: expect.stringMatching(/closed before the server had said anything.*try again/),
    });
  });

  test("is refused without a credential, and with one that nobody issued", async () => {
    const refused = [undefined, createUser().getSeed()].map(async (seed) =>
      expect(await rejection(connectBus({ ...options, url: nats.url, seed }))).toMatchObject({
        code: "PERMISSION_DENIED",
      }),
    );
    // Each is tried for two seconds.
    await Promise.all(refused);
  });

  test("takes the first of several addresses that answers", async () => {
    const url = `nats://127.0.0.1:${await freePort()}, ${nats.url}`;
    const bus = await connectBus({ ...options, url, seed: known.getSeed() });
    expect(bus.state).toBe("connected");
    await bus.close();
  });

  test("a credential that is revoked is reported, and the bus goes on trying until it is back", async () => {
    const bus = await nats.bus({ seed: revoked.getSeed(), user: "someone" });
    const refused = new Promise<BusStatus>((resolve) => {
      bus.onStatus((status) => {
        if (status.type === "error") resolve(status);
      });
    });
    const back = new Promise<void>((resolve) => {
      bus.onStatus((status) => {
        if (status.type === "reconnected") resolve();
      });
    });
    await nats.reload(users(known));
    expect(await refused).toMatchObject({ error: { code: "PERMISSION_DENIED" } });
    await nats.reload(users(known, revoked));
    await back;
    expect(bus.state).toBe("connected");
  });

  test("comes back at once where the wall clock was put back by an hour, and knocks no more often than else", async () => {
    const server = new TestNats();
    await server.start();
    onTestFinished(async () => {
      vi.useRealTimers();
      await server.close();
    });
    const bus = await server.bus();
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() - 3_600_000 });
    const tries = performance.now();
    let knocks = 0;
    const back = new Promise<void>((resolve) => {
      bus.onStatus(({ type }) => {
        if (type === "reconnecting") knocks++;
        if (type === "reconnected") resolve();
      });
    });
    await server.kill();
    await until(() => knocks >= 3);
    // The first at once, then a pause before each.
    expect(performance.now() - tries).toBeGreaterThanOrEqual(390);
    await server.start();
    await back;
    expect(await bus.flush()).toBeUndefined();
  });

  test("goes to the servers that it is told of when it loses the one it has, and not before", async () => {
    const first = new TestNats({ config: users(known) });
    onTestFinished(() => first.close());
    await first.start();
    const bus = await connectBus({ ...options, url: first.url, seed: known.getSeed() });
    onTestFinished(() => bus.close());
    const before = bus.serverId;
    expect(() => bus.setServers([])).toThrow(expect.objectContaining({ code: "INVALID" }));
    bus.setServers([`nats://127.0.0.1:${await freePort()}`, nats.url]);
    await bus.flush();
    expect(bus.serverId).toBe(before);
    const back = new Promise<BusStatus>((resolve) => {
      bus.onStatus((status) => {
        if (status.type === "reconnected") resolve(status);
      });
    });
    await first.kill();
    expect(await back).toMatchObject({ restarted: true });
    const other = await nats.bus({ seed: known.getSeed(), user: "someone" });
    expect(bus.serverId).toBe(other.serverId);
  });
});

describe("connectBus with a certificate authority", () => {
  /** A server that says what it likes, and what it was told by all that have hung up. */
  async function fakeServer(info: object): Promise<{ url: string; heard: () => Promise<string> }> {
    const heard: Buffer[] = [];
    let open = 0;
    const server = createServer((socket) => {
      open++;
      socket.on("close", () => open--);
      // It refuses whatever it is told.
      socket.on("data", (chunk) => {
        heard.push(chunk);
        socket.end("-ERR 'Authorization Violation'\r\n");
      });
      socket.on("error", () => socket.destroy());
      const usual = { server_id: "N", version: "2.15.1", max_payload: 1024, proto: 1, headers: true };
      socket.write(`INFO ${JSON.stringify({ ...usual, ...info })}\r\n`);
    }).listen(0, "127.0.0.1");
    onTestFinished(() => void server.close());
    await once(server, "listening");
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    return {
      url: `nats://127.0.0.1:${address.port}`,
      heard: async () => {
        await until(() => open === 0);
        return Buffer.concat(heard).toString("latin1");
      },
    };
  }

  /** A real one, that shows this certificate. */
  async function natsWith(pair: { readonly cert: string; readonly key: string }): Promise<TestNats> {
    const dir = await temporaryDirectory();
    for (const name of ["cert", "key"] as const) writeFileSync(join(dir, name), pair[name]);
    const tls = `tls { cert_file: "${join(dir, "cert")}", key_file: "${join(dir, "key")}", handshake_first: "1s" }`;
    const server = new TestNats({ config: `${users(known)}\n${tls}` });
    onTestFinished(() => server.close());
    await server.start();
    return server;
  }

  test("says nothing to a server that offers no TLS but a nonce, or says that it has none", async () => {
    const { ca } = await makeCertificates(["DNS:a.test"]);
    const speak = async (info: object): Promise<void> => {
      const server = await fakeServer({ nonce: "aaaaaaaa", ...info });
      for (const identity of [{ ca }, { url: server.url.replace("nats:", "tls:") }]) {
        const error = await rejection(connectBus({ ...options, url: server.url, ...identity, seed: known.getSeed() }));
        expect(error).toMatchObject({ code: "CERTIFICATE_MISMATCH", message: expect.stringContaining("127.0.0.1") });
        expect(String(error)).toMatch(/speaks no TLS: .* runs without --lan .* another program/);
      }
      expect(await server.heard()).toBe("");
      // Without any of these plain text is what is wanted, and this server is told who we are.
      const plain = await rejection(connectBus({ ...options, url: server.url, seed: known.getSeed() }));
      expect(plain).toMatchObject({ code: "PERMISSION_DENIED" });
      expect(await server.heard()).toMatch(/^CONNECT /);
    };
    await Promise.all([speak({ auth_required: true }), speak({ tls_available: false, tls_required: false })]);
  });

  test("says nothing but a handshake to a server that asks for TLS and then speaks none, nor to one that should take it first", async () => {
    const { ca } = await makeCertificates(["DNS:a.test"]);
    const speak = async (identity: { readonly serverName?: string }): Promise<void> => {
      const server = await fakeServer({ tls_required: true, nonce: "aaaaaaaa" });
      const to = { ...options, url: server.url, ca, ...identity, seed: known.getSeed() };
      expect(await rejection(connectBus(to))).toMatchObject({
        code: "CERTIFICATE_MISMATCH",
        message: expect.stringMatching(/speaks no TLS: .* runs without --lan/),
      });
      const heard = await server.heard();
      expect(heard.charCodeAt(0)).toBe(0x16);
      expect(heard).not.toMatch(/CONNECT|nkey/);
    };
    // Either is given six seconds, as a server that is slow needs.
    await Promise.all([speak({}), speak({ serverName: "a.test" })]);
  });

  test("says what this machine's clock says of a certificate that has ended, and of one that has not begun", async () => {
    // The look at the certificate, which is for the message only, takes as long as it takes.
    holdTimers(LOOK_MS);
    await Promise.all([shows(-2 * DAY_MS, -DAY_MS), shows(DAY_MS, 2 * DAY_MS)]);
  });

  async function shows(fromMs: number, untilMs: number): Promise<void> {
    const now = Date.now();
    const authority = await makeAuthority("test", { fromMs: now - 3 * DAY_MS, untilMs: now + 3 * DAY_MS });
    const validity = { fromMs: now + fromMs, untilMs: now + untilMs };
    const made = await makeServerCertificate(authority, "x", validity, ["a.test"], ["127.0.0.1"]);
    const { certificatePem: ca } = authority;
    const { url } = await natsWith({ cert: made.certificatePem + ca, key: made.keyPem });
    const seed = known.getSeed();
    const error = await rejection(connectBus({ ...options, url, seed, ca, serverName: "a.test" }));
    expect(error).toMatchObject({ code: "CERTIFICATE_MISMATCH", retryable: false });
    expect(String(error)).toMatch(/this machine's clock says \d{4}-.*: set the clock/);
    const [from, until] = [fromMs, untilMs].map((ms) => new Date(now + ms).toISOString().slice(0, 19));
    expect(String(error)).toContain(`${url} is valid from ${from}.000Z until ${until}.000Z`);
    expect(String(error)).not.toContain("between you");
    // Of a server that is not ours nobody knows how it would show its certificate: it is not asked again.
    const external = await rejection(connectBus({ ...options, url, seed, ca }));
    expect(external).toMatchObject({
      code: "CERTIFICATE_MISMATCH",
      message: expect.stringMatching(/clock says .*: set/),
    });
  }

  test("verifies whatever NODE_TLS_REJECT_UNAUTHORIZED says", async () => {
    const [own, foreign] = await Promise.all([1, 2].map(() => makeCertificates(["DNS:a.test", "IP:127.0.0.1"])));
    if (own === undefined || foreign === undefined) throw new Error("no certificates");
    const { url } = await natsWith(own);
    process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
    onTestFinished(() => {
      delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
    });
    const seed = known.getSeed();
    for (const wrong of [{ ca: foreign.ca }, { ca: own.ca, serverName: "b.test" }, { serverName: "a.test" }]) {
      expect(await rejection(connectBus({ ...options, url, seed, ...wrong }))).toMatchObject({
        code: "CERTIFICATE_MISMATCH",
      });
    }
    for (const right of [{ ca: own.ca }, { ca: own.ca, serverName: "a.test" }]) {
      await (await connectBus({ ...options, url, seed, ...right })).close();
    }
  });
});
