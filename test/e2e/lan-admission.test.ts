/**
 * Who is let into a swarm on a network, who is not, and what a machine beyond loopback can see. The swarms have networks of
 * their own and work side by side; the tests of one go one after the other.
 */
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { layoutOf } from "../../src/bus/home/layout.ts";
import { Lan, type Station, tokenLine } from "../support/lan.ts";
import type { Node } from "../support/node.ts";
import { describeWith } from "../support/require.ts";
import { type Admin, FIXTURES } from "../support/swarm.ts";
import { TestNetwork } from "../support/test-network.ts";
import { eventually } from "../support/wait.ts";

const COUNT = { pool: "default", kind: "count" };
const ECHO = { pool: "default", kind: "echo" };
const MODULE = ["--agents", "0", "--module", `${FIXTURES}agents.ts`];
const REFUSED = 77;
const CONFIGURATION = 78;

describeWith("network", TestNetwork.missing()).concurrent("a swarm on a network", () => {
  describe.concurrent("lets nodes in", () => {
    const lan = new Lan();
    let master: Station;
    let other: Station;
    let up: Node;
    let node: Node;
    let admin: Admin;

    it.sequential("whom its operator approves by the fingerprint that both sides show", async () => {
      [master, other] = (await lan.stations(2)) as [Station, Station];
      up = await master.up(...MODULE);
      admin = await lan.admin(master);
      await admin.rosterOf(COUNT, [up.hostId]);
      const asking = other.launch("join", ...MODULE);
      const [, shown] = await asking.said(/[Ff]ingerprint ([a-z2-7]{4}-[a-z2-7]{4})/);
      const pending = JSON.parse(await master.succeed("approve", "--json")) as Record<string, unknown>;
      expect(pending).toMatchObject({ state: "pending", fingerprint: shown, address: other.address });
      const name = String(pending["node"]);
      const guessed = await master.vgas("approve", name, "--fingerprint", "aaaa-aaaa");
      expect(guessed.code).not.toBe(0);
      expect(await admin.roster(COUNT)).toHaveLength(1);
      await master.succeed("approve", name, "--fingerprint", String(shown));
      node = await asking.ready;
      expect(node.hostId).toBe(name);
      await admin.rosterOf(COUNT, [up.hostId, node.hostId]);
    });

    it.sequential("P1: and cuts off whom it revokes, at once and for good; its tasks run elsewhere", async () => {
      const results = await admin.collect();
      const go = join(lan.dir, "revoked");
      const sequences = await admin.submit("count", new Array(30).fill({ input: { until: go } }));
      await eventually(
        async () => ((await admin.stats(node.hostId)).running.slice(0, 5).every((n) => n === 3) ? true : undefined),
        "it to be full",
      );
      await master.succeed("revoke", node.hostId);
      await admin.rosterOf(COUNT, [up.hostId]);
      writeFileSync(go, "");
      await results.reach(sequences.length);
      expect(results.all.every(({ status, host }) => status === "ok" && host === up.hostId)).toBe(true);
      expect(results.all.filter(({ attempt }) => attempt === 2).length).toBeGreaterThanOrEqual(1);
      expect(await node.ended).toBe(REFUSED);
      expect(node.log()).toContain("NODE_REVOKED");

      const token = await master.token();
      const comesBack = async (...args: readonly string[]): Promise<void> => {
        const { code, stderr } = await other.vgas("join", ...args, ...MODULE, "--timeout", "60s", "--json");
        expect({ code, stderr }).toMatchObject({ code: REFUSED, stderr: expect.stringContaining("NODE_REVOKED") });
      };
      await comesBack();
      await comesBack("--token-file", token);
      // Not with another key either: the id is known.
      rmSync(layoutOf(other.home).membership.dir, { recursive: true });
      await comesBack("--token-file", token);
      await up.said(/NODE_REVOKED/);
    });

    it.sequential("and notices a home that is a copy of another's", async () => {
      const [a, b] = (await lan.stations(2)) as [Station, Station];
      const original = await a.join("--token-file", await master.token(), ...MODULE);
      await admin.rosterOf(COUNT, [up.hostId, original.hostId]);
      const home = join(lan.dir, "copied");
      mkdirSync(home, { mode: 0o700 });
      // Without its lock: on another machine that says nothing.
      cpSync(a.home, home, { recursive: true, filter: (name) => name !== layoutOf(a.home).lock });
      const copy = b.withHome(home).launch("join", ...MODULE);
      expect(await copy.ended).toBe(CONFIGURATION);
      expect(copy.log()).toContain("HOME_COPIED");
      expect(original.child.exitCode).toBe(null);
      await admin.rosterOf(COUNT, [up.hostId, original.hostId]);
    });
  });

  describe.concurrent("serves other machines", () => {
    const lan = new Lan();
    let master: Station;
    let other: Station;
    let up: Node;
    let admin: Admin;

    it.sequential("a client and a guest that have a token can submit, and see what they may", async () => {
      [master, other] = (await lan.stations(2)) as [Station, Station];
      up = await master.up();
      admin = await lan.admin(master);
      await admin.rosterOf(ECHO, [up.hostId]);
      const client = other;
      await client.succeed("connect", "--token-file", await master.token("--role", "client"));
      expect(JSON.parse(await client.succeed("submit", "echo", '{"hello":1}', "--wait", "--json"))).toMatchObject({
        status: "ok",
        output: { hello: 1 },
      });
      const guest = other.withHome(`${other.home}-guest`);
      await guest.succeed("connect", "--token-file", await master.token("--role", "guest"));
      expect(JSON.parse(await guest.succeed("submit", "echo", '"hi"', "--wait", "--json"))).toMatchObject({
        status: "ok",
        output: "hi",
      });
      const all = await guest.vgas("results");
      expect(all.code).toBe(REFUSED);
      expect(await admin.stored()).toBe(2);
    });

    it.sequential("HTTP tells them its health, and more only by a token over TLS", async () => {
      const host = master.address;
      const ca = readFileSync(layoutOf(master.home).authority.caCertificate, "utf8");
      const token = await master.token("--role", "observer", "--uses", "unlimited");
      const worker = await master.token("--role", "worker");
      const ask = (path: string, more: object = {}): Promise<object> => other.ask({ host, path, ca, ...more });
      expect(await ask("/healthz")).toEqual({ status: 200 });
      expect(await ask("/readyz")).toEqual({ status: 401 });
      expect(await ask("/readyz", { bearer: tokenLine(token) })).toEqual({ status: 200 });
      expect(await ask("/readyz", { bearer: `${tokenLine(token).slice(0, -1)}_` })).toEqual({ status: 401 });
      expect(await ask("/readyz", { bearer: tokenLine(worker) })).not.toEqual({ status: 200 });
      for (const path of ["/healthz", "/readyz"]) {
        expect(await ask(path, { plain: true, bearer: tokenLine(token) })).not.toEqual({ status: 200 });
      }
      // Who does not know the authority has no reason to believe it.
      expect(await other.ask({ host, path: "/healthz" })).toHaveProperty("error");
      expect(await master.ask({ host: "127.0.0.1", path: "/readyz", plain: true })).toEqual({ status: 200 });
    });

    it.sequential("lets nodes in by a token only as often as it says, and only into its own swarm", async () => {
      const [second, third] = (await lan.stations(2)) as [Station, Station];
      const foreign = await second.up();
      const token = await second.token();
      // Told where the wrong swarm is, it goes there, sees that it is another one, and says nothing to it.
      const wrong = await third.vgas(
        "join",
        "--token-file",
        token,
        "--no-mdns",
        "--peer",
        `${master.address}:8080`,
        "--timeout",
        "3s",
      );
      expect(wrong.code).not.toBe(0);
      expect(up.log()).not.toContain(third.address);
      // Both announce themselves.
      const joined = await third.join("--token-file", token);
      const there = await lan.admin(second);
      await there.rosterOf(ECHO, [foreign.hostId, joined.hostId]);
      expect((await admin.roster(ECHO)).map(({ host }) => host)).not.toContain(joined.hostId);
      const late = await lan.station();
      const { code, stderr } = await late.vgas("join", "--token-file", token, "--timeout", "60s", "--json");
      expect({ code, stderr }).toMatchObject({ code: REFUSED, stderr: expect.stringContaining("TOKEN_USED_UP") });
    });
  });
});
