/**
 * Swarms on a network of the test's own: nodes on their default ports, each on a machine, found by mDNS and let in by tokens, as
 * people have it. The test looks inside through a relay to the master's broker.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach } from "vitest";
import { connectBus } from "../../src/bus/connection.ts";
import { parseConnection, resolveConnection } from "../../src/bus/credentials/connection-file.ts";
import { Names } from "../../src/protocols/subjects.ts";
import type { Machine, Ran } from "./network.ts";
import { BIN, type Launched, launchNode, type Node } from "./node.ts";
import { Admin } from "./swarm.ts";
import { TestNetwork } from "./test-network.ts";

const NATS_PORT = 4222;

/** Ends with the enclosing `describe`; the homes are kept if a test failed. */
export class Lan {
  readonly dir = mkdtempSync(join(tmpdir(), "vgas-lan-"));
  readonly network = new TestNetwork();
  readonly #admins: Admin[] = [];
  readonly #launched: Launched[] = [];
  #stations = 0;

  constructor() {
    let failed = false;
    afterEach((context) => {
      if (context.task.result?.state === "fail") failed = true;
    });
    // Hooks run in reverse: this one before the network goes.
    afterAll(async () => {
      for (const { bus } of this.#admins) await bus.close().catch(() => undefined);
      await this.network.close();
      if (failed) {
        for (const [i, { log, home }] of this.#launched.entries()) writeFileSync(`${home}-${i}.log`, log());
        console.error(`kept for inspection: ${this.dir}`);
      } else rmSync(this.dir, { recursive: true, force: true });
    });
  }

  /** A machine with a home. */
  async station(): Promise<Station> {
    const home = join(this.dir, `home-${this.#stations++}`);
    mkdirSync(home, { mode: 0o700 });
    return new Station(await this.network.machine(), home, this.#launched);
  }

  stations(count: number): Promise<Station[]> {
    return Promise.all(Array.from({ length: count }, () => this.station()));
  }

  /** Connected to the broker that runs on `master`, as an operator there. */
  async admin(master: Station): Promise<Admin> {
    const description = await master.succeed("connection", "--role", "admin");
    const { seed, inboxPrefix, ca, serverName } = await resolveConnection(parseConnection(description));
    const url = `tls://127.0.0.1:${await master.machine.forward(NATS_PORT)}`;
    const bus = await connectBus({ url, seed, inboxPrefix, ca, serverName, name: "test" });
    const admin = new Admin(bus, new Names());
    this.#admins.push(admin);
    return admin;
  }
}

/** A machine with a home on it. */
export class Station {
  readonly machine: Machine;
  readonly home: string;
  readonly #launched: Launched[];

  /** What is launched here is added to `launched`. */
  constructor(machine: Machine, home: string, launched: Launched[]) {
    this.machine = machine;
    this.home = home;
    this.#launched = launched;
  }

  /** This machine with another home. */
  withHome(home: string): Station {
    return new Station(this.machine, home, this.#launched);
  }

  get address(): string {
    return this.machine.address();
  }

  /** Pid of the nats-server that runs here. */
  brokerPid(): number {
    const record: unknown = JSON.parse(readFileSync(join(this.home, "nats", "broker.json"), "utf8"));
    return (record as { readonly process: { readonly pid: number } }).process.pid;
  }

  launch(...args: readonly string[]): Launched {
    const launched = launchNode(args, this.home, (argv) => this.machine.enter(argv));
    this.#launched.push(launched);
    return launched;
  }

  up(...flags: readonly string[]): Promise<Node> {
    return this.launch("up", "--lan", ...flags).ready;
  }

  join(...flags: readonly string[]): Promise<Node> {
    return this.launch("join", ...flags).ready;
  }

  /** Runs a command on this home to its end. */
  vgas(...args: readonly string[]): Promise<Ran> {
    return this.machine.exec([process.execPath, BIN, ...args, "--home", this.home]);
  }

  /** As `vgas`. Returns what it printed; throws if it failed. */
  async succeed(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.vgas(...args);
    if (code !== 0) throw new Error(`vgas ${args.join(" ")} ended with ${code}: ${stderr}`);
    return stdout.trim();
  }

  /** A file with a new token of this master. */
  async token(...flags: readonly string[]): Promise<string> {
    const file = join(mkdtempSync(`${this.home}-token-`), "token");
    writeFileSync(file, await this.succeed("token", "create", ...flags), { mode: 0o600 });
    return file;
  }

  /** Asks `https://<to><path>` from here, and checks the certificate; `plain` asks without TLS. */
  async ask(to: Asked): Promise<{ readonly status?: number; readonly error?: string }> {
    return JSON.parse(await this.machine.run(process.execPath, "-e", ASK, JSON.stringify(to))) as object;
  }
}

export interface Asked {
  readonly host: string;
  readonly path: string;
  readonly plain?: boolean;
  /** PEM. */
  readonly ca?: string;
  readonly bearer?: string;
}

/** Prints the status, or the code of the error that there was instead. */
const ASK = `
const { host, path, plain, ca, bearer } = JSON.parse(process.argv[1]);
const headers = bearer === undefined ? {} : { authorization: "Bearer " + bearer };
const options = { host, path, port: 8080, headers, ca, rejectUnauthorized: true };
const say = (value) => console.log(JSON.stringify(value));
require(plain ? "http" : "https").get(options, (answer) => {
  answer.resume().on("end", () => say({ status: answer.statusCode }));
}).on("error", ({ code, message }) => say({ error: code ?? message }));
`;

/** The line of a token file. */
export function tokenLine(file: string): string {
  return readFileSync(file, "utf8").trim();
}
