/** The flags that commands share. None has a default here: what is not given is left to the environment and the config file. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { type Config, type ConfigInput, ENVIRONMENT, type NodeTask, ROLES } from "../config.ts";

/** Flags of every command that talks to a swarm, as commander gives them. */
export interface SwarmFlags {
  readonly home?: string;
  readonly nats?: string;
  readonly natsSeed?: string;
  readonly natsCa?: string;
  readonly connection?: string;
  readonly prefix?: string;
  readonly pool?: string;
  readonly logLevel?: Config["logLevel"];
  readonly json?: boolean;
}

/** Flags of a node. */
export interface NodeFlags extends SwarmFlags {
  readonly natsPort?: number;
  readonly httpPort?: number;
  readonly agents?: number;
  readonly slots?: number;
  readonly module?: readonly string[];
  readonly watch?: boolean;
  readonly roles?: readonly string[];
  readonly replicas?: number;
  readonly durability?: Config["durability"];
  readonly resultsTtl?: number;
  readonly maxWaiting?: number;
  readonly grace?: number;
  readonly vaultUnlock?: string;
  readonly lan?: boolean;
  /** False for `--no-mdns`; commander makes it true where the flag is not given. */
  readonly mdns?: boolean;
  readonly interface?: readonly string[];
  readonly peer?: readonly string[];
}

const PLAIN_JSON = "data and errors as JSON";

/** Adds the flags that say which swarm is meant. */
export function addSwarmOptions(command: Command): Command {
  return addCommonOptions(command)
    .option("--connection <file>", "reach the swarm by what `vgas connection` printed; - reads it from stdin")
    .option("--json", PLAIN_JSON);
}

/** Adds `--pool`. */
export function addPoolOption(command: Command): Command {
  return command.option("--pool <pool>", withVariable("pool of agents (default: default)", "pool"));
}

/** Adds the flags of a node; `connects` for one that attaches to a swarm that exists. */
export function addNodeOptions(command: Command, { connects }: { readonly connects: boolean }): Command {
  addCommonOptions(command);
  if (connects) {
    command.option("--connection <file>", "what `vgas connection --role worker` printed; - reads it from stdin");
    addPeerOption(command);
  } else {
    command
      .option("--lan", withVariable("listen beyond loopback, over TLS, and announce the node by mDNS", "lan"))
      .option(
        "--nats-port <n>",
        withVariable("port of the embedded nats-server, 0 picks one (default: 4222)", "natsPort"),
        integer,
      )
      .option("--replicas <n>", withVariable("copies of streams, in a cluster (default: 1)", "replicas"), integer)
      .option(
        "--durability <level>",
        withVariable("what must not lose a task: process or power (default: process)", "durability"),
      )
      .option(
        "--results-ttl <time>",
        withVariable("how long results are kept (default: 24h)", "resultsTtlMs"),
        duration,
      )
      .option(
        "--max-waiting <n>",
        withVariable("most tasks of a kind and priority that may wait (default: no limit)", "maxWaiting"),
        integer,
      )
      .option(
        "--vault-unlock <source>",
        withVariable(
          "unseal the vault at the start: prompt, stdin, file:PATH, env:NAME, systemd[:NAME] or keyring",
          "vaultUnlock",
        ),
      );
  }
  command
    .addOption(new Option("--mode <mode>", "what the node is").choices([connects ? "slave" : "master"]))
    .option("--no-mdns", withVariable("do not announce the node, nor look for others, by mDNS", "mdns"))
    .option(
      "--interface <name>",
      withVariable("announce and look only there; a name or an address; repeatable", "interfaces"),
      collect,
    );
  addPoolOption(command)
    .option("--http-port <n>", withVariable("port of HTTP, 0 picks one (default: 8080)", "httpPort"), integer)
    .option("--agents <n>", withVariable("built-in agents: echo and sleep (default: 4)", "agents"), integer)
    .option("--slots <n>", withVariable("tasks at once per agent (default: 16)", "slots"), integer)
    .option(
      "--roles <list>",
      withVariable(`of ${ROLES.join(", ")} (default: ${connects ? "agents and discovery" : "all"})`, "roles"),
      list,
    )
    .option("--grace <time>", withVariable("how long a stop waits for what runs (default: 30s)", "graceMs"), duration);
  return addModuleOption(command)
    .option("--watch", withVariable("load modules again when they or files that they import change", "watch"))
    .option("--json", "the ready line and errors as JSON");
}

