/** A master with its embedded nats-server, a dispatcher and agents of its own; dispatchers and hosts join it with credentials. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readAuthority } from "../../../src/bus/certificates/authority.ts";
import { describeConnection } from "../../../src/bus/credentials/connection-file.ts";
import { openHome } from "../../../src/bus/home/home.ts";
import { freePort } from "../../support/nats-binary.ts";
import type { Ground, Site } from "../ground.ts";
import { killedAtExit } from "../member.ts";
import type { BrokerMember } from "../world.ts";

export async function node({ dir, agents, makeNode }: Site): Promise<Ground> {
  const home = join(dir, "master");
  const port = await freePort();
  const master = makeNode("master", "node", { args: ["up", "--nats-port", String(port), ...agents] }, home);
  const broker = new EmbeddedBroker(home, `nats://127.0.0.1:${port}`);
  const { url } = broker;
  let closed = false;
  killedAtExit(() => {
    if (!closed && broker.alive) broker.signal("SIGKILL");
  });
  await master.start();
  const credential = async (role: "system") => {
    const { credentials, layout } = await openHome(home);
    const { seed, inboxPrefix } = await credentials.ensureRole(role);
    const authority = url.startsWith("tls:") ? await readAuthority(layout) : undefined;
    return { url, seed, inboxPrefix, ca: authority?.caPem, serverName: authority?.serverName };
  };
  return {
    brokers: [broker],
    master,
    node: async (name, role) => {
      const joined = join(dir, name);
      mkdirSync(joined, { recursive: true, mode: 0o700 });
      const { credentials } = await openHome(home);
      const issued = await credentials.issueNode(role === "host" ? "worker" : "dispatcher");
      const file = join(joined, "connection.json");
      const described = await describeConnection({ url, credential: issued, inline: true });
      writeFileSync(file, JSON.stringify(described), { mode: 0o600 });
      return { args: ["join", "--connection", file] };
    },
    observer: () => credential("system"),
    client: () => ({ home }),
    close: async () => {
      await master.kill();
      if (broker.alive) await broker.kill();
      closed = true;
    },
  };
}

/** The nats-server of a node: it outlives a killed one, and the node starts it again. */
class EmbeddedBroker implements BrokerMember {
  readonly name = "broker";
  readonly dir: string;
  readonly url: string;
  #last = 0;

  constructor(home: string, url: string) {
    this.dir = join(home, "nats");
    this.url = url;
  }

  get pid(): number {
    try {
      const record: unknown = JSON.parse(readFileSync(join(this.dir, "broker.json"), "utf8"));
      this.#last = (record as { readonly process?: { readonly pid?: number } }).process?.pid ?? this.#last;
    } catch {
      // It is being written, or not there yet.
    }
    return this.#last;
  }

  get alive(): boolean {
    return isAlive(this.pid);
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  async stop(): Promise<string> {
    return await this.#end("SIGTERM");
  }

  /** Resolves when its node has started it again. */
  async start(): Promise<void> {
    while (!this.alive) await new Promise((resolve) => setTimeout(resolve, 25));
  }

  async #end(signal: NodeJS.Signals): Promise<string> {
    const { pid } = this;
    if (!isAlive(pid)) return signal;
    process.kill(pid, signal);
    while (isAlive(pid)) await new Promise((resolve) => setTimeout(resolve, 5));
    return signal;
  }
}

function isAlive(pid: number): boolean {
  if (pid === 0) return false;
  try {
    process.kill(pid, 0);
    // One that nobody has waited for yet is dead all the same.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
