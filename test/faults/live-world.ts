/**
 * A world of faults that runs: brokers, dispatchers, hosts and a client as real processes, and an observer in this one.
 *
 * 1. Every process of the world is dead when `close` resolves, and when this process ends, however it does.
 * 2. A member that ended unasked is started again, without the orders of the life before.
 * 3. The directory is removed by `close` unless it is to be kept.
 */
import { createWriteStream, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Bus } from "../../src/bus/bus.ts";
import { connectBus } from "../../src/bus/connection.ts";
import { FAILPOINTS, type Failpoint } from "../../src/failpoints/failpoints.ts";
import { JITI } from "../support/jiti.ts";
import { GROUNDS, type Ground, type NodeStart, nodeArgv, type Site } from "./ground.ts";
import { type Entry, type Evicted, type History, type Index, moment, type Streams } from "./history.ts";
import type { LoadSettings } from "./load.ts";
import { ChildMember, type End, type Watcher } from "./member.ts";
import { Observer } from "./observer.ts";
import { oneOf } from "./random.ts";
import { Running } from "./running.ts";
import type { BrokerMember, Member, NodeMember, World, WorldKind } from "./world.ts";

export interface WorldOptions {
  readonly kind: WorldKind;
  readonly seed: string;
  /** Default 2. */
  readonly dispatchers?: number;
  /** Default 3. */
  readonly hosts?: number;
  /** Tasks a second, about. Default 20. */
  readonly rate?: number;
  /** Of every node, in every life. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** Ends what hangs. */
const UNTIL_MS = 60_000;
const LOOK_MS = 25;
/** From the end of the load: acknowledgement waits of 10 s, one after the other, and pauses between attempts are in it. */
const DRAIN_MS = 120_000;
const AGENTS = ["--agents", "0", "--module", fileURLToPath(new URL("agents.ts", import.meta.url))];
const LOAD = fileURLToPath(new URL("load.ts", import.meta.url));
const OUT_OF_ROTATION = "a host is out of the rotation";

export async function startWorld(options: WorldOptions): Promise<LiveWorld> {
  const world = new LiveWorld(options);
  try {
    await world.start();
    return world;
  } catch (error) {
    await world.close({ keep: true });
    throw error;
  }
}

export class LiveWorld implements World {
  readonly kind: WorldKind;
  readonly dir: string;
  readonly dispatchers: NodeMember[] = [];
  readonly hosts: NodeMember[] = [];
  readonly evictions: Evicted[] = [];
  readonly #options: WorldOptions;
  readonly #entries: Entry[] = [];
  readonly #watcher: Watcher;
  readonly #taken = new Set<Member>();
  /** By pid. */
  readonly #ran = new Map<number, Running>();
  /** Starts of members that ended unasked. */
  readonly #revivals = new Set<Promise<void>>();
  #ground: Ground | undefined;
  #bus: Bus | undefined;
  #observer: Observer | undefined;
  #client: ChildMember | undefined;
  readonly #said = new Set<string>();
  #closing = false;

  constructor(options: WorldOptions) {
    this.kind = options.kind;
    this.#options = options;
    this.dir = mkdtempSync(join(tmpdir(), `vgas-faults-${options.kind}-`));
    for (const each of ["history", "logs", "failpoints"]) mkdirSync(join(this.dir, each));
    this.#watcher = {
      started: (member) => this.#started(member),
      ended: (member, code, how) => this.#ended(member, code, how),
      line: (member, line) => this.#heard(member, line),
    };
  }

  get brokers(): readonly BrokerMember[] {
    return this.#ground?.brokers ?? [];
  }

  get master(): NodeMember | undefined {
    return this.#ground?.master;
  }

  get proxies(): World["proxies"] {
    return this.#ground?.proxies ?? new Map();
  }

  get machines(): World["machines"] {
    return this.#ground?.machines ?? new Map();
  }

  get disk(): World["disk"] {
    return this.#ground?.disk;
  }

