import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server, type Socket } from "node:net";
import { connect, createServer as createTlsServer, type TlsOptions } from "node:tls";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { type Authority, ensureAuthority } from "../../../src/bus/certificates/authority.ts";
import { makeAuthority, makeServerCertificate } from "../../../src/bus/certificates/make.ts";
import { pinOf } from "../../../src/bus/certificates/pin.ts";
import { firstContact } from "../../../src/bus/certificates/pinned.ts";
import { ensureServerCertificate } from "../../../src/bus/certificates/server-certificate.ts";
import { layoutOf } from "../../../src/bus/home/layout.ts";
import { temporaryDirectory } from "../../support/home.ts";
import { freePort } from "../../support/nats.ts";
import { rejection } from "../../support/wait.ts";

interface Pair {
  readonly cert: string;
  readonly key: string;
}

type Swarm = Authority & Pair;

const DAY_MS = 24 * 3_600_000;
const validity = { fromMs: Date.now() - DAY_MS, untilMs: Date.now() + DAY_MS };
const options = { timeoutMs: 10_000 };

async function swarm(): Promise<Swarm> {
  const layout = layoutOf(await temporaryDirectory());
  const { certificatePem: cert, keyPem: key } = await ensureServerCertificate(layout, { names: [], addresses: [] });
  return { ...(await ensureAuthority(layout)), cert, key };
}

interface Door {
  readonly to: { readonly host: string; readonly port: number };
  /** What clients have sent inside TLS. */
  readonly received: Buffer[];
  /** Resolves when the next client is gone, and everything that it had sent was read. */
  nextEnd(): Promise<void>;
}

async function listening(server: Server): Promise<{ host: string; port: number }> {
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => sockets.add(socket));
  onTestFinished(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return { host: "127.0.0.1", port: address.port };
}

async function door(pair: Pair, more: TlsOptions = {}): Promise<Door> {
  const received: Buffer[] = [];
  const server = createTlsServer({ ...pair, ...more }, (socket) => {
    socket.on("data", (chunk: Buffer) => received.push(chunk));
    socket.on("error", () => socket.destroy());
  });
  const nextEnd = async (): Promise<void> => {
    const [socket] = (await once(server, "connection")) as [Socket];
    if (!socket.destroyed) await once(socket, "close");
  };
  return { to: await listening(server), received, nextEnd };
}

describe("the first contact", () => {
  test("learns the authority, by its pin or without, and sends nothing", async () => {
    const { caPem, pin, serverName, ...pair } = await swarm();
    const server = await door(pair);
    for (const wanted of [{}, { pin }, { serverName }, { pin, serverName }]) {
      const ended = server.nextEnd();
      const contact = await firstContact(server.to, wanted, options);
      expect(contact.pin).toBe(pin);
      expect(contact.caPem.trim()).toBe(caPem.trim());
      await ended;
    }
    expect(server.received).toEqual([]);
    // What it learned is enough for an ordinary verification; and what is sent then is seen here.
    const socket = connect({ ...server.to, ca: caPem, servername: serverName, rejectUnauthorized: true });
    await once(socket, "secureConnect");
    const ended = server.nextEnd();
    const second = connect({ ...server.to, ca: caPem, servername: serverName, rejectUnauthorized: true });
    second.end("secret");
    await ended;
    expect(Buffer.concat(server.received).toString()).toBe("secret");
    socket.destroy();
  });

  describe("with somebody between", () => {
    let meant: Swarm;
    beforeAll(async () => {
      const keys = await makeAuthority("vgas aaaaaaaaaa", validity);
      const issuer = { certificatePem: keys.certificatePem, keyPem: keys.keyPem };
      const made = await makeServerCertificate(issuer, "x", validity, ["aaaaaaaaaa.vgas.internal"], []);
      meant = {
        swarmId: "aaaaaaaaaa",
        caPem: keys.certificatePem,
        pin: pinOf(new X509Certificate(keys.certificatePem)),
        serverName: "aaaaaaaaaa.vgas.internal",
        cert: made.certificatePem + keys.certificatePem,
        key: made.keyPem,
      };
    });

    /** A certificate for the swarm's name, signed by a key of the attacker's own. */
    async function forged(issuerName: string, chain: string): Promise<Pair> {
      const own = await makeAuthority(issuerName, validity);
      const issuer = { certificatePem: chain === "" ? own.certificatePem : chain, keyPem: own.keyPem };
      const made = await makeServerCertificate(issuer, "x", validity, [meant.serverName], []);
      return { cert: made.certificatePem + issuer.certificatePem, key: made.keyPem };
    }

    const attacks: [string, () => Promise<Pair>, RegExp][] = [
      ["another authority of the same name", () => forged("vgas aaaaaaaaaa", ""), /another swarm/],
      ["the right authority behind a certificate that it did not sign", () => forged("x", meant.caPem), /did not sign/],
      [
        "no authority",
        async () => {
          const { cert, key } = await forged("x", "");
          return { cert: cert.slice(0, cert.indexOf("-----END CERTIFICATE-----") + 26), key };
        },
        /does not show the authority/,
      ],
      [
        "an authority's certificate for a server's",
        async () => {
          const { certificatePem: cert, keyPem: key } = await makeAuthority("vgas aaaaaaaaaa", validity);
          return { cert, key };
        },
        /did not sign|no swarm/,
      ],
    ];

    test.each(attacks)("%s is refused, and not a byte was sent", async (_, attack, why) => {
      const server = await door(await attack());
      const ended = server.nextEnd();
      const { pin, serverName } = meant;
      const error = await rejection(firstContact(server.to, { pin, serverName }, options));
      expect(error).toMatchObject({ code: "CERTIFICATE_MISMATCH", message: expect.stringMatching(why) });
      expect(String(error)).toMatch(/somebody is between you and the swarm/);
      await ended;
      expect(server.received).toEqual([]);
    });

    test("another swarm's pin and another server's name are refused", async () => {
      const server = await door(meant);
      const other = await swarm();
      for (const wanted of [{ pin: other.pin }, { serverName: other.serverName }, { pin: meant.pin.slice(1) }]) {
        const ended = server.nextEnd();
        expect(await rejection(firstContact(server.to, wanted, options))).toMatchObject({
          code: "CERTIFICATE_MISMATCH",
        });
        await ended;
      }
      expect(server.received).toEqual([]);
    });
  });
});

