/** A swarm of real processes, to kill some of them, and the executions that its `hold` tasks say begin. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { describeConnection } from "../src/bus/credentials/connection-file.ts";
import { openHome } from "../src/bus/home/home.ts";
import { type Client, connect } from "../src/client.ts";
import { freePort } from "../test/support/nats-binary.ts";
import { launchNode, type Node } from "../test/support/node.ts";

const TASKS = 16;
/** More than ack_wait, so that what hangs on it is seen. */
const LIMIT_MS = 60_000;

/** One execution that began. */
export interface Begin {
  readonly id: string;
  readonly attempt: number;
  /** The host, or of BullMQ the process. */
  readonly host: string;
  readonly at: number;
}

/** A swarm of processes with homes of their own. */
export class RecoverySwarm {
  readonly dir = mkdtempSync(join(tmpdir(), "vgas-recovery-"));
  readonly begins = join(this.dir, "begins");
  readonly #nodes = new Map<string, { readonly args: readonly string[]; readonly home: string; node: Node }>();
  client!: Client;
  #url = "";
  #rounds = 0;

  async master(...flags: readonly string[]): Promise<Node> {
    const port = String(await freePort());
    const node = await this.#launch("master", ["up", "--nats-port", port, "--http-port", "0", ...flags]);
    this.#url = node.url;
    this.client = await connect({ home: this.#home("master") });
    return node;
  }

  async join(name: string, role: "worker" | "dispatcher", ...flags: readonly string[]): Promise<Node> {
    const home = this.#home(name);
    mkdirSync(home, { mode: 0o700 });
    const credential = await (await openHome(this.#home("master"))).credentials.issueNode(role);
    const file = join(home, "connection.json");
    const connection = await describeConnection({ url: this.#url, credential, inline: true });
    writeFileSync(file, JSON.stringify(connection), { mode: 0o600 });
    return await this.#launch(name, ["join", "--connection", file, "--http-port", "0", ...flags]);
  }

  /** Starts a node again that was killed. */
  async again(name: string): Promise<Node> {
    const known = this.#nodes.get(name);
    if (known === undefined) throw new Error(`there is no node ${name}`);
    return await this.#launch(name, known.args);
  }

  /** Resolves when the swarm's hosts are in the rotation: a task of each falls to each of them. */
  async offeredBy(...hosts: readonly string[]): Promise<void> {
    await this.#until(async () => {
      const id = `probe-${this.#rounds++}`;
      const batch = await this.client.submitMany(
        "hold",
        Array.from({ length: 4 * hosts.length }, () => ({ begins: `${this.begins}.${id}` })),
        { array: false },
      );
      await Promise.all(batch.map((task) => task.result()));
      const heard = new Set(begunIn(`${this.begins}.${id}`).map(({ host }) => host));
      return hosts.every((host) => heard.has(host));
    }, "the hosts to be in the rotation");
  }

  /** Submits `TASKS` tasks that hold their first execution, and resolves when all have begun. Returns what ends them. */
  async hold(): Promise<{ readonly file: string; release(): Promise<void> }> {
    const file = `${this.begins}.${this.#rounds++}`;
    const until = `${file}.release`;
    const tasks = await this.client.submitMany(
      "hold",
      Array.from({ length: TASKS }, () => ({ begins: file, until })),
      { array: false },
    );
    await this.#until(async () => begunIn(file).length >= TASKS, "all tasks to begin");
    return {
      file,
      release: async () => {
        writeFileSync(until, "");
        await Promise.all(tasks.map((task) => task.result()));
      },
    };
  }

  /** Resolves with the executions that began a second time, once every one of `ids` has. */
  async begunAgain(file: string, ids: readonly string[]): Promise<readonly Begin[]> {
    const again = (): readonly Begin[] => begunIn(file).filter(({ attempt }) => attempt > 1);
    await this.#until(async () => {
      const heard = new Set(again().map(({ id }) => id));
      return ids.every((id) => heard.has(id));
    }, "the tasks to begin again");
    return again();
  }

  async stop(): Promise<void> {
    await this.client?.close();
    const broker = this.#brokerPid();
    for (const { node } of this.#nodes.values()) await node.kill("SIGKILL");
    if (broker !== undefined) process.kill(broker, "SIGKILL");
    rmSync(this.dir, { recursive: true, force: true });
  }

  killBroker(): void {
    process.kill(this.#brokerPid() as number, "SIGKILL");
  }

  #brokerPid(): number | undefined {
    try {
      const record: unknown = JSON.parse(readFileSync(join(this.#home("master"), "nats", "broker.json"), "utf8"));
      return (record as { readonly process?: { readonly pid?: number } }).process?.pid;
    } catch {
      return undefined;
    }
  }

  #home(name: string): string {
    return join(this.dir, name);
  }

  async #launch(name: string, args: readonly string[]): Promise<Node> {
    const home = this.#home(name);
    const node = await launchNode(args, home).ready;
    this.#nodes.set(name, { args, home, node });
    return node;
  }

  async #until(check: () => Promise<boolean>, what: string): Promise<void> {
    const deadline = performance.now() + LIMIT_MS;
    while (!(await check())) {
      if (performance.now() > deadline) throw new Error(`gave up waiting for ${what}; see ${this.dir}`);
      await pause(5);
    }
  }
}

/** What `file` says, in the order of time. */
export function begunIn(file: string): readonly Begin[] {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, "utf8").split("\n").slice(0, -1);
  return lines.map((line) => {
    const [id = "", attempt, host = "", at] = line.split(" ");
    return { id, attempt: Number(attempt), host, at: Number(at) };
  });
}
