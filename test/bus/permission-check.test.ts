import { createUser } from "@nats-io/nkeys";
import { describe, expect, it, onTestFinished } from "vitest";
import type { Bus } from "../../src/bus/bus.ts";
import { connectBus } from "../../src/bus/connection.ts";
import type { Credential } from "../../src/bus/credentials/credentials.ts";
import { renderPermissions } from "../../src/bus/credentials/permissions-text.ts";
import { lackingSubjects, missingPermissions } from "../../src/bus/permission-check.ts";
import { type Permissions, permissionsOf } from "../../src/protocols/roles.ts";
import { Names } from "../../src/protocols/subjects.ts";
import { holdTimers } from "../support/held-timers.ts";
import { startBroker, temporaryHome } from "../support/home.ts";
import { TestNats } from "../support/nats.ts";

const names = new Names();
const HOST = "nhostaaaaa";
/** What the server has for its answer. */
const ANSWER_MS = 2_000;

describe("subjects that are lacking", () => {
  it.each([
    { wanted: ["a.b"], have: { allow: ["a.*"] }, lacking: [] },
    { wanted: ["a.*"], have: { allow: ["a.b", "a.c"] }, lacking: ["a.*"] },
    { wanted: ["a.*"], have: { allow: [">"] }, lacking: [] },
    { wanted: ["a.>"], have: { allow: ["a.*"] }, lacking: ["a.>"] },
    { wanted: ["a.b"], have: {}, lacking: [] },
    { wanted: ["a.b"], have: { allow: [] }, lacking: ["a.b"] },
    { wanted: ["a.b"], have: { deny: ["a.*"] }, lacking: ["a.b"] },
    { wanted: ["a.*"], have: { allow: [">"], deny: ["a.b"] }, lacking: ["a.*"] },
    { wanted: ["a.*"], have: { allow: [">"], deny: ["a.b.c"] }, lacking: [] },
    { wanted: ["a.*"], spared: ["a.b"], have: { allow: [">"], deny: ["a.b"] }, lacking: [] },
    { wanted: ["a.*"], spared: ["a.b"], have: { allow: [">"], deny: ["a.b", "a.c"] }, lacking: ["a.*"] },
    { wanted: ["a.*"], spared: ["a.b"], have: { allow: [">"], deny: ["*.b"] }, lacking: [] },
    { wanted: ["a.*"], spared: ["a.b"], have: { allow: [">"], deny: [">"] }, lacking: ["a.*"] },
    { wanted: ["a.b"], have: { allow: ["a.b queue"] }, lacking: ["a.b"] },
    { wanted: ["a.b"], have: { deny: ["a.b queue"] }, lacking: ["a.b"] },
  ])("of $wanted with $have are $lacking", ({ wanted, spared = [], have, lacking }) => {
    expect(lackingSubjects(wanted, spared, have)).toEqual(lacking);
  });
});

describe("a credential's permissions", () => {
  async function busAs(url: string, { seed, inboxPrefix, user }: Credential): Promise<Bus> {
    const bus = await connectBus({ url, seed, inboxPrefix, name: user });
    onTestFinished(() => bus.close());
    return bus;
  }

  it("are complete for each role as its home's broker has them, and name what another role has more", async () => {
    const home = await temporaryHome();
    const { url } = await startBroker(home);
    holdTimers(ANSWER_MS);
    for (const role of ["system", "admin", "client", "observer"] as const) {
      const bus = await busAs(url, await home.credentials.read(role));
      expect(await missingPermissions(bus, role, role, names), role).toEqual([]);
    }
    for (const role of ["worker", "dispatcher", "guest"] as const) {
      const credential = await home.credentials.issue(role);
      const bus = await busAs(url, credential);
      expect(await missingPermissions(bus, role, credential.user, names), role).toEqual([]);
      if (role !== "worker") continue;
      const missing = await missingPermissions(bus, "dispatcher", credential.user, names);
      expect(missing).toContainEqual({ operation: "publish", subject: names.task("*", "*") });
      expect(missing).toContainEqual({ operation: "subscribe", subject: names.heartbeat("*") });
      const other = await missingPermissions(bus, "worker", HOST, names);
      expect(other).toContainEqual({ operation: "subscribe", subject: names.host(HOST, "*") });
      expect(other).toContainEqual({ operation: "subscribe", subject: `_INBOX.${HOST}.>` });
    }
  });

  it("are compared with what an external server really lets its user do", async () => {
    const endOfTime = holdTimers(ANSWER_MS);
    const pair = createUser();
    const seed = Uint8Array.from(pair.getSeed());
    const whole = permissionsOf("worker", HOST, names);
    const results = names.result("*", "*");
    const less: Permissions = {
      ...whole,
      publish: whole.publish.filter((subject) => subject !== results),
      deny: {
        publish: [...(whole.deny?.publish ?? []), names.heartbeat(HOST)],
        subscribe: whole.deny?.subscribe ?? [],
      },
    };
    const server = new TestNats({ config: users(pair.getPublicKey(), whole) });
    onTestFinished(() => server.close());
    await server.start();
    const bus = await server.bus({ seed, user: HOST });
    expect(await missingPermissions(bus, "worker", HOST, names)).toEqual([]);
    await server.reload(users(pair.getPublicKey(), less));
    const changed = await server.bus({ seed, user: HOST });
    expect(await missingPermissions(changed, "worker", HOST, names)).toEqual([
      { operation: "publish", subject: names.heartbeat(HOST) },
      { operation: "publish", subject: results },
    ]);
    await server.reload(users(pair.getPublicKey(), undefined));
    const unlimited = await server.bus({ seed, user: HOST });
    expect(await missingPermissions(unlimited, "dispatcher", HOST, names)).toEqual([]);
    const mute = { publish: [names.task("*", "*")], subscribe: [`_INBOX.${HOST}.>`] };
    await server.reload(users(pair.getPublicKey(), mute));
    const silent = await server.bus({ seed, user: HOST });
    expect(await missingPermissions(silent, "worker", HOST, names)).toBe("unknown");
    await server.reload(users(pair.getPublicKey(), { ...mute, subscribe: ["_INBOX.other.>"] }));
    const deaf = await server.bus({ seed, user: HOST });
    const ofDeaf = missingPermissions(deaf, "worker", HOST, names);
    endOfTime();
    expect(await ofDeaf).toEqual([{ operation: "subscribe", subject: `_INBOX.${HOST}.>` }]);
  });

  it("are complete on a server that asks for no credential", async () => {
    const server = new TestNats();
    onTestFinished(() => server.close());
    await server.start();
    expect(await missingPermissions(await server.bus(), "worker", HOST, names)).toEqual([]);
  });

  function users(nkey: string, permissions: Permissions | undefined): string {
    const block = permissions === undefined ? "" : renderPermissions(permissions, "  ");
    return `authorization { users: [ { nkey: ${nkey}\n${block} } ] }`;
  }
});
