import { readdir, readFile, unlink, writeFile } from "node:fs/promises";
import { createUser } from "@nats-io/nkeys";
import type { NatsConnection } from "@nats-io/transport-node";
import { describe, expect, it } from "vitest";
import { hatchCanary } from "../../../src/bus/credentials/canary.ts";
import { newGuestName, type Registration } from "../../../src/bus/credentials/credentials.ts";
import { readUser, type UserRecord, writeUser } from "../../../src/bus/credentials/user-records.ts";
import { openHome } from "../../../src/bus/home/home.ts";
import { isGuestName } from "../../../src/protocols/guest-account.ts";
import { inboxPrefix, Names } from "../../../src/protocols/subjects.ts";
import { connectAs, startBroker, temporaryHome } from "../../support/home.ts";

const names = new Names();

interface Joiner {
  readonly registration: Registration;
  readonly seed: Uint8Array;
  readonly inboxPrefix: string;
}

/** Somebody with a key of its own. */
function joiner(user: string, role: Registration["role"] = "worker"): Joiner {
  const pair = createUser();
  const registration = { user, role, publicKey: pair.getPublicKey() };
  return { registration, seed: Uint8Array.from(pair.getSeed()), inboxPrefix: inboxPrefix(user) };
}

/** What is on disk of somebody whose registration came no further. */
function recordOf({ user, role, publicKey }: Registration): UserRecord {
  return { v: 1, user, role, publicKey, createdAt: 1, registered: true };
}

const refused = (code: string): object => expect.objectContaining({ code });

describe("registering a key that was made elsewhere", () => {
  it("lets it in at once, with a record and without a seed; the same registration again is no change", async () => {
    const home = await temporaryHome();
    const { url } = await startBroker(home);
    const node = joiner("nabc");
    await home.credentials.register({ ...node.registration, name: "the cellar", tokenId: "abcdefghij" });
    await connectAs(url, node);
    expect(await readdir(home.layout.credentials)).not.toContain("nabc.nk");
    expect(await home.credentials.list()).toContainEqual(
      expect.objectContaining({ ...node.registration, name: "the cellar", tokenId: "abcdefghij" }),
    );
    await expect(home.credentials.read("nabc")).rejects.toEqual(refused("NOT_FOUND"));
    const before = await readFile(home.layout.nats.accounts, "utf8");
    await home.credentials.register({ ...node.registration, name: "another" });
    expect(await readFile(home.layout.nats.accounts, "utf8")).toBe(before);
    expect((await home.credentials.find("nabc"))?.name).toBe("the cellar");
  });

  it("gives many clients and observers a key and an inbox of their own", async () => {
    const home = await temporaryHome();
    const { url } = await startBroker(home);
    const users = (["client", "client", "observer", "observer"] as const).map((role, i) => joiner(`cuser${i}`, role));
    for (const { registration } of users) await home.credentials.register(registration);
    const connections = await Promise.all(users.map((user) => connectAs(url, user)));
    for (const [i, connection] of connections.entries()) {
      const reply = await connection.request("$SYS.REQ.USER.INFO", "", { timeout: 5_000 });
      expect(reply.subject).toContain(`_INBOX.cuser${i}.`);
    }
  });

  it("refuses another key for a name, another name for a key, another role, and this home's own node", async () => {
    const home = await temporaryHome();
    const first = joiner("nabc").registration;
    await home.credentials.register(first);
    const others = [
      joiner("nabc").registration,
      { ...first, user: "nother" },
      { ...first, role: "dispatcher" } as const,
      joiner(home.hostId).registration,
    ];
    for (const registration of others) {
      await expect(home.credentials.checkRegistration(registration)).rejects.toEqual(refused("NODE_EXISTS"));
      await expect(home.credentials.register(registration)).rejects.toEqual(refused("NODE_EXISTS"));
    }
    await expect(home.credentials.issueNode("worker", "nabc")).rejects.toEqual(refused("NODE_EXISTS"));
    expect((await home.credentials.list()).filter(({ registered }) => registered)).toHaveLength(1);
    await home.credentials.checkRegistration(first);
  });

  it("refuses names, roles and keys that cannot be any", async () => {
    const home = await temporaryHome();
    const good = joiner("nabc").registration;
    for (const wrong of [
      { user: "a.b" },
      { user: "system" },
      { user: "client" },
      { user: "canary" },
      { role: "admin" } as const,
      { user: "nabc", role: "guest" } as const,
      { publicKey: `U${"A".repeat(55)}` },
      { publicKey: "" },
      { publicKey: new TextDecoder().decode(createUser().getSeed()) },
    ]) {
      await expect(home.credentials.register({ ...good, ...wrong })).rejects.toEqual(refused("INVALID"));
    }
  });

  it("loads 200 users as one, and cuts one of them without touching the others", async () => {
    const home = await temporaryHome();
    const { url } = await startBroker(home);
    const users = Array.from({ length: 200 }, (_, i) => joiner(`n${i}`, i % 2 === 0 ? "worker" : "client"));
    const [revoked, ...kept] = users;
    if (revoked === undefined) throw new Error("no users");
    await Promise.all(kept.map(({ registration }) => writeUser(home.layout.credentials, recordOf(registration))));
    await home.credentials.register(revoked.registration);
    const cut = await connectAs(url, revoked);
    const connections: NatsConnection[] = [];
    for (const user of kept.filter((_, i) => i % 20 === 0)) connections.push(await connectAs(url, user));
    expect(connections).toHaveLength(10);
    const closed = cut.closed();
    await home.credentials.revoke(revoked.registration.user);
    await closed;
    await expect(connectAs(url, revoked)).rejects.toThrow(/Authorization Violation/);
    for (const connection of connections) {
      await connection.flush();
      expect(connection.isClosed()).toBe(false);
    }
  });
});

