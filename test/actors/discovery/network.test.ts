/**
 * Discovery on real sockets, in machines made of network namespaces: two nodes, changed and left-out interfaces, port 5353 taken, a
 * killed node, a flood, and avahi, both ways.
 */
import { type ChildProcess, spawnSync } from "node:child_process";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import type { DiscoveryReport, Peer, SelfDescription } from "../../../src/protocols/discovery.ts";
import type { Machine } from "../../support/network.ts";
import { programCommand } from "../../support/programs.ts";
import { describeWith } from "../../support/require.ts";
import { TestNetwork } from "../../support/test-network.ts";

/** Holds port 5353 without letting anybody share it. */
const GREEDY = `const s = require("dgram").createSocket("udp4"); s.bind(5353, "0.0.0.0", () => console.log("bound"));`;

interface Line {
  readonly event: "ready" | "peer" | "log" | "report";
  readonly report: DiscoveryReport;
  readonly peer: Peer;
  readonly level: string;
  readonly message: string;
  readonly rss: number;
}

interface Options {
  readonly advertise?: boolean;
  readonly interfaces?: readonly string[];
  readonly ttlS?: number;
}

/** The test's `onTestFinished`: tests run at the same time. */
type Ends = (cleanup: () => void) => void;

/** A process with Discovery in a machine. */
class Node {
  readonly lines: Line[] = [];
  readonly child: ChildProcess;
  readonly #waiting = new Set<() => void>();

  constructor(machine: Machine, self: SelfDescription, ends: Ends, options: Options = {}) {
    const given = JSON.stringify({ self, advertise: true, interfaces: [], ...options });
    this.child = machine.spawn(programCommand("node", given), {
      stdio: ["pipe", "pipe", "inherit"],
    });
    ends(() => {
      this.child.kill("SIGKILL");
    });
    if (this.child.stdout === null) throw new Error("the node has no stdout");
    createInterface(this.child.stdout).on("line", (line) => {
      this.lines.push(JSON.parse(line) as Line);
      for (const wake of this.#waiting) wake();
    });
  }

  /** The first line, from `after` on, for which `is` holds. */
  async line(is: (line: Line) => boolean, after = 0): Promise<Line> {
    for (;;) {
      const found = this.lines.slice(after).find(is);
      if (found) return found;
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          this.#waiting.delete(wake);
          resolve();
        };
        this.#waiting.add(wake);
      });
    }
  }

  ready(): Promise<Line> {
    return this.line(({ event }) => event === "ready");
  }

  async peer(id: string, is: (peer: Peer) => boolean = () => true, after = 0): Promise<Peer> {
    return (await this.line(({ event, peer }) => event === "peer" && peer.id === id && is(peer), after)).peer;
  }

  async report(): Promise<Line> {
    const after = this.lines.length;
    this.child.stdin?.write("report\n");
    return await this.line(({ event }) => event === "report", after);
  }

  get warnings(): readonly string[] {
    return this.lines.filter(({ event }) => event === "log").map(({ message }) => message);
  }

  stop(): void {
    this.child.stdin?.write("stop\n");
  }
}

const master = (hostId = "master"): SelfDescription => ({
  ...{ hostId, mode: "master", swarmId: "abcdefghij", pin: "0123456789abcdefGHIJ", httpPort: 8080, natsPort: 4222 },
});
const slave = (hostId = "slave"): SelfDescription => ({ hostId, mode: "slave", httpPort: 8081 });
const is = (state: string) => (peer: Peer) => peer.state === state;

