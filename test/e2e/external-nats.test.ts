/** docs/operations.md, "On an existing NATS system": its configuration and its commands, as they stand. */
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterAll, expect, onTestFinished, test } from "vitest";
import type { Cli } from "../../src/cli/cli.ts";
import type { Check } from "../../src/cli/doctor/check.ts";
import { Interrupt } from "../../src/cli/interrupt.ts";
import { createProgram } from "../../src/cli/program.ts";
import { Terminal } from "../../src/cli/terminal.ts";
import { start, temporary } from "../cli/support.ts";
import { readSource, sectionOf } from "../docs/documents.ts";
import { TestNats } from "../support/nats.ts";
import { eventually } from "../support/wait.ts";

const section = sectionOf(readSource("docs/operations.md"), "On an existing NATS system");
const EXAMPLE_URL = "nats://nats.example:4222";
const PLACE_OF_USERS = "# the blocks, one below the other";

/** Per role a permission that it needs, as the configuration has it. */
const TAKEN = {
  worker: { subject: "vgas.events.*.*", operation: "publish" },
  client: { subject: "vgas.tasks.*.*", operation: "publish" },
  observer: { subject: "vgas.dead.*.*", operation: "subscribe" },
} as const;

/** Bodies of the fenced blocks of that language. */
function blocks(language: string): readonly string[] {
  const fenced = [...section.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)];
  return fenced.flatMap(([, its, body = ""]) => (its === language ? [body] : []));
}

interface Documented {
  readonly args: readonly string[];
  /** A home for each credential, as if each was on a machine of its own. */
  readonly env: Readonly<Record<string, string>>;
}

/** The commands `vgas <name>`, in the order of the text, made to run here. */
function commands(dir: string, url: string, name: string): readonly Documented[] {
  const lines = blocks("sh").flatMap((body) => body.split("\n"));
  return lines
    .filter((line) => line.startsWith(`vgas ${name} `) && !line.includes("tls://") && !line.includes("dispatcher"))
    .map((line) => {
      const words = line.replace(/ +#.*/, "").replaceAll("'", "").replaceAll(EXAMPLE_URL, url).split(" ").slice(1);
      const seed = words.find((word) => word.endsWith(".nk")) ?? "";
      const args = words.map((word) => (word === seed ? join(dir, seed) : word));
      return { args, env: { VGAS_HOME: join(dir, seed.replace(".nk", "")), VGAS_HTTP_PORT: "0" } };
    });
}

const interrupt = new Interrupt();
afterAll(() => {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.removeAllListeners(signal);
});

/** A command that ends, without a process of its own. */
async function run({ args, env }: Documented): Promise<{ readonly code: number; readonly out: string }> {
  const [out, err] = [new PassThrough(), new PassThrough()];
  const cli: Cli = { terminal: new Terminal(out as never, err as never, {}), interrupt, env, exitCode: 0 };
  await createProgram(cli).parseAsync(args, { from: "user" });
  return { code: cli.exitCode, out: String(out.read() ?? "") };
}

interface Diagnosis {
  readonly code: number;
  readonly role: string;
  readonly checks: readonly Check[];
}

async function diagnose({ args, env }: Documented): Promise<Diagnosis> {
  const { code, out } = await run({ args: [...args, "--json"], env });
  const checks = out.trimEnd().split("\n");
  return { code, role: args.at(-1) ?? "", checks: checks.map((line) => JSON.parse(line) as Check) };
}

/** The first diagnosis that finds nothing wrong: whether all nodes are heard is told by a second of their heartbeats. */
async function healthy(documented: Documented): Promise<Diagnosis> {
  return await eventually(async () => {
    const diagnosis = await diagnose(documented);
    return diagnosis.checks.every(({ verdict, check }) => verdict === "ok" || check === "disk") ? diagnosis : undefined;
  }, "doctor to find nothing wrong");
}

test("a swarm on a NATS system of one's own, by the book", async () => {
  const dir = temporary();
  const printed = await Promise.all(commands(dir, "", "permissions").map(run));
  const users = printed.map(({ out }) => out).join("");
  const [documented = ""] = blocks("");
  const configuration = documented.replace(/^listen: .*\n/, "").replace("/var/lib/nats", join(dir, "store"));
  const server = new TestNats({ config: configuration.replace(PLACE_OF_USERS, users) });
  onTestFinished(() => server.close());
  await server.start();
  const named = (name: string): readonly Documented[] => commands(dir, server.url, name);
  const only = (name: string): Documented => {
    const [command, ...more] = named(name);
    if (command === undefined || more.length > 0) throw new Error(`the section has not one \`vgas ${name}\``);
    return command;
  };

  const up = start(only("up").args, { env: only("up").env });
  expect(await up.line(0)).toMatch(/^ready /);
  const joined = start(only("join").args, { env: only("join").env });
  const [, hostId = ""] = /node (\w+)$/.exec(await joined.line(0)) ?? [];
  expect(users).toContain(`"_INBOX.${hostId}.>"`);

  const [submitted, diagnoses] = await Promise.all([
    run(only("submit")),
    Promise.all(named("doctor").map(healthy)),
    eventually(async () => /^nodes +2 with /m.test((await run(only("status"))).out) || undefined, "both nodes"),
  ]);
  expect(submitted).toMatchObject({ code: 0, out: expect.stringContaining('{"hello":1}') });
  expect(diagnoses.map(({ role, code }) => `${role} ${code}`)).toEqual([
    "system 0",
    "worker 0",
    "client 0",
    "observer 0",
  ]);

  const less = printed.map(({ out }) => {
    const taken = Object.entries(TAKEN).find(([role]) => out.startsWith(`# role ${role} `))?.[1];
    return taken === undefined ? out : out.replace(`"${taken.subject}"`, "");
  });
  await server.reload(configuration.replace(PLACE_OF_USERS, less.join("")));
  const lacking = await Promise.all(named("doctor").slice(1).map(diagnose));
  const missing = lacking.map(({ role, code, checks }) => {
    const details = checks.find(({ check }) => check === "permissions")?.details;
    return { role, code, details };
  });
  expect(missing).toEqual(
    Object.entries(TAKEN).map(([role, taken]) => ({ role, code: 1, details: { missing: [taken] } })),
  );
});