/** Adds `--peer`. */
export function addPeerOption(command: Command): Command {
  return command.option(
    "--peer <host:port>",
    withVariable("HTTP port of a swarm's master, asked besides those that mDNS finds; repeatable", "peers"),
    collect,
  );
}

export function addModuleOption(command: Command): Command {
  return command.option(
    "--module <file>",
    withVariable("a module with agents of your own; repeatable", "modules"),
    collect,
  );
}

export function addTimeoutOption(command: Command, meaning: string): Command {
  return command.option("--timeout <ms>", meaning, duration);
}

/** The configuration that flags ask for; what was not given is undefined. */
export function configInput(flags: NodeFlags): ConfigInput {
  return {
    home: flags.home,
    natsUrl: flags.nats,
    prefix: flags.prefix,
    pool: flags.pool,
    logLevel: flags.logLevel,
    natsPort: flags.natsPort,
    httpPort: flags.httpPort,
    agents: flags.agents,
    slots: flags.slots,
    modules: flags.module && [...flags.module],
    watch: flags.watch,
    // Checked by the schema: whatever was given must be named in its message.
    roles: flags.roles && ([...flags.roles] as NodeTask[]),
    replicas: flags.replicas,
    durability: flags.durability,
    resultsTtlMs: flags.resultsTtl,
    maxWaiting: flags.maxWaiting,
    graceMs: flags.grace,
    vaultUnlock: flags.vaultUnlock,
    natsSeedFile: flags.natsSeed,
    natsCaFile: flags.natsCa,
    lan: flags.lan,
    // Commander sets it where no flag was given; only the flag itself may beat the environment.
    mdns: flags.mdns === false ? false : undefined,
    interfaces: flags.interface && [...flags.interface],
    peers: flags.peer && [...flags.peer],
  };
}

/** A whole number, as a flag gives it. */
export function integer(text: string): number {
  if (!/^[+-]?\d{1,15}$/.test(text)) throw new InvalidArgumentError("It must be a whole number.");
  return Number(text);
}

const UNITS_MS: Readonly<Record<string, number>> = { "": 1, ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of `1500`, `1500ms`, `30s`, `2m`, `24h`, `7d`. */
export function duration(text: string): number {
  const [, number = "", unit = ""] = /^(\d{1,12}(?:\.\d{1,3})?)(|ms|s|m|h|d)$/.exec(text) ?? [];
  if (number === "") throw new InvalidArgumentError("It must be milliseconds, or a time such as 30s, 2m, 24h.");
  return Math.round(Number(number) * (UNITS_MS[unit] ?? 1));
}

export function addHomeOption(command: Command): Command {
  return command.option("--home <dir>", withVariable("directory of the node (default: ~/.vgas)", "home"));
}

function addCommonOptions(command: Command): Command {
  return addHomeOption(command)
    .option("--nats <url>", withVariable("an external NATS system", "natsUrl"))
    .option("--nats-seed <file>", withVariable("nkey seed for it", "natsSeedFile"))
    .option("--nats-ca <file>", withVariable("certificate authority of it, PEM", "natsCaFile"))
    .option("--prefix <prefix>", withVariable("first token of all subjects (default: vgas)", "prefix"))
    .option("--log-level <level>", withVariable("debug, info, warn, error or silent", "logLevel"));
}

function withVariable(text: string, field: keyof Config): string {
  return `${text} [${ENVIRONMENT[field]}]`;
}

function list(text: string): readonly string[] {
  return text.split(",").map((part) => part.trim());
}

function collect(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}
