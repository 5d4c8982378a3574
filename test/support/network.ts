/**
 * Machines on a network of their own: network namespaces joined by a bridge, which is in a namespace too, so that nothing of the
 * real machine is touched. Needs Linux, iproute2 and util-linux, and root or unprivileged user namespaces.
 *
 * Invariants:
 * 1. A namespace has no name: it lives as long as its holder, a process that waits for the end of its standard input.
 *    When the test dies, however it dies, the holder kills all that runs in the namespace, and the kernel removes the rest.
 * 2. What a command leaves behind (a broker that outlives its node) is found by its namespace, not by its pid.
 */
import { type ChildProcess, execFile, type SpawnOptions, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

/** What a command that ran in a namespace did. */
export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** An interface to be plugged in. */
export interface Plug {
  /** Name inside the machine; `eth1`, … by default. */
  readonly name?: string;
  /** IPv4 address; the next free one of the segment by default. */
  readonly address?: string;
  /** Bridge it is plugged into; `lan` (10.77.0.0/16) by default. Another one is another cable: `segment` n has 10.77+n.0.0/16. */
  readonly segment?: string;
}

const PREFIX_BITS = 16;
const FIRST_NETWORK = 77;

/**
 * Holds a namespace: tells its pid when it is there, and at the end of its input kills everything in the namespace but itself.
 * `$$` is the shell's own pid, and the shell is not replaced, so it is what nsenter enters by.
 */
const HOLDER = `
echo $$
cat >/dev/null
mine=$(readlink /proc/$$/ns/net)
for round in 1 2 3; do
  for each in /proc/[0-9]*; do
    pid=\${each#/proc/}
    [ "$pid" != $$ ] && [ "$(readlink "$each/ns/net" 2>/dev/null)" = "$mine" ] && kill -9 "$pid" 2>/dev/null
  done
done
exit 0
`;

/** Where an interface is plugged in. */
interface Plugged {
  address: string;
  /** The other end of the interface's cable, on the bridge. */
  readonly port: string;
  readonly bridge: string;
}

/** A cable that machines are plugged into. */
interface Segment {
  readonly number: number;
  readonly bridge: string;
  readonly ready: Promise<void>;
  /** Last part of the last address given out. */
  last: number;
}

/** Runs in a machine: whoever connects to the socket of the file system talks to the port there. */
const RELAY = `
const { connect, createServer } = require("node:net");
const [path, port, address] = process.argv.slice(1);
createServer((client) => {
  const server = connect(Number(port), address);
  for (const [one, other] of [[client, server], [server, client]]) {
    one.on("error", () => one.destroy()).on("close", () => other.destroy());
    one.pipe(other);
  }
}).listen(path, () => console.log("on"));
`;

/** A network without machines; `close` ends it and them. */
export class Network {
  #hub: Promise<Holder> | undefined;
  readonly #machines: Machine[] = [];
  readonly #segments = new Map<string, Segment>();
  #ports = 0;

  /** Why there can be no network here; undefined if there can. */
  static missing(): string | undefined {
    if (process.platform !== "linux") return "network namespaces are Linux's";
    for (const tool of ["ip", "unshare", "nsenter"]) {
      if (spawnSync(tool, ["--version"]).error) return `there is no ${tool} on PATH (packages iproute2 and util-linux)`;
    }
    const tried = spawnSync(
      "unshare",
      [...unshareFlags(), "sh", "-c", "ip link set lo up && ip link add br-try type bridge"],
      { encoding: "utf8" },
    );
    if (tried.status === 0) return undefined;
    return `namespaces cannot be made here (root or unprivileged user namespaces are needed): ${tried.stderr.trim()}`;
  }

  /** A machine with `lo` and `eth0` in the segment `lan`. */
  async machine(plug: Plug = {}): Promise<Machine> {
    const name = plug.name ?? "eth0";
    // Taken at once: machines that are made together have their addresses in the order of the calls.
    const address = plug.address ?? this.#nextAddress(plug.segment);
    const machine = new Machine(this, await Holder.start((await this.#holder()).enter(["unshare", "--net"])));
    this.#machines.push(machine);
    await machine.run("ip", "link", "set", "lo", "up");
    await machine.plugIn({ ...plug, name, address });
    // Multicast goes where the default route goes unless a program says otherwise, as on a real machine.
    await machine.run("ip", "route", "add", "default", "dev", name);
    return machine;
  }

  /** Joins an interface of the machine to the segment's bridge. Returns its address, and its port on the bridge. */
  async plug(machine: Machine, wanted: Plug & { readonly name: string }): Promise<Plugged> {
    const { bridge, ready } = this.#segment(wanted.segment);
    const address = wanted.address ?? this.#nextAddress(wanted.segment);
    const port = `port${this.#ports++}`;
    await ready;
    await this.ip("link", "add", port, "type", "veth", "peer", "name", wanted.name, "netns", String(machine.pid));
    await this.ip("link", "set", port, "master", bridge, "up");
    await machine.run("ip", "address", "add", `${address}/${PREFIX_BITS}`, "dev", wanted.name);
    await machine.run("ip", "link", "set", wanted.name, "up");
    return { address, port, bridge };
  }

  #segment(name = "lan"): Segment {
    let segment = this.#segments.get(name);
    if (!segment) {
      const bridge = `br-${name}`;
      const make = async (): Promise<void> => {
        await this.ip("link", "add", bridge, "type", "bridge", "mcast_snooping", "0", "forward_delay", "0");
        await this.ip("link", "set", bridge, "up");
      };
      segment = { number: this.#segments.size, bridge, ready: make(), last: 1 };
      this.#segments.set(name, segment);
    }
    return segment;
  }

  #nextAddress(name?: string): string {
    const segment = this.#segment(name);
    segment.last++;
    return `10.${FIRST_NETWORK + segment.number}.0.${segment.last}`;
  }

  /** `ip` in the namespace of the bridges. */
  async ip(...args: readonly string[]): Promise<void> {
    await succeed((await this.#holder()).enter(["ip", ...args]));
  }

  async close(): Promise<void> {
    await Promise.all(this.#machines.splice(0).map((machine) => machine.close()));
    const hub = this.#hub;
    this.#hub = undefined;
    await (await hub)?.end();
  }

  /** The namespace of the bridges. */
  #holder(): Promise<Holder> {
    this.#hub ??= Holder.start(["unshare", ...unshareFlags()]);
    return this.#hub;
  }
}

/** One machine of the network. */
export class Machine {
  readonly #network: Network;
  readonly #holder: Holder;
  /** Interface to where it is plugged in. */
  readonly #plugs = new Map<string, Plugged>();
  readonly #closers: (() => void)[] = [];

  constructor(network: Network, holder: Holder) {
    this.#network = network;
    this.#holder = holder;
  }

  /** Pid of a process in its namespace. */
  get pid(): number {
    return this.#holder.pid;
  }

  /** Address of `name`. */
  address(name = "eth0"): string {
    return this.#plug(name).address;
  }

  /** The command line that runs `argv` in here. */
  enter(argv: readonly string[]): string[] {
    return this.#holder.enter(argv);
  }

  /** Starts `argv` in here. */
  spawn(argv: readonly string[], options: SpawnOptions = {}): ChildProcess {
    const [file = "", ...args] = this.enter(argv);
    return spawn(file, args, options);
  }

  /** Runs `argv` in here to its end, whatever its exit code. */
  exec(
    argv: readonly string[],
    options: { readonly input?: string; readonly env?: NodeJS.ProcessEnv } = {},
  ): Promise<Ran> {
    return run(this.enter(argv), options);
  }

  /** Runs `argv` in here. Returns what it printed; throws if it failed. */
  async run(...argv: readonly string[]): Promise<string> {
    return await succeed(this.enter(argv));
  }

  /** Plugs another interface in, or one that was taken away. */
  async plugIn(plug: Plug = {}): Promise<string> {
    const name = plug.name ?? `eth${this.#plugs.size}`;
    const plugged = await this.#network.plug(this, { ...plug, name });
    this.#plugs.set(name, plugged);
    return plugged.address;
  }

  /** Takes an interface away. */
  async remove(name: string): Promise<void> {
    await this.run("ip", "link", "delete", name);
    this.#plugs.delete(name);
  }

  /** Pulls the cable: the machine sees that it has no carrier. */
  async pullCable(name = "eth0"): Promise<void> {
    await this.#network.ip("link", "set", this.#plug(name).port, "down");
  }

  async plugCable(name = "eth0"): Promise<void> {
    await this.#network.ip("link", "set", this.#plug(name).port, "up");
  }

  /** Loses every packet from now on; the machine sees nothing of it. */
  async cut(name = "eth0"): Promise<void> {
    await this.#network.ip("link", "set", this.#plug(name).port, "nomaster");
  }

  async heal(name = "eth0"): Promise<void> {
    const { port, bridge } = this.#plug(name);
    await this.#network.ip("link", "set", port, "master", bridge);
  }

  /** Gives the interface another address; connections by the former one are dead. */
  async changeAddress(address: string, name = "eth0"): Promise<void> {
    await this.run("ip", "address", "flush", "dev", name, "scope", "global");
    await this.run("ip", "address", "add", `${address}/${PREFIX_BITS}`, "dev", name);
    await this.run("ip", "route", "replace", "default", "dev", name);
    this.#plug(name).address = address;
  }

  /**
   * A port of the test's own loopback that leads to `port` of the machine's, or of an address of its own: TCP to a relay in the machine through a socket in
   * the file system, which all namespaces share.
   */
  async forward(port: number, address = "127.0.0.1"): Promise<number> {
    const dir = mkdtempSync(join(tmpdir(), "vgas-relay-"));
    const path = join(dir, "socket");
    const relay = this.spawn([process.execPath, "-e", RELAY, path, String(port), address], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    if (relay.stdout === null) throw new Error("the relay has no output");
    await once(createInterface(relay.stdout), "line");
    const server = createServer((client) => joinSockets(client, connect(path)));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    this.#closers.push(() => {
      server.close();
      rmSync(dir, { recursive: true, force: true });
    });
    return (server.address() as AddressInfo).port;
  }

  /** Kills everything in here and removes it. */
  async close(): Promise<void> {
    for (const close of this.#closers.splice(0)) close();
    await this.#holder.end();
  }

  #plug(name: string): Plugged {
    const plug = this.#plugs.get(name);
    if (!plug) throw new Error(`the machine has no ${name}`);
    return plug;
  }
}

/** A process that keeps a namespace (invariant 1). */
class Holder {
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  readonly pid: number;

  private constructor(child: ChildProcess, pid: number) {
    this.#child = child;
    this.#ended = once(child, "exit");
    this.pid = pid;
  }

  static async start(argv: readonly string[]): Promise<Holder> {
    const [file = "", ...args] = argv;
    // Detached: an interrupt at the terminal goes to the test, and the test's end to the holder.
    const child = spawn(file, [...args, "sh", "-c", HOLDER], { stdio: ["pipe", "pipe", "pipe"], detached: true });
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    const line = await Promise.race([
      once(createInterface(child.stdout), "line"),
      once(child, "exit").then(() => {
        throw new Error(`a namespace could not be made: ${stderr}`);
      }),
    ]);
    child.unref();
    return new Holder(child, Number(line[0]));
  }

  enter(argv: readonly string[]): string[] {
    const user = isRoot() ? [] : ["--user", "--preserve-credentials"];
    return ["nsenter", "--target", String(this.pid), ...user, "--net", "--", ...argv];
  }

  async end(): Promise<void> {
    this.#child.ref();
    this.#child.stdin?.end();
    if (this.#child.exitCode === null && this.#child.signalCode === null) await this.#ended;
  }
}

function joinSockets(client: Socket, server: Socket): void {
  for (const [one, other] of [
    [client, server],
    [server, client],
  ] as const) {
    one.on("error", () => one.destroy()).on("close", () => other.destroy());
    one.pipe(other);
  }
}

function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/** Another user is root in a user namespace that the holders share. */
function unshareFlags(): string[] {
  return isRoot() ? ["--net"] : ["--user", "--map-root-user", "--net"];
}

function run(
  argv: readonly string[],
  options: { readonly input?: string; readonly env?: NodeJS.ProcessEnv } = {},
): Promise<Ran> {
  const [file = "", ...args] = argv;
  return new Promise((resolve) => {
    const child = execFile(
      file,
      args,
      { maxBuffer: 1 << 26, ...(options.env && { env: options.env }) },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === "number" ? error.code : 1;
        resolve({ code, stdout, stderr });
      },
    );
    // A command that does not read its input has closed it.
    child.stdin?.on("error", () => undefined).end(options.input ?? "");
  });
}

async function succeed(argv: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run(argv);
  if (code !== 0) throw new Error(`${argv.join(" ")} ended with ${code}: ${stderr.trim()}`);
  return stdout;
}
