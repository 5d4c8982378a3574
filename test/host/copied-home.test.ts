/** A member's home that runs twice, and one whose node is killed and started again. */
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { layoutOf } from "../../src/bus/home/layout.ts";
import { type Launched, launchNode } from "../support/node.ts";
import { TcpProxy } from "../support/proxy.ts";
import { type Admin, type Node, TestSwarm } from "../support/swarm.ts";

const ECHO = { pool: "default", kind: "echo" };
const CONFIGURATION = 78;

describe("a member's home", () => {
  const swarm = new TestSwarm();
  const launched: Launched[] = [];
  let admin: Admin;

  beforeAll(async () => {
    await swarm.up("--agents", "0");
    admin = await swarm.admin();
  });
  afterAll(async () => {
    for (const each of launched) await each.kill("SIGKILL");
  });

  const launch = (home: string, ...flags: readonly string[]): Launched => {
    const each = launchNode(
      ["join", "--connection", join(home, "connection.json"), "--http-port", "0", ...flags],
      home,
    );
    launched.push(each);
    return each;
  };
  /** As on another machine, where its lock says nothing. */
  const copyOf = (home: string): string => {
    const to = `${home}-copy`;
    cpSync(home, to, { recursive: true, filter: (name) => name !== layoutOf(home).lock });
    return to;
  };
  const echo = async (): Promise<string | undefined> => {
    const results = await admin.collect();
    await admin.submit("echo", [{ input: 1 }]);
    await results.reach(1);
    return results.all[0]?.host;
  };

  it.each<[string, readonly string[]]>([
    ["with agents", []],
    ["without agents", ["--agents", "0"]],
  ])("runs once, also when the copy %s was started while the original could not answer", async (_, flags) => {
    const original = await swarm.join("worker");
    await admin.rosterOf(ECHO, [original.hostId]);
    original.child.kill("SIGSTOP");
    const copy: Node = await launch(copyOf(original.home), ...flags).ready;
    expect(copy.hostId).toBe(original.hostId);
    original.child.kill("SIGCONT");
    // Started within a second of each other they count as of one age, and then it may be either.
    const [ended, other] = await Promise.race([
      copy.ended.then(() => [copy, original] as const),
      original.ended.then(() => [original, copy] as const),
    ]);
    expect(await ended.ended).toBe(CONFIGURATION);
    expect(ended.log()).toMatch(new RegExp(`HOME_COPIED.*pid ${other.child.pid}`, "s"));
    if (flags.length > 0) expect(other.child.pid).toBe(original.child.pid);
    await admin.rosterOf(ECHO, [original.hostId]);
    expect(await echo()).toBe(original.hostId);
    // It is told of once at most: the other one can be gone before.
    expect((other.log().match(/from a copy of its home/g) ?? []).length).toBeLessThanOrEqual(
      flags.length === 0 ? 1 : 0,
    );
    expect(other.child.exitCode).toBe(null);
    await other.kill();
  });

  it("is never taken for a copy when its node is killed and started again at once", async () => {
    let node = await swarm.join("worker");
    for (let i = 0; i < 3; i++) {
      await node.kill("SIGKILL");
      node = await launch(node.home).ready;
    }
    await admin.rosterOf(ECHO, [node.hostId]);
    expect(await echo()).toBe(node.hostId);
    expect(node.log()).not.toContain("HOME_COPIED");
    expect(node.child.exitCode).toBe(null);
    await node.kill();
  });

  it("P8: stops without waiting when it is idle and cut off, be it aware of it or not", async () => {
    const stop = async (cut: (proxy: TcpProxy) => unknown): Promise<void> => {
      const { home, file } = await swarm.homeOf("worker");
      const connection = JSON.parse(readFileSync(file, "utf8")) as { readonly url: string };
      const proxy = await TcpProxy.to(Number(new URL(connection.url).port));
      writeFileSync(file, JSON.stringify({ ...connection, url: proxy.url }), { mode: 0o600 });
      const node = await launch(home).ready;
      await cut(proxy);
      expect(await node.kill()).toBe(0);
      expect(node.log()).not.toContain("10000 ms");
      await proxy.close();
    };
    await Promise.all([
      stop((proxy) => proxy.close()),
      stop((proxy) => {
        proxy.deaf = true;
      }),
    ]);
  });
});
