import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { readFile, stat } from "node:fs/promises";
import { connect } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import type { Bus } from "../../../src/bus/bus.ts";
import { ensureServerCertificate } from "../../../src/bus/certificates/server-certificate.ts";
import { type ConnectOptions, connectBus } from "../../../src/bus/connection.ts";
import type { Home } from "../../../src/bus/home/home.ts";
import { liveBroker, writeBrokerRecord } from "../../../src/bus/nats-server/broker-record.ts";
import { brokersOf } from "../../../src/bus/nats-server/orphans.ts";
import type { NatsServer } from "../../../src/bus/nats-server/server.ts";
import type { BusStatus } from "../../../src/bus/status.ts";
import { brokerTls, shownCertificate } from "../../support/broker-tls.ts";
import { connectAs, kill, nextLine, runFixture, startBroker, temporaryHome } from "../../support/home.ts";
import { eventually, rejection } from "../../support/wait.ts";

interface Led {
  readonly home: Home;
  readonly server: NatsServer;
  /** Connects in that role; `more` replaces what it does it with. */
  bus(role: "client" | "system", more?: Partial<ConnectOptions>): Promise<Bus>;
}

async function leading(): Promise<Led> {
  const home = await temporaryHome();
  const tls = await brokerTls(home.layout);
  const server = await startBroker(home, { host: "0.0.0.0", tls });
  const bus: Led["bus"] = async (role, more) => {
    const { seed, inboxPrefix } = await home.credentials.read(role);
    const { caPem: ca, serverName } = tls.authority;
    const connected = await connectBus({ url: server.url, seed, inboxPrefix, ca, serverName, name: role, ...more });
    onTestFinished(() => connected.close());
    return connected;
  };
  return { home, server, bus };
}

/** Every status of the connection from now on. */
function statuses(bus: Bus): BusStatus["type"][] {
  const seen: BusStatus["type"][] = [];
  bus.onStatus(({ type }) => void seen.push(type));
  return seen;
}

