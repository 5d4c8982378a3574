import { readdir, readFile } from "node:fs/promises";
import { expect, onTestFinished, test } from "vitest";
import { connectBus } from "../../src/bus/connection.ts";
import type { Home } from "../../src/bus/home/home.ts";
import type { NatsServer } from "../../src/bus/nats-server/server.ts";
import { connectToSwarm } from "../../src/client/connect-to-swarm.ts";
import { connectionOfHome } from "../../src/client/home-connection.ts";
import { brokerTls } from "../support/broker-tls.ts";
import { connectAs, startBroker, temporaryDirectory, temporaryHome } from "../support/home.ts";
import { memberOf } from "../support/member.ts";
import { freePort } from "../support/nats.ts";
import { rejection } from "../support/wait.ts";

async function leading(): Promise<{ home: Home; server: NatsServer }> {
  const home = await temporaryHome("own");
  return { home, server: await startBroker(home, { host: "0.0.0.0", tls: await brokerTls(home.layout) }) };
}

test("tells the address, the prefix and the role's credential of a home whose broker runs", async () => {
  const home = await temporaryHome("own");
  const { url } = await startBroker(home);
  for (const role of ["client", "observer", "admin"] as const) {
    const found = await connectionOfHome(home.dir, role);
    expect(found).toMatchObject({
      url,
      prefix: "own",
      credential: { user: role, role, inboxPrefix: `_INBOX.${role}` },
      member: undefined,
    });
    expect(found.ca).toBeUndefined();
    await connectAs(found.url, found.credential);
  }
});

test("tells how a broker with TLS proves itself", async () => {
  const { home, server } = await leading();
  const { credential, ca, caFile, serverName, url } = await connectionOfHome(home.dir);
  expect(url).toBe(server.url);
  expect(await readFile(caFile ?? "", "utf8")).toBe(ca);
  const { seed, inboxPrefix: inbox } = credential;
  const bus = await connectBus({ url, seed, inboxPrefix: inbox, ca, serverName, name: "test" });
  await bus.close();
  // What a library user does, without knowing any of it.
  const found = await connectToSwarm({ home: home.dir });
  expect(found).toMatchObject({ prefix: "own", role: "client" });
  await found.bus.close();
});

test("a home that another swarm let in uses what it was given there, for what that may do", async () => {
  const { home, server } = await leading();
  for (const [role, user] of [
    ["client", "cabcdefghi"],
    ["observer", "cbcdefghij"],
    ["guest", "gabcdefghi"],
  ] as const) {
    const urls = [`tls://127.0.0.1:${await freePort()}`, server.url];
    const { member, made } = await memberOf(home, { urls }, role, user);
    const found = await connectionOfHome(member.dir);
    expect(found).toMatchObject({
      prefix: "own",
      ca: made.ca,
      serverName: made.serverName,
      member: { membership: made },
    });
    expect(found.credential).toMatchObject({ user, role, seedFile: member.layout.membership.seed });
    const { bus, role: known } = await connectToSwarm({ home: member.dir });
    expect(bus.user).toBe(user);
    expect(known).toBe(role);
    await bus.close();
    if (role === "observer") expect((await connectionOfHome(member.dir, "observer")).credential.user).toBe(user);
    else await expect(connectionOfHome(member.dir, "observer")).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    const error = await rejection(connectionOfHome(member.dir, "admin"));
    expect(error).toMatchObject({ code: "PERMISSION_DENIED", message: expect.stringContaining(`as ${role}`) });
    expect(String(error)).toMatch(/vgas connection --role admin --inline/);
  }
});

test("a node's membership is no client's, and a broker of its own comes before a membership", async () => {
  const { home, server } = await leading();
  const { member } = await memberOf(home, { urls: [server.url] }, "worker", "nabcdefghi");
  expect(await rejection(connectionOfHome(member.dir))).toMatchObject({
    code: "PERMISSION_DENIED",
    message: expect.stringContaining("as worker"),
  });
  const own = await startBroker(member);
  expect(await connectionOfHome(member.dir)).toMatchObject({ url: own.url, member: undefined });
});

test("says that no swarm runs on a home whose broker has stopped, on an empty one, and on none, and makes nothing", async () => {
  const home = await temporaryHome();
  const server = await startBroker(home);
  await server.stop();
  const empty = await temporaryDirectory();
  for (const dir of [home.dir, empty, `${empty}/none`]) {
    expect(await rejection(connectionOfHome(dir))).toMatchObject({
      code: "NO_SWARM",
      message: expect.stringContaining(dir),
    });
  }
  expect(await readdir(empty)).toEqual([]);
});

test("an external system is reached with the seed and the authority that the caller names", async () => {
  const { home, server } = await leading();
  const { seedFile } = await home.credentials.read("client");
  const elsewhere = await temporaryDirectory();
  const { caCertificate: caFile } = home.layout.authority;
  const external = { home: elsewhere, url: server.url };
  const { bus, prefix, role } = await connectToSwarm({ ...external, seedFile, caFile });
  onTestFinished(() => bus.close());
  expect([bus.user, prefix, role]).toEqual(["client", "vgas", undefined]);
  const [unproven, unknown] = await Promise.all(
    [{ seedFile }, { caFile }].map((given) => rejection(connectToSwarm({ ...external, ...given }))),
  );
  expect(unproven).toMatchObject({ code: "CERTIFICATE_MISMATCH" });
  expect(unknown).toMatchObject({ code: "PERMISSION_DENIED" });
  const missing = `${elsewhere}/none`;
  expect(await rejection(connectToSwarm({ ...external, seedFile, caFile: missing }))).toMatchObject({
    code: "CONFIG",
    message: expect.stringContaining(missing),
  });
});
