/** `vgas token create`, `list` and `revoke`: by which machines and clients are let in. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { type TokenRecord, TokenStore, tokenState } from "../../admission/token-store.ts";
import { ensureAuthority } from "../../bus/certificates/authority.ts";
import type { Home } from "../../bus/home/home.ts";
import { liveBroker } from "../../bus/nats-server/broker-record.ts";
import { ADMISSION_ROLES, type AdmissionRole } from "../../protocols/roles.ts";
import { addHomeFlags, type HomeFlags, openMastersHome } from "../admission-home.ts";
import type { Cli } from "../cli.ts";
import { duration, integer } from "../options.ts";
import { renderTable } from "../table.ts";
import { refuseLine } from "../token-input.ts";
import { time } from "./vault/text.ts";

interface CreateFlags extends HomeFlags {
  readonly role: AdmissionRole;
  readonly ttl: number;
  readonly uses: number;
  readonly name?: string;
  readonly http?: true;
}

const DEFAULT_TTL_MS = 24 * 3_600_000;
/** The authority that a token pins lasts as long, ms: ten years. */
const MAX_TTL_MS = 10 * 365 * 24 * 3_600_000;
const MAX_USES = 10_000;
const MAX_NAME_CHARS = 128;

const EXAMPLES = `
Examples:
  (umask 077; vgas token create > token)       for one node, good for a day
  vgas token create --uses unlimited --ttl 7d  for any number of nodes in a week
  vgas token create --role client --name ci    for one client: vgas connect
  vgas token create --http --ttl 90d           to read over HTTP, and for nothing else

Whoever has the line gets in: hand it over as you would a password.`;

export function addToken(program: Command, cli: Cli): void {
  const token = program
    .command("token")
    .summary("tokens that let nodes and clients in: create, list, revoke")
    .description("Makes, lists and revokes the tokens by which other machines are let into the swarm of this home.");
  addCreate(token, cli);
  addList(token, cli);
  addRevokeToken(token, cli);
}

function addCreate(token: Command, cli: Cli): void {
  addHomeFlags(token.command("create"))
    .summary("make a token and print its line")
    .description(
      "Prints one line that lets a node (`vgas join`) or a client (`vgas connect`) into the swarm of this home. It is not kept " +
        "here and cannot be shown again. With --http it lets nobody in: it opens what the node serves over HTTP, any number of times.",
    )
    .addOption(
      new Option("--role <role>", "what it lets in").choices(ADMISSION_ROLES).default("worker" satisfies AdmissionRole),
    )
    .addOption(
      new Option("--ttl <time>", "how long it is good, such as 30m or 7d; 0: for ever")
        .argParser(ttl)
        .default(DEFAULT_TTL_MS, "24h"),
    )
    .addOption(new Option("--uses <n>", "how many it lets in; unlimited: any number").argParser(uses).default(1))
    .addOption(new Option("--http", "good as a bearer token of HTTP, and for nothing else").conflicts(["role", "uses"]))
    .option("--name <text>", "what it is for, for the lists", label)
    .addHelpText("after", EXAMPLES)
    .action(async (flags: CreateFlags) => {
      const home = await openMastersHome(cli, flags);
      const { swarmId, pin } = await ensureAuthority(home.layout);
      const { ttl: ttlMs, name, http } = flags;
      const store = new TokenStore(home.layout);
      const wanted = http ? ({ role: "observer", uses: 0, http } as const) : { role: flags.role, uses: flags.uses };
      const { line, record } = await store.create({ swarmId, pin }, { ...wanted, ttlMs, name });
      if (flags.json) {
        const { id, role, expiresAt } = record;
        cli.terminal.data(
          JSON.stringify({ token: line, id, role, http, expiresAt, uses: record.uses, swarm: swarmId, pin }),
        );
      } else cli.terminal.data(line);
      await noteNoDoor(cli, home);
    });
}

/** A token is of use only where other machines reach the swarm. */
async function noteNoDoor({ terminal }: Cli, { layout }: Home): Promise<void> {
  const broker = await liveBroker(layout);
  if (broker?.serverName !== undefined) return;
  const why =
    broker === undefined ? "no node runs on this home now" : "the node of this home was started without --lan";
  terminal.note(`note: ${why}, so nobody can use the token yet: \`vgas up --lan\``);
}

