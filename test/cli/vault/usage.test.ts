/** What cannot be meant is refused before anybody is connected to. */
import { Writable } from "node:stream";
import { expect, test } from "vitest";
import type { Cli } from "../../../src/cli/cli.ts";
import { budgetOf } from "../../../src/cli/commands/vault/settings.ts";
import { since } from "../../../src/cli/commands/vault/usage.ts";
import { reportFailure } from "../../../src/cli/failure.ts";
import { Interrupt } from "../../../src/cli/interrupt.ts";
import { commandOf, createProgram } from "../../../src/cli/program.ts";
import { Terminal } from "../../../src/cli/terminal.ts";
import { rejection } from "../../support/wait.ts";

const interrupt = new Interrupt();

function sink(): { readonly stream: NodeJS.WriteStream; text(): string } {
  let text = "";
  const stream = new Writable({
    write: (chunk, _encoding, done) => {
      text += String(chunk);
      done();
    },
  });
  return { stream: stream as unknown as NodeJS.WriteStream, text: () => text };
}

test.each([
  { args: ["store", "openai", "--update"], message: "--update needs something to change" },
  { args: ["store", "openai", "--update", "--lease", "--key-file", "x"], message: "--update changes no key" },
  { args: ["store", "openai", "--reset", "lease"], message: "--reset changes a key that is there" },
  { args: ["store", "openai", "--update", "--lease", "--reset", "lease"], message: "--reset names lease" },
  { args: ["store", "openai", "--budget", "calls=1/day", "--budget", "calls=2/day"], message: "two budgets for calls" },
  { args: ["store", "openai", "--budget", "calls=1.5/day"], message: "calls=1000/day" },
  { args: ["store", "openai", "--budget", "cost=1/year"], message: "calls=1000/day" },
  { args: ["store", "openai", "--budget", "cost=9999999999/day"], message: "too large" },
  { args: ["store", "openai", "--origin", "https://a.example/v1"], message: "without a path" },
  { args: ["store", "openai", "--origin", "a.example"], message: "without a path" },
  { args: ["store", "openai", "--origin", "http://a.example"], message: "give --allow-private" },
  { args: ["store", "openai", "--header", "a b"], message: "the name of a header" },
  { args: ["store", "openai", "--header", "Host"], message: "a header that can carry a key" },
  { args: ["store", "openai", "--scheme", "a\nb"], message: "printable characters" },
  { args: ["store", "openai", "--kinds", "a b"], message: "1 to 64 of the characters" },
  { args: ["store", "openai", "--kinds", ""], message: "1 to 64 of the characters" },
  { args: ["store", "openai", "--name", "a.b"], message: "1 to 64 of the characters" },
  { args: ["store", "open ai"], message: "1 to 64 of the characters" },
  { args: ["store", "openai", "--reset", "everything"], message: "separated by commas" },
  { args: ["store", "openai", "--key", "sk-1234"], message: "unknown option '--key'" },
  { args: ["init", "--passphrase", "p"], message: "unknown option '--passphrase'" },
  { args: ["store"], message: "missing required argument 'provider'" },
  { args: ["rotate", "--name", "x"], message: "--name and --key-file are of a provider's key" },
  { args: ["usage", "--by", "colour"], message: "separated by commas" },
  { args: ["usage", "--since", "soon"], message: "24h" },
  { args: ["audit", "list", "--limit", "0"], message: "1 or more" },
  { args: ["audit", "list", "--after", "-1"], message: "0 or more" },
])("refuses vault $args with exit code 2", async ({ args, message }) => {
  const [out, err] = [sink(), sink()];
  const terminal = new Terminal(out.stream, err.stream, {});
  const cli: Cli = { terminal, interrupt, env: {}, exitCode: 0 };
  const thrown = await rejection(createProgram(cli).parseAsync(["vault", ...args], { from: "user" }));
  expect(reportFailure(terminal, thrown, false, "vault")).toBe(2);
  expect(err.text()).toContain(message);
  expect(out.text()).toBe("");
});

test.each([
  { args: ["store", "openai", "--budget", "x"], hint: "`vgas vault store --help`" },
  { args: ["usage", "--by", "colour"], hint: "`vgas vault usage --help`" },
  { args: ["audit", "list", "--limit", "x"], hint: "`vgas vault audit list --help`" },
  { args: ["audit", "list", "--limit", "0"], hint: "`vgas vault audit list --help`" },
  { args: ["unsael"], hint: "`vgas vault --help`" },
])("points at the help of the very command: vault $args", async ({ args, hint }) => {
  const [out, err] = [sink(), sink()];
  const terminal = new Terminal(out.stream, err.stream, {});
  const program = createProgram({ terminal, interrupt, env: {}, exitCode: 0 });
  const all = ["vault", ...args];
  const thrown = await rejection(program.parseAsync(all, { from: "user" }));
  reportFailure(terminal, thrown, false, commandOf(program, all));
  expect(err.text()).toContain(hint);
});

test("a wrong name is told in the words of the command line", async () => {
  const [out, err] = [sink(), sink()];
  const terminal = new Terminal(out.stream, err.stream, {});
  const program = createProgram({ terminal, interrupt, env: {}, exitCode: 0 });
  const thrown = await rejection(program.parseAsync(["vault", "store", "Open AI"], { from: "user" }));
  reportFailure(terminal, thrown, false, "vault store");
  expect(err.text()).toContain("vgas: the provider cannot be 'Open AI'. It must have 1 to 64");
});

test("a budget in dollars is billionths of one, exactly", () => {
  expect(budgetOf("cost=0.1/day")).toEqual({ unit: "cost", per: "day", limit: 100_000_000 });
  expect(budgetOf("cost=1234.567890123/month").limit).toBe(1_234_567_890_123);
  expect(budgetOf("tokens=2000000/month")).toEqual({ unit: "tokens", per: "month", limit: 2_000_000 });
});

test("a time is a date, a moment, milliseconds since the epoch, or so long ago", () => {
  const now = Date.UTC(2026, 10, 22, 12);
  expect(since("24h", now)).toBe(now - 86_400_000);
  expect(since("2026-11-22", now)).toBe(Date.UTC(2026, 10, 22));
  expect(since("2026-11-22T11:59:00Z", now)).toBe(now - 60_000);
  expect(since(String(now), now)).toBe(now);
});
