/**
 * The main job: a dependency audit of an installed node_modules, on a swarm that is started for it.
 *
 *   npm start [-- [--keep] [FOLDER]]
 *
 * FOLDER holds the node_modules to audit; default is this project. --keep leaves the swarm running and says how to talk to it.
 */
import { execFile } from "node:child_process";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { type Client, connect } from "vgas";
import { EmbeddedSwarm } from "./embedded-swarm.ts";
import type { PackageAudit } from "./inspect.ts";
import { findPackages, type InstalledPackage } from "./packages.ts";
import { Progress } from "./progress.ts";
import { type Finding, type LaneRotation, printReport } from "./report.ts";
import { column, count, nameColumn, plural, printable, Screen, size } from "./screen.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const AGENT = fileURLToPath(new URL("./agent.ts", import.meta.url));
const CLI = fileURLToPath(new URL("../../bin/vgas", import.meta.url));
const KIND = "audit-package";
const EXIT = { ok: 0, failure: 1, usage: 2, someFailed: 3 } as const;

const screen = new Screen();
process.exitCode = await main();

async function main(): Promise<number> {
  const options = readArguments();
  if (options === undefined) return EXIT.usage;
  // This swarm is its own: a variable that names another one must not lead here or there.
  for (const name of Object.keys(process.env)) {
    if (name.startsWith("VGAS_") && name !== "VGAS_NATS_SERVER") delete process.env[name];
  }
  const interrupted = listenForEnd();
  let swarm: EmbeddedSwarm | undefined;
  let kept = false;
  try {
    const packages = await findPackages(options.project);
    if (packages.length === 0)
      throw new Error(`there are no packages in ${options.project}/node_modules: run npm install there`);
    swarm = await EmbeddedSwarm.start([AGENT]);
    const code = await runAudit(swarm, packages, options.project, AbortSignal.any([interrupted, swarm.lost]));
    if (options.keep) {
      await swarm.keep();
      kept = true;
      explainKept(swarm);
    }
    return code;
  } catch (error) {
    screen.endBar();
    if (interrupted.aborted) {
      const { signal, exitCode } = interrupted.reason as End;
      if (signal !== undefined) screen.note(`stopped by ${signal}; nothing is left running`);
      return exitCode;
    }
    const reason: unknown = swarm?.lost.aborted ? swarm.lost.reason : error;
    screen.note(`audit: ${reason instanceof Error ? reason.message : String(reason)}`);
    return EXIT.failure;
  } finally {
    if (!kept) await swarm?.stop();
  }
}

function readArguments(): { readonly keep: boolean; readonly project: string } | undefined {
  try {
    const { values, positionals } = parseArgs({ options: { keep: { type: "boolean" } }, allowPositionals: true });
    if (positionals.length > 1) throw new Error("at most one folder");
    return { keep: values.keep === true, project: resolve(positionals[0] ?? ROOT) };
  } catch (error) {
    screen.note(`audit: ${(error as Error).message}\nusage: npm start [-- [--keep] [FOLDER]]`);
    return undefined;
  }
}

/** Why the job ends early. */
interface End {
  readonly signal: NodeJS.Signals | undefined;
  readonly exitCode: number;
}

/** Aborted by the first signal, or when nobody reads the output any more. The second signal ends at once: the swarm sees it. */
function listenForEnd(): AbortSignal {
  const controller = new AbortController();
  const end = (signal: NodeJS.Signals | undefined, exitCode: number): void => {
    if (controller.signal.aborted && signal !== undefined) process.exit(exitCode);
    controller.abort({ signal, exitCode } satisfies End);
  };
  process.on("SIGINT", () => end("SIGINT", 130));
  process.on("SIGTERM", () => end("SIGTERM", 143));
  process.on("SIGHUP", () => end("SIGHUP", 129));
  process.stdout.on("error", () => end(undefined, EXIT.failure));
  return controller.signal;
}