describe("a revocation", () => {
  it("is for good: neither the name nor the key comes back, and a second one is no change", async () => {
    const home = await temporaryHome();
    await startBroker(home);
    const node = joiner("nabc").registration;
    await home.credentials.register(node);
    await home.credentials.revoke("nabc");
    await home.credentials.revoke("nabc");
    for (const registration of [node, joiner("nabc").registration, { ...node, user: "nother" }]) {
      await expect(home.credentials.register(registration)).rejects.toEqual(refused("NODE_REVOKED"));
    }
    expect(await home.credentials.find("nabc")).toBeUndefined();
    expect((await home.credentials.list()).map(({ user }) => user)).not.toContain("nabc");
    const again = await openHome(home.dir);
    await expect(again.credentials.register(node)).rejects.toEqual(refused("NODE_REVOKED"));
  });

  it("that a crash cut short after its record is finished by the next change, whoever makes it", async () => {
    const home = await temporaryHome();
    const { url } = await startBroker(home);
    const node = joiner("nabc");
    await home.credentials.register(node.registration);
    const connection = await connectAs(url, node);
    const record = await readUser(home.layout.credentials, "nabc");
    if (record === undefined) throw new Error("nabc has no record");
    await writeUser(home.layout.credentials, { ...record, revokedAt: 1 });
    const closed = connection.closed();
    await home.credentials.ensureRole("client");
    await closed;
    await expect(connectAs(url, node)).rejects.toThrow(/Authorization Violation/);
  });

  it("gives a shared role a new key when it is next asked for", async () => {
    const home = await temporaryHome();
    const { url } = await startBroker(home);
    const before = await home.credentials.read("observer");
    await home.credentials.revoke("observer");
    await expect(connectAs(url, before)).rejects.toThrow(/Authorization Violation/);
    await connectAs(url, await home.credentials.ensureRole("observer"));
  });
});

