import { realpath } from "node:fs/promises";
import { type Command, Option } from "commander";
import { layoutOf } from "../../bus/home/layout.ts";
import { liveBroker } from "../../bus/nats-server/broker-record.ts";
import { ROLES, type UserRole } from "../../protocols/roles.ts";
import { TOPOLOGY_DEFAULTS } from "../../protocols/streams.ts";
import type { Cli } from "../cli.ts";
import { type Check, failed, type Verdict, warning } from "../doctor/check.ts";
import {
  checkCertificate,
  checkHome,
  checkMdns,
  checkNode,
  checkPort,
  checkServerBinary,
  checkServerCertificate,
} from "../doctor/machine.ts";
import { checkSwarm } from "../doctor/swarm.ts";
import { findTarget, type Target } from "../doctor/target.ts";
import { EXIT, UsageError } from "../failure.ts";
import { addSwarmOptions, integer, type NodeFlags } from "../options.ts";
import { printable } from "../style.ts";
import { commandConfig } from "../swarm.ts";

interface Flags extends NodeFlags {
  readonly role?: UserRole;
  readonly user?: string;
}

const LOOPBACK = "127.0.0.1";
const ANY_ADDRESS = "0.0.0.0";

export function addDoctor(program: Command, cli: Cli): void {
  addSwarmOptions(program.command("doctor"))
    .summary("check everything that vgas needs")
    .description(
      "Checks this machine, and the swarm that is meant: that of --connection, of --nats, of the node of this home, or the one " +
        "that this home has joined. Says what to do about what is missing; ends with 1 if something is.",
    )
    .addOption(new Option("--role <role>", "what the credential is to be good for").choices([...ROLES, "system"]))
    .option("--user <user>", "the node or guest that it is bound to (default: with --nats this home's node)")
    .option("--replicas <n>", "copies that the swarm's streams are to have", integer)
    .option("--nats-port <n>", "port that the node's nats-server is to have", integer)
    .option("--http-port <n>", "port that the node's HTTP is to have", integer)
    .action(async (flags: Flags) => {
      const checks = await examine(cli, flags);
      for (const check of checks) cli.terminal.data(flags.json ? JSON.stringify(check) : lineOf(check, cli));
      if (checks.some(({ verdict }) => verdict === "failed")) cli.exitCode = EXIT.failure;
    });
}

async function examine(cli: Cli, flags: Flags): Promise<readonly Check[]> {
  const config = commandConfig(cli, flags);
  const layout = layoutOf(await realpath(config.home).catch(() => config.home));
  const running = await liveBroker(layout);
  const prefix = flags.prefix ?? cli.env["VGAS_PREFIX"];
  const { connection, role, user } = flags;
  const target = await findTarget({ layout, config, connection, role, user, prefix: prefix || undefined }).catch(
    (error: unknown) => {
      if (error instanceof UsageError) throw error;
      return failed("swarm", error instanceof Error ? error.message : String(error), "correct what it names");
    },
  );
  const joins = connection !== undefined || config.natsUrl !== undefined || isMember(target);
  const host = config.lan ? ANY_ADDRESS : LOOPBACK;
  const certificate = await checkServerCertificate(layout, Date.now());
  return [
    checkNode(),
    ...(await checkHome(layout.dir)),
    await checkServerBinary(!joins),
    // What this home's own node listens on is in use, as it should be.
    ...(running !== undefined || joins ? [] : [await checkPort("nats port", host, config.natsPort, "--nats-port")]),
    ...(running !== undefined ? [] : [await checkPort("http port", host, config.httpPort, "--http-port")]),
    ...(config.mdns ? [await checkMdns()] : []),
    ...(certificate === undefined ? [] : [certificate]),
    ...(await swarmChecks(cli, flags, target)),
  ];
}

async function swarmChecks(cli: Cli, flags: Flags, target: Target | Check | undefined): Promise<readonly Check[]> {
  if (target === undefined)
    return [warning("swarm", "no node runs on this home", "start one with `vgas up`, or join one")];
  if ("check" in target) return [target];
  const config = commandConfig(cli, flags);
  const { ca } = target.connect;
  const renew =
    target.from === "external"
      ? "give that of the system's new one: --nats-ca FILE"
      : "let the swarm make a new authority, and join anew";
  const authority = ca === undefined ? [] : [checkCertificate("authority", ca, Date.now(), renew)];
  const topology = { ...TOPOLOGY_DEFAULTS, replicas: config.replicas, resultsTtlMs: config.resultsTtlMs };
  return [...authority, ...(await checkSwarm(target, topology))];
}

function isMember(target: Target | Check | undefined): boolean {
  return target !== undefined && "from" in target && target.from === "membership";
}

function lineOf({ check, verdict, message, remedy }: Check, { terminal: { outStyle: style } }: Cli): string {
  const paint: Record<Verdict, (text: string) => string> = {
    ok: (text) => style.green(text),
    warning: (text) => style.yellow(text),
    failed: (text) => style.red(text),
  };
  const what = `${paint[verdict](verdict.padEnd(8))} ${check}: ${printable(message)}`;
  return remedy === undefined ? what : `${what}\n         ${style.dim(printable(remedy))}`;
}