describeWith("network", TestNetwork.missing())("discovery between machines", { concurrent: true }, () => {
  const network = new TestNetwork();

  test("two see each other; one that stops is lost at once, one that is killed when its time is over", async ({
    onTestFinished: ends,
  }) => {
    const [a, b] = await Promise.all([network.machine({ segment: "pair" }), network.machine({ segment: "pair" })]);
    const first = new Node(a, master(), ends);
    const second = new Node(b, slave(), ends, { ttlS: 2 });
    expect(await second.peer("master")).toMatchObject({
      ...{ mode: "master", swarm: "abcdefghij", pinPrefix: "0123456789abcdef" },
      ...{ addresses: [a.address()], port: 8080, natsPort: 4222, state: "seen" },
    });
    expect(await first.peer("slave")).toMatchObject({ addresses: [b.address()], port: 8081 });
    second.child.kill("SIGKILL");
    // On a busy machine its time may have been over before, if it was not seen again since.
    const seen = first.lines.findLastIndex(({ event, peer }) => event === "peer" && peer.state === "seen");
    expect(await first.peer("slave", is("lost"), seen)).toMatchObject({ why: "fell silent" });
    const third = new Node(b, slave("other"), ends);
    await third.peer("master");
    first.stop();
    expect(await third.peer("master", is("lost"))).toMatchObject({ why: "said goodbye" });
    expect([...first.warnings, ...third.warnings]).toEqual([]);
  });

  test("two nodes of one machine see each other", async ({ onTestFinished: ends }) => {
    const a = await network.machine({ segment: "same" });
    const [first, second] = [new Node(a, master(), ends), new Node(a, slave(), ends)];
    await Promise.all([first.peer("slave"), second.peer("master")]);
    expect([...first.warnings, ...second.warnings]).toEqual([]);
  });

  test("two interfaces, each with its own address alone, a bridge of containers left out, and an address that changes", async ({
    onTestFinished: ends,
  }) => {
    const [a, b, c] = await Promise.all([
      network.machine({ segment: "two" }),
      network.machine({ segment: "two" }),
      network.machine({ segment: "second" }),
    ]);
    await a.plugIn({ name: "eth1", segment: "second" });
    await a.run("ip", "link", "add", "docker0", "type", "bridge");
    await a.run("ip", "address", "add", "172.17.0.1/16", "dev", "docker0");
    await a.run("ip", "link", "set", "docker0", "up");
    await a.run("ip", "link", "add", "dummy-veth", "type", "veth", "peer", "name", "container0");
    await a.run("ip", "link", "set", "dummy-veth", "master", "docker0", "up");
    await a.run("ip", "link", "set", "container0", "up");
    const both = new Node(a, master(), ends);
    const [left, right] = [new Node(b, slave("left"), ends), new Node(c, slave("right"), ends)];
    expect([...(await both.ready()).report.addresses].sort()).toEqual([a.address(), a.address("eth1")].sort());
    expect((await left.peer("master")).addresses).toEqual([a.address()]);
    expect((await right.peer("master")).addresses).toEqual([a.address("eth1")]);
    await Promise.all([both.peer("left"), both.peer("right")]);
    const moved = a.address().replace(/\.\d+\.\d+$/, ".9.9");
    await a.changeAddress(moved);
    await left.peer("master", ({ addresses }) => addresses[0] === moved);
    expect((await right.report()).report.peers).toMatchObject([{ id: "master", addresses: [a.address("eth1")] }]);
    await a.remove("eth1");
    const { report } = await both.report();
    expect(report.addresses).toContain(moved);
    expect([...left.warnings, ...right.warnings]).toEqual([]);
  });

  test("with port 5353 taken: one warning, off; on when it is free", async ({ onTestFinished: ends }) => {
    const [a, b] = await Promise.all([network.machine({ segment: "taken" }), network.machine({ segment: "taken" })]);
    const greedy = a.spawn([process.execPath, "-e", GREEDY], { stdio: ["ignore", "pipe", "inherit"] });
    await new Promise((resolve) => greedy.stdout?.once("data", resolve));
    const node = new Node(a, master(), ends);
    const other = new Node(b, slave(), ends);
    ends(() => {
      greedy.kill("SIGKILL");
    });
    expect((await node.ready()).report).toMatchObject({ state: "off", why: expect.stringContaining("EADDRINUSE") });
    expect(node.warnings).toHaveLength(1);
    await other.ready();
    greedy.kill("SIGKILL");
    await Promise.all([node.peer("slave"), other.peer("master")]);
    expect(node.warnings).toHaveLength(1);
  });

  test("without a network: one warning, off; on when there is one", async ({ onTestFinished: ends }) => {
    const a = await network.machine({ segment: "none" });
    await a.run("ip", "link", "set", "eth0", "down");
    const node = new Node(a, master(), ends);
    expect((await node.ready()).report.state).toBe("off");
    await a.run("ip", "link", "set", "eth0", "up");
    const other = new Node(a, slave(), ends);
    await Promise.all([node.peer("slave"), other.peer("master")]);
    expect(node.warnings).toHaveLength(1);
  });

  test("a flood of 10 000 forged services and of noise: bounded, and who was known stays", async ({
    onTestFinished: ends,
  }) => {
    const [a, b, c] = await Promise.all([
      network.machine({ segment: "flood" }),
      network.machine({ segment: "flood" }),
      network.machine({ segment: "flood" }),
    ]);
    const node = new Node(a, slave(), ends);
    const known = new Node(b, master(), ends);
    await node.peer("master");
    const before = (await node.report()).rss;
    const flood = await c.exec(programCommand("flood", c.address(), "10000"));
    expect(flood).toMatchObject({ code: 0, stdout: expect.stringContaining("sent 10000") });
    let after = await node.report();
    // Some of it came through: the flood was one.
    while (!after.report.peers.some(({ id }) => id.startsWith("forged-"))) after = await node.report();
    // The last goodbye in its name may have been heard just now: it answers that it is there.
    while (!after.report.peers.some((peer) => peer.id === "master" && peer.state === "seen"))
      after = await node.report();
    expect(after.report.peers.length).toBeLessThanOrEqual(256);
    expect(after.rss - before).toBeLessThan(100 * 1024 * 1024);
    expect([...node.warnings, ...known.warnings]).toEqual([]);
  });

  describeWith("avahi", missingAvahi())("with avahi", () => {
    test("avahi finds us with address, port and text, and we find what avahi publishes", async ({
      onTestFinished: ends,
    }) => {
      const [a, b] = await Promise.all([network.machine({ segment: "avahi" }), network.machine({ segment: "avahi" })]);
      const node = new Node(a, master("node-a"), ends);
      await node.ready();
      const avahi = await startAvahi(b, ends);
      const found = await eventualBrowse(b, avahi.env, "node-a");
      const [, , , name, type, , host, address, port, text = ""] = found;
      expect({ name, type, host, address, port }).toEqual({
        ...{ name: "node-a", type: "_vgas._tcp", host: "node-a.local", address: a.address(), port: "8080" },
      });
      for (const each of ["v=1", "id=node-a", "mode=master", "swarm=abcdefghij", "nats=4222", "pin=0123456789abcdef"]) {
        expect(text).toContain(`"${each}"`);
      }
      const txt = ["v=1", "id=node-b", "mode=master", "swarm=bcdefghijk", "nats=4333", "pin=fedcba9876543210"];
      const publish = b.spawn(["avahi-publish", "-s", "node-b", "_vgas._tcp", "9090", ...txt], {
        ...{ env: avahi.env, stdio: "ignore" },
      });
      expect(await node.peer("node-b")).toMatchObject({
        ...{ mode: "master", swarm: "bcdefghijk", pinPrefix: "fedcba9876543210", natsPort: 4333, port: 9090 },
        addresses: [b.address()],
      });
      ends(() => {
        publish.kill("SIGKILL");
      });
      publish.kill("SIGTERM");
      expect(await node.peer("node-b", is("lost"))).toMatchObject({ why: "said goodbye" });
      expect(node.warnings).toEqual([]);
    });
  });
});

