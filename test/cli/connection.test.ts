/** `vgas connection` on a node that other machines reach, and commands that use what it printed. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import type { Home } from "../../src/bus/home/home.ts";
import type { NatsServer } from "../../src/bus/nats-server/server.ts";
import { connect } from "../../src/client.ts";
import { brokerTls } from "../support/broker-tls.ts";
import { startBroker, temporaryDirectory, temporaryHome } from "../support/home.ts";
import { vgas } from "./in-process.ts";

async function leading(): Promise<{ home: Home; server: NatsServer; ca: string; serverName: string }> {
  const home = await temporaryHome();
  const tls = await brokerTls(home.layout);
  const server = await startBroker(home, { host: "0.0.0.0", tls });
  return { home, server, ca: tls.authority.caPem, serverName: tls.authority.serverName };
}

test("names the authority for this machine, and holds it with addresses that others reach when inline", async () => {
  const { home, server, ca, serverName } = await leading();
  const described = async (...args: string[]): Promise<Record<string, unknown>> => {
    const env = { VGAS_INTERFACES: "lo" };
    const { code, out, err } = await vgas(["connection", "--home", home.dir, ...args], { env });
    expect({ code, err }).toEqual({ code: 0, err: "" });
    return JSON.parse(out) as Record<string, unknown>;
  };
  const byFile = await described();
  expect(byFile).toEqual({
    url: server.url,
    nkeySeedFile: (await home.credentials.read("client")).seedFile,
    caFile: home.layout.authority.caCertificate,
    serverName,
    inboxPrefix: "_INBOX.client",
  });
  const guest = await described("--role", "guest", "--inline");
  expect(guest).toMatchObject({ url: `tls://127.0.0.1:${server.port}`, ca, serverName, role: "guest" });
  expect(guest["inboxPrefix"]).toMatch(/^_INBOX\.g[a-z2-7]{9}$/);
  for (const connection of [byFile, guest]) {
    const client = await connect({ connection: JSON.stringify(connection) });
    await client.close();
  }
});

test("a machine without an address for others says so", async () => {
  const { home } = await leading();
  const env = { VGAS_INTERFACES: "none-of-this-name" };
  const { code, err } = await vgas(["connection", "--inline", "--home", home.dir], { env });
  expect(err).toContain("no address that others could reach");
  expect(code).toBe(78);
});

test("commands reach an external system with the seed and the authority that the flags name", async () => {
  const { home, server } = await leading();
  const { seedFile } = await home.credentials.read("observer");
  const elsewhere = ["--home", await temporaryDirectory(), "--nats", server.url];
  const proved = ["--nats-seed", seedFile, "--nats-ca", home.layout.authority.caCertificate];
  // Only the server can know that it has no swarm yet.
  expect(await vgas(["nodes", ...elsewhere, ...proved])).toMatchObject({
    code: 69,
    err: expect.stringContaining("has no bucket vgas_rotation"),
  });
  expect(await vgas(["nodes", ...elsewhere, "--nats-seed", seedFile])).toMatchObject({
    code: 77,
    err: expect.stringContaining("is not the server that is meant"),
  });
  const wrong = join(home.dir, "wrong.pem");
  writeFileSync(wrong, "nothing");
  expect(await vgas(["nodes", ...elsewhere, "--nats-seed", seedFile, "--nats-ca", wrong])).toMatchObject({
    code: 78,
    err: expect.stringContaining("is no certificate in PEM"),
  });
});