function addList(token: Command, cli: Cli): void {
  addHomeFlags(token.command("list"))
    .summary("the tokens, and who used them")
    .description(
      "Shows every token that was made: what it lets in, how often, until when, and who used it; with --json one object a line.",
    )
    .action(async (flags: HomeFlags) => {
      const home = await openMastersHome(cli, flags);
      const records = await new TokenStore(home.layout).list();
      const now = Date.now();
      if (flags.json) {
        for (const record of records) cli.terminal.data(JSON.stringify(described(record, now)));
      } else if (records.length === 0) cli.terminal.note("There is no token yet: `vgas token create` makes one.");
      else cli.terminal.data(tokenTable(cli, records, now));
    });
}

function described(record: TokenRecord, nowMs: number): object {
  const { id, role, http, name, createdAt, expiresAt, uses: most, usedBy, revokedAt } = record;
  return {
    id,
    role,
    ...(http && { http }),
    ...(name !== undefined && { name }),
    state: tokenState(record, nowMs),
    createdAt,
    ...(expiresAt !== undefined && { expiresAt }),
    uses: most,
    used: usedBy.length,
    usedBy: usedBy.map(({ user, at }) => ({ user, at })),
    ...(revokedAt !== undefined && { revokedAt }),
  };
}

function tokenTable({ terminal }: Cli, records: readonly TokenRecord[], nowMs: number): string {
  return renderTable(
    [
      { title: "TOKEN" },
      { title: "ROLE" },
      { title: "STATE" },
      { title: "USED", align: "right" },
      { title: "EXPIRES" },
      { title: "NAME", leaveOut: 1 },
      { title: "BY", leaveOut: 2 },
    ],
    records.map((record) => [
      record.id,
      record.http ? "http" : record.role,
      tokenState(record, nowMs),
      record.http ? "" : `${record.usedBy.length}/${record.uses === 0 ? "any" : record.uses}`,
      record.expiresAt === undefined ? "never" : time(record.expiresAt),
      record.name ?? "",
      by(record),
    ]),
    { style: terminal.outStyle, width: terminal.outColumns },
  );
}

/** Users named in a line of the table. */
const SHOWN_USERS = 4;

function by({ usedBy }: TokenRecord): string {
  const names = usedBy.slice(0, SHOWN_USERS).map(({ user }) => user);
  return usedBy.length > SHOWN_USERS ? `${names.join(" ")} …` : names.join(" ");
}

function addRevokeToken(token: Command, cli: Cli): void {
  addHomeFlags(token.command("revoke"))
    .summary("let nobody in by a token any more")
    .description("Ends a token. Who was let in by it stays in: `vgas revoke NODE` takes that back.")
    .argument("<id>", "of the token, as `vgas token list` shows it")
    .action(async (id: string, flags: HomeFlags) => {
      const home = await openMastersHome(cli, flags);
      refuseLine(id, "give the token's id, not its line: `vgas token list` shows it");
      const record = await new TokenStore(home.layout).revoke(id);
      if (flags.json) cli.terminal.data(JSON.stringify(described(record, Date.now())));
      else cli.terminal.note(`The token ${record.id} lets nobody in any more.${stillIn(record)}`);
    });
}

function stillIn({ usedBy }: TokenRecord): string {
  if (usedBy.length === 0) return "";
  return ` ${usedBy.length === 1 ? "One" : usedBy.length} got in by it before: ${by({ usedBy } as TokenRecord)}.`;
}

function ttl(text: string): number {
  const ms = duration(text);
  if (ms > MAX_TTL_MS) throw new InvalidArgumentError("It must be at most ten years (3650d), or 0 for ever.");
  return ms;
}

function uses(text: string): number {
  if (text === "unlimited") return 0;
  const number = integer(text);
  if (number < 1 || number > MAX_USES) throw new InvalidArgumentError(`It must be 1 to ${MAX_USES}, or unlimited.`);
  return number;
}

function label(text: string): string {
  if (text.length > MAX_NAME_CHARS || /\p{C}/u.test(text))
    throw new InvalidArgumentError(`It must be at most ${MAX_NAME_CHARS} printable characters.`);
  return text;
}
