/** `audit list` and `audit verify`: the trail of everything that was done and refused. */
import { setTimeout as pause } from "node:timers/promises";
import type { Command } from "commander";
import { VgasError } from "../../../protocols/errors.ts";
import type { Cli } from "../../cli.ts";
import { EXIT, UsageError } from "../../failure.ts";
import { integer } from "../../options.ts";
import { printable, type Style } from "../../style.ts";
import { count, cut, plural } from "../../table.ts";
import { addVaultCommand, type VaultFlags, type VaultSession, withVault } from "./session.ts";
import { time } from "./text.ts";

interface ListFlags extends VaultFlags {
  readonly limit?: number;
  readonly after?: number;
  readonly follow?: boolean;
}

/** Records in one answer: below the server's largest message by far. */
const PAGE = 500;
/** Each look is a record of the trail itself, so not too often, ms. */
const FOLLOW_MS = 2_000;
/** Every record is read and its MAC computed, ms. */
const VERIFY_TIMEOUT_MS = 600_000;

/** What is shown of a record; anything may be missing, for the trail could be damaged. */
interface Shown {
  readonly seq?: number;
  readonly at?: number;
  readonly op?: string;
  readonly outcome?: string;
  readonly who?: { readonly user?: string; readonly role?: string };
  readonly why?: string;
  readonly provider?: string;
  readonly key?: string;
  readonly task?: { readonly pool?: string; readonly kind?: string; readonly id?: string };
  readonly detail?: Readonly<Record<string, unknown>>;
}

export function addAudit(vault: Command, cli: Cli): void {
  const audit = vault
    .command("audit")
    .summary("the audit trail: list, verify")
    .description("Reads and verifies the audit trail.");
  addVaultCommand(audit, "list")
    .summary("the records, oldest first")
    .description(
      "Shows the records of the trail, oldest first; with --json as they stand in it, one a line. A write has two: intended " +
        "before it is done, ok after.",
    )
    .option("--limit <n>", "at most this many", positive)
    .option("--after <seq>", "only records behind this one", natural)
    .option("--follow", "go on with the records to come; leaves out that it reads them")
    .action(async (flags: ListFlags) => {
      await withVault(cli, flags, (session) => list(cli, flags, session));
    });
  addVaultCommand(audit, "verify")
    .summary("whether anything was changed, removed or added")
    .description("Recomputes the whole trail and compares it with its checkpoints. Exit 1 if something is wrong.")
    .action(async (flags: VaultFlags) => {
      await withVault(cli, flags, (session) => verify(cli, flags, session));
    });
}

async function list(
  cli: Cli,
  { json, limit, after: from = 0, follow }: ListFlags,
  session: VaultSession,
): Promise<void> {
  const { terminal, interrupt } = cli;
  const signal = AbortSignal.any([interrupt.signal, terminal.readerGone]);
  let after = from;
  let left = limit ?? Number.POSITIVE_INFINITY;
  let caughtUp = false;
  while (left > 0 && !terminal.readerGone.aborted) {
    const asked = Math.min(PAGE, left);
    const { records = [] } = await session.call("audit", { action: "list", after, limit: asked });
    for (const record of records) {
      const shown = parse(record);
      after = Math.max(after, shown?.seq ?? after + 1);
      if (caughtUp && isReading(shown)) continue;
      left--;
      const line = json ? record : recordLine(shown, record, terminal.outStyle, terminal.outColumns);
      if (!terminal.data(line)) await terminal.drained();
    }
    if (records.length === asked) continue;
    if (!follow) return;
    caughtUp = true;
    await pause(FOLLOW_MS, undefined, { signal }).catch(() => undefined);
    if (interrupt.signal.aborted) throw new VgasError("ABORTED", "following the trail was aborted");
  }
}

async function verify(cli: Cli, { json }: VaultFlags, session: VaultSession): Promise<void> {
  const { terminal } = cli;
  const { verdict } = await session.call("audit", { action: "verify" }, { timeoutMs: VERIFY_TIMEOUT_MS });
  if (verdict === undefined) throw new VgasError("INTERNAL", "the vault gave no verdict");
  if (!verdict.ok) cli.exitCode = EXIT.failure;
  if (json) {
    terminal.data(JSON.stringify(verdict));
    return;
  }
  const {
    ok,
    records,
    checkpoints,
    earlier = 0,
    unknown = 0,
    unknownAt = 0,
    at,
    problem = "something is wrong",
  } = verdict;
  const { outStyle: style } = terminal;
  const checked = `${plural(records, "record")} and ${plural(checkpoints, "checkpoint")}`;
  if (ok) terminal.data(`${style.green("ok")}: ${checked}, nothing missing, nothing changed`);
  else {
    const where = at === undefined ? "" : `record ${count(at)}: `;
    terminal.data(`${style.red("wrong")}: ${where}${printable(problem)} (checked ${checked})`);
  }
  const warn = (text: string): boolean => terminal.data(`${style.yellow("warning")}: ${text}`);
  if (unknown > 0)
    warn(
      `${plural(unknown, "checkpoint")} of unknown signers, the first is message ${count(unknownAt)}: not of this node, or with an earlier credential; they were not held against the trail`,
    );
  if (earlier > 0)
    warn(
      `${plural(earlier, "checkpoint")} are of a trail that was gone before this one began, which an operator accepted`,
    );
  if (records > 0 && checkpoints === 0)
    warn("no checkpoint was found: that the latest records were cut off or rewritten would not be noticed");
}

/** `seq time op outcome who provider/key task details why`. */
function recordLine(shown: Shown | undefined, raw: string, style: Style, width: number | undefined): string {
  if (shown === undefined) return cut(printable(raw), width);
  const { seq, at, op = "?", outcome: said = "?", who, provider, key, task, detail = {}, why } = shown;
  const { intended, ...details } = detail;
  const outcome = said === "ok" && intended === true ? "intended" : said;
  const before = `${String(seq ?? "?").padStart(8)}  ${time(at)}  ${op.padEnd(9)}  `;
  const parts = [
    who?.user === undefined
      ? ""
      : `by ${who.user}${who.role === undefined || who.role === who.user ? "" : ` (${who.role})`}`,
    provider === undefined ? "" : `${provider}${key === undefined ? "" : `/${key}`}`,
    task === undefined ? "" : `for ${task.pool}.${task.kind} ${task.id}`,
    ...Object.entries(details).map(([name, value]) => `${name}=${String(value)}`),
    why ?? "",
  ];
  const rest = `  ${parts.filter((part) => part !== "").join("  ")}`.trimEnd();
  const tag = outcome.padEnd(8);
  const coloured = outcome === "ok" ? style.green(tag) : outcome === "intended" ? style.yellow(tag) : style.red(tag);
  return `${printable(before)}${coloured}${cut(printable(rest), width === undefined ? undefined : width - before.length - tag.length)}`.trimEnd();
}

function parse(record: string): Shown | undefined {
  try {
    const value: unknown = JSON.parse(record);
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}

/** A look at the trail that all went well: while one is followed there is one of these for each look. */
function isReading(shown: Shown | undefined): boolean {
  return shown?.op === "audit" && shown.outcome === "ok";
}

function natural(text: string): number {
  const value = integer(text);
  if (value >= 0) return value;
  throw new UsageError(
    "--after must be 0 or more",
    "It is the number of the last record that you have: `vgas vault audit list --help`.",
  );
}

function positive(text: string): number {
  const value = integer(text);
  if (value >= 1) return value;
  throw new UsageError(
    "--limit must be 1 or more",
    "It is how many records are shown: `vgas vault audit list --help`.",
  );
}