  get bus(): Bus {
    if (this.#bus === undefined) throw new Error("the world has no observer yet");
    return this.#bus;
  }

  get results(): number {
    return this.#observer?.seen.size ?? 0;
  }

  async start(): Promise<void> {
    const { kind, dispatchers = 2, hosts = 3 } = this.#options;
    const make = GROUNDS[kind];
    if (make === undefined) throw new Error(`there is no world of kind ${kind}`);
    const site: Site = {
      dir: this.dir,
      watcher: this.#watcher,
      agents: AGENTS,
      logOf: (name) => join(this.dir, "logs", `${name}.log`),
      makeNode: (name, role, start, home) => new LiveNode(name, role, start, home, this.#nodeParts(name)),
    };
    this.#ground = await make(site);
    for (let i = 0; i < dispatchers; i++)
      this.dispatchers.push(await this.#node(site, `dispatcher-${i}`, "dispatcher"));
    for (let i = 0; i < hosts; i++) this.hosts.push(await this.#node(site, `host-${i}`, "host"));
    await Promise.all([...this.dispatchers, ...this.hosts].map((node) => node.start()));
    this.#bus = await connectBus({ ...(await this.#ground.observer()), name: "observer" });
    this.#observer = new Observer(this.#bus, (entry) => this.record(entry));
    await this.#observer.start();
    this.#client = this.#makeClient(this.#ground);
    await this.#client.start();
    // Every host has had its turn before anything strikes.
    await this.until("every host to be in the rotation", () =>
      this.hosts.every(({ hostId }) => this.inRotation(hostId)),
    );
  }

  record(entry: Entry): void {
    this.#entries.push(entry);
  }

  passed(name: Failpoint, member?: Member): number {
    const place = FAILPOINTS.indexOf(name) * 4;
    let sum = 0;
    for (const life of readdirSync(join(this.dir, "failpoints"))) {
      if (member !== undefined && !life.startsWith(`${member.name}@`)) continue;
      for (const file of readdirSync(join(this.dir, "failpoints", life))) {
        if (!file.endsWith(".counts")) continue;
        const counts = readFileSync(join(this.dir, "failpoints", life, file));
        if (counts.length >= place + 4) sum += counts.readUInt32LE(place);
      }
    }
    return sum;
  }

  inRotation(hostId: string): boolean {
    return this.#observer?.inRotation(hostId) === true;
  }

  running({ pid }: NodeMember): readonly string[] {
    const ran = this.#ran.get(pid) ?? new Running(join(this.dir, "history"), `ran-${pid}-`);
    this.#ran.set(pid, ran);
    return ran.now();
  }

  async take<M extends Member>(
    members: readonly M[],
    random: () => number,
    work: (member: M) => Promise<void>,
  ): Promise<void> {
    let taken: M | undefined;
    // Taken within the look: of two strikes that wait for the same member one must not find it gone.
    await this.until("a member that nothing strikes", () => {
      const free = members.filter((member) => member.alive && !this.#taken.has(member));
      if (free.length === 0) return false;
      taken = oneOf(random, free);
      this.#taken.add(taken);
      return true;
    });
    const member = taken as M;
    try {
      await work(member);
    } finally {
      this.#taken.delete(member);
    }
  }

  async until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
    const end = moment() + UNTIL_MS;
    while (!(await condition())) {
      if (this.#closing) throw new Error(`the world was closed while it waited for ${what}`);
      if (moment() > end) throw new Error(`waited ${UNTIL_MS / 1_000} s for ${what}`);
      await pause(LOOK_MS);
    }
  }

  beginLoad(): void {
    this.#client?.tell("go");
  }

  /** Resolves when everything submitted has come out, and the client has been told all that it waits for. False: it never was. */
  async endLoad(): Promise<boolean> {
    this.#client?.tell("end");
    return await this.#within(DRAIN_MS, () => this.#said.has("done"));
  }

  /** Resolves when every accepted task has its result and the queue is empty, or with what is missing when that lasts too long. */
  async drain(): Promise<string | undefined> {
    await Promise.all(this.#revivals);
    const accepted = new Set(
      this.#written().flatMap((entry) => (entry.type === "accepted" ? entry.ids.map((id) => `default.${id}`) : [])),
    );
    let waiting = Number.NaN;
    const missing = (): string[] => [...accepted].filter((id) => !this.#observer?.seen.has(id));
    const drained = await this.#within(DRAIN_MS, async () => {
      waiting = (await this.#observer?.waiting().catch(() => undefined)) ?? Number.NaN;
      return waiting === 0 && missing().length === 0;
    });
    if (drained) return undefined;
    const left = missing();
    return `${waiting} messages wait and ${left.length} tasks have no result ${DRAIN_MS / 1_000} s after the load, such as ${left.slice(0, 5)}`;
  }

  /** Everything that was written down, by moment; and what is stored. */
  async collect(): Promise<{ readonly history: History; readonly streams: Streams; readonly index: Index }> {
    if (this.#observer === undefined) throw new Error("the world has no observer");
    // First what is stored: a long history keeps this process busy for so long that the brokers' routes, which pass it, seem dead.
    const streams = await this.#observer.streams();
    const history = [...this.#entries, ...this.#written()].sort((a, b) => a.at - b.at);
    return { history, streams, index: this.#observer.index };
  }

  /** With `keep` the directory stays, with the history in `history.jsonl`. Idempotent. */
  async close({ keep }: { readonly keep: boolean }): Promise<void> {
    if (this.#closing) return;
    this.#closing = true;
    this.#observer?.stop();
    const all = [this.#client, ...this.dispatchers, ...this.hosts];
    await Promise.all(all.map((member) => member?.kill()));
    await this.#bus?.close().catch(() => undefined);
    await this.#ground?.close();
    if (!keep) rmSync(this.dir, { recursive: true, force: true });
    else await this.#save();
  }

  async #save(): Promise<void> {
    const file = createWriteStream(join(this.dir, "history.jsonl"));
    for (const entry of this.#entries) file.write(`${JSON.stringify(entry, plain)}\n`);
    await new Promise<void>((resolve) => file.end(resolve));
  }

  async #node(site: Site, name: string, role: "dispatcher" | "host"): Promise<NodeMember> {
    if (this.#ground === undefined) throw new Error("the world has no ground");
    const { args, ...rest } = await this.#ground.node(name, role);
    const flags = role === "host" ? ["--roles", "agents", ...AGENTS] : ["--roles", "dispatcher"];
    return site.makeNode(name, role, { args: [...args, ...flags], ...rest }, join(this.dir, name));
  }

  #nodeParts(name: string): NodeParts {
    return {
      logFile: join(this.dir, "logs", `${name}.log`),
      watcher: this.#watcher,
      failpoints: join(this.dir, "failpoints"),
      environment: { VGAS_FAULTS_DIR: join(this.dir, "history"), ...this.#options.environment },
    };
  }

  #makeClient(ground: Ground): ChildMember {
    const { seed, rate = 20 } = this.#options;
    const settings: LoadSettings = { dir: join(this.dir, "history"), seed, client: ground.client(), rate };
    return new ChildMember({
      ...{ name: "client", role: "client", logFile: join(this.dir, "logs", "client.log"), watcher: this.#watcher },
      input: true,
      argv: () => [process.execPath, JITI, LOAD, JSON.stringify(settings)],
      ready: (line) => {
        this.#said.add(line);
        return line === "quiet";
      },
    });
  }

  #started(member: ChildMember): void {
    const { name, pid, role } = member;
    const host = member instanceof LiveNode && member.hostId !== "" ? { host: member.hostId } : {};
    this.record({ type: "started", at: moment(), process: name, pid, role, ...host });
  }

  #ended(member: ChildMember, code: number | string, { asked, away, ...stopped }: End): void {
    const { name, pid, role } = member;
    // Nothing but a failpoint kills a member that nobody here has killed.
    const expected = asked || away || code === "SIGKILL" || (role === "client" && this.#said.has("done"));
    this.record({ type: "exited", at: moment(), process: name, pid, code, expected, ...stopped });
    if (asked || away || this.#closing || role === "client") return;
    const revival = member.start().catch(() => undefined);
    this.#revivals.add(revival);
    void revival.then(() => this.#revivals.delete(revival));
  }

  #heard(member: ChildMember, line: string): void {
    if (!line.includes(OUT_OF_ROTATION)) return;
    const { host, why } = JSON.parse(line) as { readonly host: string; readonly why: string };
    const evicted: Evicted = { type: "evicted", at: moment(), process: member.name, host, why };
    this.evictions.push(evicted);
    this.record(evicted);
  }

  /** What clients and behaviours wrote. A line that a killed process did not end is left out. */
  #written(): Entry[] {
    const dir = join(this.dir, "history");
    return readdirSync(dir).flatMap((file) =>
      readFileSync(join(dir, file), "utf8")
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line) as Entry),
    );
  }

  async #within(ms: number, condition: () => boolean | Promise<boolean>): Promise<boolean> {
    for (const end = moment() + ms; moment() < end; await pause(LOOK_MS)) if (await condition()) return true;
    return false;
  }
}

interface NodeParts {
  readonly logFile: string;
  readonly watcher: Watcher;
  /** Has a directory for each life. */
  readonly failpoints: string;
  readonly environment: Readonly<Record<string, string>>;
}

class LiveNode extends ChildMember implements NodeMember {
  readonly #failpoints: string;
  #hostId = "";

  constructor(name: string, role: "dispatcher" | "host" | "node", start: NodeStart, home: string, parts: NodeParts) {
    const { failpoints, environment, ...rest } = parts;
    super({
      ...{ name, role, ...rest },
      argv: () => nodeArgv(start, home),
      environment: () => ({ VGAS_FAILPOINTS_DIR: this.#life, ...environment }),
      ready: (line) => {
        if (!line.startsWith('{"event":"ready"')) return false;
        this.#hostId = (JSON.parse(line) as { readonly hostId: string }).hostId;
        return true;
      },
    });
    this.#failpoints = join(failpoints, name);
  }

  get hostId(): string {
    return this.#hostId;
  }

  /** What this life's failpoints count in. */
  get #life(): string {
    return `${this.#failpoints}@${this.starts}`;
  }

  async order(text: string): Promise<number> {
    // Until it is ready the signal may find nobody who takes it.
    await this.start();
    writeFileSync(join(this.#life, "orders"), text);
    this.signal("SIGUSR2");
    return this.pid;
  }
}

/** Bytes and large numbers, as JSON can have them. */
function plain(_: string, value: unknown): unknown {
  return typeof value === "bigint" ? String(value) : value;
}