describe("a change that a crash cut short", () => {
  it("after the record, after the canary, or before the reload is finished by the next change", async () => {
    const home = await temporaryHome();
    const { url } = await startBroker(home);
    const [first, second, third] = [joiner("nfirst"), joiner("nsecond"), joiner("nthird")];
    const write = async ({ registration }: Joiner): Promise<void> =>
      await writeUser(home.layout.credentials, recordOf(registration));
    await write(first);
    await home.credentials.register(first.registration);
    await connectAs(url, first);
    await write(second);
    await hatchCanary(home.layout.credentials);
    await home.credentials.register(second.registration);
    await connectAs(url, second);
    // The file is written by somebody who dies before the reload: without a broker nothing is reloaded.
    const record = await readFile(home.layout.nats.record, "utf8");
    await write(third);
    await unlink(home.layout.nats.record);
    await home.credentials.register(third.registration);
    await expect(connectAs(url, third)).rejects.toThrow(/Authorization Violation/);
    await writeFile(home.layout.nats.record, record, { mode: 0o600 });
    await home.credentials.register(third.registration);
    await connectAs(url, third);
  });
});

describe("a guest", () => {
  const ask = async (connection: NatsConnection): Promise<string> =>
    (await connection.request(names.task("p", "k"), "", { timeout: 5_000 })).string();

  it("has a name of its own kind", () => {
    const made = Array.from({ length: 100 }, newGuestName);
    expect(made.every(isGuestName)).toBe(true);
    expect(new Set(made).size).toBe(100);
  });

  it("reaches the swarm as soon as it is registered, and goes on doing so while others come and go", async () => {
    const home = await temporaryHome();
    const { url } = await startBroker(home);
    const gate = await connectAs(url, await home.credentials.read("system"));
    gate.subscribe(`${names.prefix}.guests.>`, { callback: (_, message) => void message.respond(message.subject) });
    await gate.flush();
    const guests: { readonly user: string; readonly connection: NatsConnection }[] = [];
    for (let i = 0; i < 3; i++) {
      const user = newGuestName();
      const guest = joiner(user, "guest");
      await home.credentials.register(guest.registration);
      guests.push({ user, connection: await connectAs(url, guest) });
      for (const each of guests) expect(await ask(each.connection)).toBe(names.guest(each.user, "tasks", "p", "k"));
    }
    const [gone, ...rest] = guests;
    await home.credentials.revoke(gone?.user ?? "");
    await gone?.connection.closed();
    for (const each of rest) expect(await ask(each.connection)).toBe(names.guest(each.user, "tasks", "p", "k"));
  });

  it("whose registration was cut short between the two loads is reached after the next change", async () => {
    const home = await temporaryHome();
    const { url } = await startBroker(home);
    const gate = await connectAs(url, await home.credentials.read("system"));
    gate.subscribe(`${names.prefix}.guests.>`, { callback: (_, message) => void message.respond(message.subject) });
    await gate.flush();
    const issued = await home.credentials.issue("guest");
    const record = await readUser(home.layout.credentials, issued.user);
    if (record?.linked !== true) throw new Error("the guest is not linked");
    const { linked: _, ...unlinked } = record;
    await writeUser(home.layout.credentials, unlinked);
    await home.credentials.issue("worker");
    expect((await home.credentials.find(issued.user))?.linked).toBe(true);
    expect(await ask(await connectAs(url, issued))).toBe(names.guest(issued.user, "tasks", "p", "k"));
  });

  it("is reached after a start of the broker, without anything further", async () => {
    const home = await temporaryHome();
    const guest = joiner(newGuestName(), "guest");
    await home.credentials.register(guest.registration);
    const { url } = await startBroker(home);
    const gate = await connectAs(url, await home.credentials.read("system"));
    gate.subscribe(`${names.prefix}.guests.>`, { callback: (_, message) => void message.respond(message.subject) });
    await gate.flush();
    expect(await ask(await connectAs(url, guest))).toBe(names.guest(guest.registration.user, "tasks", "p", "k"));
  });
});