describe("a broker with TLS", () => {
  test("listens on all addresses, is known by the swarm's name or by its address, and tells this machine's processes how", async () => {
    const { home, server, bus } = await leading();
    expect(server.url).toBe(`tls://127.0.0.1:${server.port}`);
    const log = await readFile(home.layout.nats.log, "utf8");
    expect(log.match(/Listening for client connections on .*/g)).toEqual([
      `Listening for client connections on 0.0.0.0:${server.port}`,
    ]);
    const { serverName, caFile } = (await liveBroker(home.layout)) ?? {};
    expect(serverName).toMatch(/\.vgas\.internal$/);
    expect(caFile).toBe(home.layout.authority.caCertificate);
    expect((await bus("client")).state).toBe("connected");
    expect((await bus("client", { serverName: undefined })).state).toBe("connected");
    expect((await bus("client", { serverName: undefined, url: `tls://localhost:${server.port}` })).state).toBe(
      "connected",
    );
    expect((await stat(`${home.layout.nats.dir}/server.pem`)).mode & 0o777).toBe(0o600);
    // Issuing, which asks the broker, goes over TLS too.
    const { seed, inboxPrefix, user } = await home.credentials.issueNode("worker");
    expect((await bus("client", { seed, inboxPrefix })).user).toBe(user);
  });

  test("is refused without its authority, with another name, and by an address that is not its own", async () => {
    const { home, server, bus } = await leading();
    const other = await brokerTls((await temporaryHome()).layout);
    const url = `tls://127.0.0.2:${server.port}`;
    for (const wrong of [
      { ca: undefined },
      { ca: undefined, serverName: undefined },
      { ca: other.authority.caPem },
      { serverName: other.authority.serverName },
      { serverName: undefined, url },
    ]) {
      const error = await rejection(bus("client", wrong));
      expect(error).toMatchObject({ code: "CERTIFICATE_MISMATCH" });
      expect(String(error)).toMatch(/check the address.*somebody is between you and the swarm/);
    }
    expect(await home.credentials.find("client")).toBeDefined();
  });

  test("hears nobody before TLS", async () => {
    const { home, server } = await leading();
    const { seed } = await home.credentials.read("client");
    await expect(
      connectAs(`nats://127.0.0.1:${server.port}`, { seed, inboxPrefix: "_INBOX.client" }),
    ).rejects.toThrow();
    const socket = connect(server.port, "127.0.0.1");
    const said: Buffer[] = [];
    socket.on("data", (chunk: Buffer) => said.push(chunk));
    await once(socket, "data");
    socket.write('CONNECT {"verbose":true}\r\nPING\r\n');
    await once(socket, "close");
    expect(Buffer.concat(said).toString()).toMatch(/"tls_required":true/);
    expect(Buffer.concat(said).toString()).not.toMatch(/PONG|\+OK/);
  });

  test("is never started beyond loopback without it", async () => {
    const home = await temporaryHome();
    expect(await rejection(startBroker(home, { host: "0.0.0.0" }))).toMatchObject({ code: "INTERNAL" });
  });

  test("shows a renewed certificate while everybody stays connected, and keeps it over a crash", async () => {
    const { home, server, bus } = await leading();
    const buses = [await bus("client"), await bus("system"), await bus("client", { serverName: undefined })];
    const seen = buses.map(statuses);
    const before = await shownCertificate(server.port);
    const renewed = await ensureServerCertificate(home.layout, { names: ["new.local"], addresses: [] });
    expect(renewed.renewed).toBe(true);
    await server.useCertificate(renewed);
    const { fingerprint256 } = new X509Certificate(renewed.certificatePem);
    expect(before.fingerprint256).not.toBe(fingerprint256);
    await eventually(
      async () => (await shownCertificate(server.port)).fingerprint256 === fingerprint256 || undefined,
      "the new certificate",
    );
    await Promise.all(buses.map((one) => one.flush()));
    expect(seen).toEqual([[], [], []]);
    // A reconnect meets the new one and takes it: it is of the same authority.
    const back = buses.map(
      (one) =>
        new Promise<void>((resolve) => {
          one.onStatus(({ type }) => {
            if (type === "reconnected") resolve();
          });
        }),
    );
    process.kill(server.pid ?? 0, "SIGKILL");
    await Promise.all(back);
    expect((await shownCertificate(server.port)).fingerprint256).toBe(fingerprint256);
    await bus("client");
  });

  test("takes no certificate if it is one without TLS, and leaves none behind", async () => {
    const { home, server } = await leading();
    await server.stop();
    const plain = await startBroker(home);
    expect(plain.url).toMatch(/^nats:/);
    const { certificate } = await brokerTls(home.layout);
    expect(await rejection(plain.useCertificate(certificate))).toMatchObject({ code: "INTERNAL" });
    expect(await rejection(stat(`${home.layout.nats.dir}/server.pem`))).toMatchObject({ code: "ENOENT" });
    expect(await liveBroker(home.layout)).not.toHaveProperty("caFile");
  });
});

describe("a broker with TLS whose node was killed with -9", () => {
  async function orphan(home: Home): Promise<{ pid: number; url: string }> {
    const fixture = runFixture("broker", home.dir, "0", "process", "tls");
    const started = (await nextLine(fixture)) as { pid: number; url: string };
    onTestFinished(async () => {
      for (const { pid } of await brokersOf(home.layout)) process.kill(pid, "SIGKILL");
    });
    await kill(fixture.child);
    return started;
  }

  test("is adopted, and shows a certificate that was renewed meanwhile", async () => {
    const home = await temporaryHome();
    const left = await orphan(home);
    const tls = await brokerTls(home.layout, { names: ["new.local"], addresses: [] });
    expect(tls.certificate.renewed).toBe(true);
    const server = await startBroker(home, { host: "0.0.0.0", tls });
    expect(server).toMatchObject({ adopted: true, pid: left.pid, url: left.url });
    const { fingerprint256 } = new X509Certificate(tls.certificate.certificatePem);
    await eventually(
      async () => (await shownCertificate(server.port)).fingerprint256 === fingerprint256 || undefined,
      "the new certificate",
    );
  });

  test("is stopped if the next one is for loopback", async () => {
    const home = await temporaryHome();
    const left = await orphan(home);
    const server = await startBroker(home);
    expect(server.adopted).toBe(false);
    expect((await brokersOf(home.layout)).map(({ pid }) => pid)).toEqual([server.pid]);
    expect(server.pid).not.toBe(left.pid);
  });
});

test("a record of before TLS is still read", async () => {
  const home = await temporaryHome();
  await startBroker(home);
  const record = await liveBroker(home.layout);
  if (record === undefined) throw new Error("there is no record");
  expect(Object.keys(record)).not.toContain("serverName");
  await writeBrokerRecord(home.layout, record);
  expect(await liveBroker(home.layout)).toEqual(record);
});