function missingAvahi(): string | undefined {
  const tools = ["avahi-daemon", "avahi-browse", "avahi-publish", "dbus-daemon"];
  const missing = tools.filter((tool) => spawnSync(tool, ["--version"]).error);
  return missing.length > 0
    ? `there is no ${missing.join(", ")} on PATH (packages avahi-daemon, avahi-utils, dbus)`
    : undefined;
}

/** An avahi in the machine, on a D-Bus of its own. */
async function startAvahi(machine: Machine, ends: Ends): Promise<{ readonly env: NodeJS.ProcessEnv }> {
  const dir = mkdtempSync(join(tmpdir(), "vgas-avahi-"));
  const address = `unix:path=${join(dir, "bus")}`;
  const bus = join(dir, "bus.conf");
  const policy =
    '<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>';
  writeFileSync(
    bus,
    `<busconfig><type>session</type><listen>${address}</listen><auth>EXTERNAL</auth>${policy}</busconfig>`,
  );
  const config = join(dir, "avahi.conf");
  writeFileSync(
    config,
    "[server]\nhost-name=avahi-host\nuse-ipv6=no\nenable-dbus=yes\n[publish]\n[wide-area]\n[rlimits]\n",
  );
  const env = { ...process.env, DBUS_SYSTEM_BUS_ADDRESS: address };
  const daemon = machine.spawn(["dbus-daemon", "--nofork", "--print-address", `--config-file=${bus}`], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  await new Promise((resolve) => daemon.stdout?.once("data", resolve));
  // A mount namespace of its own: the daemon's pid file has a fixed place, which the machine's avahi may hold.
  const script = `mount -t tmpfs tmpfs /run && mkdir -p /run/avahi-daemon && exec avahi-daemon --no-chroot --no-drop-root --no-rlimits --debug -f ${config}`;
  const avahi = machine.spawn(["unshare", "--mount", "sh", "-c", script], { env, stdio: ["ignore", "ignore", "pipe"] });
  ends(() => {
    for (const each of [avahi, daemon]) each.kill("SIGKILL");
  });
  if (avahi.stderr === null) throw new Error("avahi has no stderr");
  let said = "";
  for await (const line of createInterface(avahi.stderr)) {
    said += `${line}\n`;
    if (line.includes("Server startup complete")) {
      avahi.stderr.resume();
      return { env };
    }
  }
  throw new Error(`avahi ended: ${said}`);
}

/** The resolved line of `avahi-browse` about `name`, asked until there is one. */
async function eventualBrowse(machine: Machine, env: NodeJS.ProcessEnv, name: string): Promise<readonly string[]> {
  for (;;) {
    const { stdout } = await machine.exec(["avahi-browse", "-rpt", "_vgas._tcp"], { env });
    const line = stdout.split("\n").find((each) => each.startsWith("=") && each.split(";")[3] === name);
    if (line) return line.split(";");
  }
}