async function runAudit(
  swarm: EmbeddedSwarm,
  packages: readonly InstalledPackage[],
  project: string,
  signal: AbortSignal,
): Promise<number> {
  const client = await connect({ home: swarm.home, signal });
  try {
    const below = relative(process.cwd(), join(project, "node_modules"));
    const where = below.startsWith("..") ? join(project, "node_modules") : below;
    screen.note(`auditing ${plural(packages.length, "package")} in ${where}, a task each`);
    const startedAt = performance.now();
    const findings = await auditAll(client, packages, signal);
    const elapsedMs = performance.now() - startedAt;
    screen.endBar();
    printReport(screen, findings, await readRotation(swarm.home));
    return conclude(findings, elapsedMs);
  } finally {
    await client.close();
  }
}

async function auditAll(
  client: Client,
  packages: readonly InstalledPackage[],
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const progress = new Progress(screen, packages.length);
  screen.startBar((frame) => progress.draw(frame));
  const tasks = await client.submitMany<PackageAudit, InstalledPackage>(KIND, packages, { array: false, signal });
  return await Promise.all(
    tasks.map(async (task, i): Promise<Finding> => {
      const finding = { location: packages[i]?.location ?? "", result: await task.result({ signal }) };
      progress.add(finding);
      screen.line(lineOf(finding));
      return finding;
    }),
  );
}

/** One result on one line: package, licence, files, size, the beginning of its digest, and what to look at. */
function lineOf({ location, result }: Finding): string {
  const { output } = result;
  if (result.status !== "ok" || output === undefined) {
    return `${screen.paint("red", "✘")} ${printable(location)}  ${result.status}: ${printable(result.error?.message ?? "")}`;
  }
  const flags = [
    output.installScripts.length > 0 ? "hook" : "",
    output.native.length > 0 ? "native" : "",
    output.problem === undefined ? "" : "odd",
  ].filter((flag) => flag !== "");
  const name = nameColumn(output, screen.columns - 52);
  const facts = `${column(output.licence, 12)} ${count(output.files).padStart(6)} ${size(output.bytes).padStart(7)}`;
  const digest = screen.paint("dim", output.sha256.slice(0, 7));
  return `${screen.paint("green", "✔")} ${name} ${facts}  ${digest}  ${screen.paint("yellow", column(flags.join(" "), 11).trimEnd())}`.trimEnd();
}

/** What `vgas fairness --json` says of the audit's lane; undefined, with a note, if it says nothing. */
async function readRotation(home: string): Promise<LaneRotation | undefined> {
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [CLI, "fairness", "--json", "--home", home], {
      timeout: 20_000,
    });
    const lanes = stdout
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as LaneRotation);
    return lanes.find(({ kind }) => kind === KIND);
  } catch (error) {
    screen.note(`audit: the rotation cannot be shown: ${(error as Error).message}`);
    return undefined;
  }
}

function conclude(findings: readonly Finding[], elapsedMs: number): number {
  const audits = findings.flatMap(({ result }) => (result.status === "ok" && result.output ? [result.output] : []));
  const files = audits.reduce((sum, audit) => sum + audit.files, 0);
  const bytes = audits.reduce((sum, audit) => sum + audit.bytes, 0);
  const failed = findings.length - audits.length;
  const said = `${plural(audits.length, "package")}, ${plural(files, "file")}, ${size(bytes)} in ${(elapsedMs / 1_000).toFixed(1)} s`;
  screen.line();
  screen.line(
    failed === 0
      ? screen.paint("bold", said)
      : `${screen.paint("bold", said)}; ${screen.paint("red", `${failed} not audited`)}`,
  );
  return failed === 0 ? EXIT.ok : EXIT.someFailed;
}

function explainKept({ home, pid }: EmbeddedSwarm): void {
  const vgas = relative(process.cwd(), CLI) || CLI;
  const flag = `--home ${home}`;
  screen.line();
  screen.line("The swarm keeps running. Talk to it:");
  screen.line(`  ${vgas} status ${flag}`);
  screen.line(`  ${vgas} submit echo '{"hello":"swarm"}' --wait ${flag}`);
  screen.line(`  ${vgas} results ${flag}`);
  screen.line("Stop it, and remove all of it:");
  screen.line(`  kill ${pid}`);
}