describe("by a clock that is wrong", () => {
  test.each([
    ["ended", -2 * DAY_MS, -DAY_MS],
    ["not begun", DAY_MS, 2 * DAY_MS],
  ])("the right swarm, whose certificate has %s, is refused with both times", async (_, fromMs, untilMs) => {
    const now = Date.now();
    const issuer = await makeAuthority("vgas aaaaaaaaaa", { fromMs: now - 3 * DAY_MS, untilMs: now + 1.5 * DAY_MS });
    const leaf = { fromMs: now + fromMs, untilMs: now + untilMs };
    const made = await makeServerCertificate(issuer, "x", leaf, ["a.test"], []);
    const server = await door({ cert: made.certificatePem + issuer.certificatePem, key: made.keyPem });
    const error = await rejection(firstContact(server.to, {}, options));
    // Good is what is good for both certificates.
    const [from, until] = [fromMs, Math.min(untilMs, 1.5 * DAY_MS)].map((ms) =>
      new Date(now + ms).toISOString().slice(0, 19),
    );
    expect(error).toMatchObject({ code: "CERTIFICATE_MISMATCH", retryable: false });
    expect(String(error)).toMatch(/this machine's clock says \d{4}-.*: set the clock/);
    expect(String(error)).toContain(`is valid from ${from}.000Z until ${until}.000Z`);
    expect(String(error)).not.toContain("between you");
    // Another swarm is another swarm, whatever the time is.
    const other = await rejection(firstContact(server.to, { pin: "A".repeat(43) }, options));
    expect(String(other)).toContain("is of another swarm");
  });
});

describe("where no swarm answers", () => {
  const answers: [string, (socket: Socket) => void][] = [
    ["says something else", (socket) => socket.end("220 mail.example ESMTP\r\n")],
    ["hangs up", (socket) => socket.destroy()],
    ["says nothing", () => undefined],
  ];

  test.each(answers)("a server that %s is NO_SWARM", async (_, answer) => {
    const to = await listening(
      createServer((socket) => {
        socket.on("error", () => socket.destroy());
        answer(socket);
      }),
    );
    expect(await rejection(firstContact(to, {}, { timeoutMs: 200 }))).toMatchObject({
      code: "NO_SWARM",
      message: expect.stringContaining(`127.0.0.1:${to.port}`),
    });
  });

  test("a port where nobody listens is NO_SWARM", async () => {
    const to = { host: "127.0.0.1", port: await freePort() };
    expect(await rejection(firstContact(to, {}, options))).toMatchObject({ code: "NO_SWARM" });
  });

  test("a server of an older TLS is NO_SWARM", async () => {
    const server = await door(await swarm(), { maxVersion: "TLSv1.2" });
    expect(await rejection(firstContact(server.to, {}, options))).toMatchObject({ code: "NO_SWARM" });
    expect(server.received).toEqual([]);
  });

  test("it is given up when the signal fires, before and while it waits", async () => {
    const arrived: Socket[] = [];
    const server = createServer((socket) => void arrived.push(socket));
    const to = await listening(server);
    const controller = new AbortController();
    const waiting = rejection(firstContact(to, {}, { ...options, signal: controller.signal }));
    await once(server, "connection");
    controller.abort();
    expect(await waiting).toMatchObject({ code: "ABORTED" });
    expect(await rejection(firstContact(to, {}, { ...options, signal: controller.signal }))).toMatchObject({
      code: "ABORTED",
    });
    expect(arrived).toHaveLength(1);
  });
});
