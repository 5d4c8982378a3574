/** The report: what the audit found, and how the turns fell to the agents. */
import type { TaskResult } from "vgas";
import type { PackageAudit } from "./inspect.ts";
import { bar, column, count, nameColumn, plural, printable, type Screen, size } from "./screen.ts";

/** A package that was audited or not. */
export interface Finding {
  readonly location: string;
  readonly result: TaskResult<PackageAudit>;
}

/** One lane of `vgas fairness --json`. */
export interface LaneRotation {
  readonly pool: string;
  readonly kind: string;
  readonly skew: number;
  readonly agents: readonly { readonly agent: string; readonly turns: number; readonly skipped: number | null }[];
}

const LARGEST = 10;
const MOST_LICENCES = 12;
const NAME_COLUMNS = 36;
const BAR_COLUMNS = 26;
const INDENT = "  ";

export function printReport(screen: Screen, findings: readonly Finding[], rotation: LaneRotation | undefined): void {
  const audits = findings.flatMap(({ result }) => (result.status === "ok" && result.output ? [result.output] : []));
  printLicences(screen, audits);
  printLargest(screen, audits);
  printNamed(
    screen,
    "Install scripts",
    audits.filter(({ installScripts }) => installScripts.length > 0),
    ({ installScripts }) => installScripts.join("; "),
  );
  printNamed(
    screen,
    "Native code",
    audits.filter(({ native }) => native.length > 0),
    ({ native }) => native.join(", "),
  );
  const odd = audits.filter(({ problem }) => problem !== undefined);
  if (odd.length > 0) printNamed(screen, "Damaged package.json", odd, ({ problem = "" }) => problem);
  printFailed(
    screen,
    findings.filter(({ result }) => result.status !== "ok"),
  );
  if (rotation !== undefined) printRotation(screen, rotation);
}

function printLicences(screen: Screen, audits: readonly PackageAudit[]): void {
  heading(screen, "Licences", "packages");
  const counts = new Map<string, number>();
  for (const { licence } of audits) counts.set(licence, (counts.get(licence) ?? 0) + 1);
  const sorted = [...counts].sort(([a, m], [b, n]) => n - m || (a < b ? -1 : 1));
  const rest = sorted.slice(MOST_LICENCES);
  const rows = sorted.slice(0, MOST_LICENCES);
  if (rest.length > 0) rows.push([`${rest.length} others`, rest.reduce((sum, [, n]) => sum + n, 0)]);
  for (const [licence, n] of rows) {
    const colour = licence === "unknown" ? "yellow" : "cyan";
    row(screen, column(licence, NAME_COLUMNS), count(n), screen.paint(colour, bar(n / audits.length, BAR_COLUMNS)));
  }
}

function printLargest(screen: Screen, audits: readonly PackageAudit[]): void {
  heading(screen, "Largest packages", "size");
  const sorted = [...audits].sort((a, b) => b.bytes - a.bytes).slice(0, LARGEST);
  const largest = sorted[0]?.bytes || 1;
  for (const audit of sorted) {
    const { bytes } = audit;
    row(
      screen,
      nameColumn(audit, NAME_COLUMNS),
      size(bytes),
      screen.paint("magenta", bar(bytes / largest, BAR_COLUMNS)),
    );
  }
}

function printNamed(
  screen: Screen,
  title: string,
  audits: readonly PackageAudit[],
  say: (audit: PackageAudit) => string,
): void {
  heading(screen, title, plural(audits.length, "package"));
  if (audits.length === 0) screen.line(`${INDENT}${screen.paint("dim", "none")}`);
  for (const audit of audits) {
    const width = screen.columns - INDENT.length - NAME_COLUMNS - 2;
    screen.line(
      `${INDENT}${nameColumn(audit, NAME_COLUMNS)}  ${screen.paint("dim", column(say(audit), width).trimEnd())}`,
    );
  }
}

function printFailed(screen: Screen, failed: readonly Finding[]): void {
  if (failed.length === 0) return;
  heading(screen, "Not audited", plural(failed.length, "package"));
  for (const { location, result } of failed) {
    const why = `${result.status}: ${result.error?.message ?? ""}`;
    screen.line(`${INDENT}${screen.paint("red", printable(location))}\n${INDENT}${INDENT}${printable(why)}`);
  }
}

function printRotation(screen: Screen, { skew, agents }: LaneRotation): void {
  const turns = agents.reduce((sum, agent) => sum + agent.turns, 0);
  heading(screen, "Rotation", `${plural(turns, "turn")}, ${plural(agents.length, "agent")}, skew ${skew}`);
  const most = Math.max(1, ...agents.map((agent) => agent.turns));
  for (const { agent, turns: own, skipped } of agents) {
    const blocks = screen.paint("green", bar(own / most, BAR_COLUMNS));
    row(
      screen,
      column(agent, NAME_COLUMNS),
      count(own),
      skipped ? `${blocks} ${screen.paint("dim", `${count(skipped)} skipped`)}` : blocks,
    );
  }
}

function heading(screen: Screen, title: string, aside: string): void {
  screen.line();
  screen.line(`${screen.paint("bold", title)} ${screen.paint("dim", `· ${aside}`)}`);
}

function row(screen: Screen, name: string, value: string, rest: string): void {
  screen.line(`${INDENT}${name}  ${value.padStart(8)}  ${rest}`);
}
