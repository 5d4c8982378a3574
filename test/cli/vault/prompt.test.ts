/** Secrets typed into a real terminal: nothing of them is shown, and the terminal is as it was afterwards. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporary } from "../support.ts";
import { KEY, useFakeVault } from "./fake-vault.ts";
import { type OnTerminal, onTerminal } from "./pseudo-terminal.ts";

const vault = useFakeVault();
const GENERATION = { vaultId: "v", generation: 1 };

function vgas(...args: readonly string[]): OnTerminal {
  return onTerminal(["vault", ...args, "--home", vault.home]);
}

/** Echo and line editing are on, as a shell leaves them. */
async function endsWith(terminal: OnTerminal, code: number): Promise<void> {
  const end = await terminal.end;
  expect(end.code).toBe(code);
  for (const setting of ["echo", "icanon", "isig"]) {
    expect(end.settings).toMatch(new RegExp(`(?<![-\\w])${setting}\\b`));
  }
}

test("init asks twice, without echo", async () => {
  vault.state = "uninitialised";
  vault.answers = { init: GENERATION };
  const terminal = vgas("init");
  await terminal.sees("New passphrase: ");
  terminal.type("wrongpass\x15correct hörse\r");
  await terminal.sees("New passphrase again: ");
  terminal.type("correct hörsx\x7fe\r");
  await endsWith(terminal, 0);
  expect(vault.done).toMatchObject([{ op: "init", secret: "correct hörse" }]);
  expect(terminal.shown()).not.toMatch(/correct|hörs|wrong/);
  expect(terminal.shown()).toContain("is made and unsealed");
});

test("what was typed differently the second time is sent to nobody", async () => {
  vault.state = "uninitialised";
  const terminal = vgas("init");
  await terminal.sees("New passphrase: ");
  terminal.type("first one\r");
  await terminal.sees("again: ");
  terminal.type("other one\r");
  await endsWith(terminal, 2);
  expect(terminal.shown()).toMatch(
    /was typed differently the second time\r\n +Nothing was changed: give the command again/,
  );
  expect(terminal.shown()).not.toMatch(/first|other one/);
  expect(vault.done).toEqual([]);
});

test("rekey asks for the present and the new one; what is typed ahead counts", async () => {
  vault.answers = { rekey: { generation: 2 } };
  const terminal = vgas("rekey");
  await terminal.sees("Passphrase: ");
  terminal.type("present\rnext one\rnext one\r");
  await endsWith(terminal, 0);
  expect(vault.done).toMatchObject([{ op: "rekey", secret: "present", next: "next one" }]);
  expect(terminal.shown()).not.toMatch(/present\b|next one/);
});

test("store takes a pasted key, and refuses one of several lines", async () => {
  vault.answers = { store: KEY };
  const terminal = vgas("store", "openai");
  await terminal.sees("Key openai/default: ");
  terminal.type("\x1b[200~sk-canary-1234\x1b[201~\r");
  await endsWith(terminal, 0);
  const lines = vgas("store", "openai");
  await lines.sees("Key openai/default: ");
  lines.type("sk-canary-1234\rsk-canary-5678\r");
  await endsWith(lines, 2);
  expect(lines.shown()).toContain("the key has more than one line");
  expect(`${terminal.shown()}${lines.shown()}`).not.toContain("canary");
  expect(vault.done).toMatchObject([{ op: "store", secret: "sk-canary-1234" }]);
});

test("Ctrl-C ends with 130, Ctrl-D with nothing typed with 2, and both give the terminal back", async () => {
  const interrupted = vgas("unseal");
  await interrupted.sees("Passphrase: ");
  interrupted.type("half\x03");
  await endsWith(interrupted, 130);
  const ended = vgas("unseal");
  await ended.sees("Passphrase: ");
  ended.type("\x04");
  await endsWith(ended, 2);
  expect(`${interrupted.shown()}${ended.shown()}`).not.toContain("half");
  expect(vault.done).toEqual([]);
});

test("a file that is standard input, where that is the terminal, is typed without echo too", async () => {
  vault.answers = { unseal: GENERATION };
  const terminal = vgas("unseal", "--passphrase-file", "-");
  await terminal.sees("Passphrase: ");
  terminal.type("typed all the same\r");
  await endsWith(terminal, 0);
  expect(terminal.shown()).not.toContain("typed all");
  expect(vault.done).toMatchObject([{ secret: "typed all the same" }]);
});

test("a signal from elsewhere gives the terminal back too", async () => {
  const terminal = vgas("unseal");
  await terminal.sees("Passphrase: ");
  process.kill(terminal.pid(), "SIGTERM");
  await endsWith(terminal, 143);
});

test("delete asks, and only a yes deletes", async () => {
  const no = vgas("delete", "openai");
  await no.sees("[y/N] ");
  no.type("\r");
  await endsWith(no, 1);
  expect(vault.done).toEqual([]);
  const yes = vgas("delete", "openai");
  await yes.sees("[y/N] ");
  yes.type("y\r");
  await endsWith(yes, 0);
  expect(vault.done).toMatchObject([{ op: "delete" }]);
});

test("Ctrl-C and Ctrl-D at a yes or no end its line, and delete nothing", async () => {
  const interrupted = vgas("delete", "openai");
  await interrupted.sees("[y/N] ");
  interrupted.type("\x03");
  await endsWith(interrupted, 130);
  expect(interrupted.shown()).toMatch(/\[y\/N\] (?:\^C)?\r\n\[ended 130\]/);
  const ended = vgas("delete", "openai");
  await ended.sees("[y/N] ");
  ended.type("\x04");
  await endsWith(ended, 1);
  expect(ended.shown()).toMatch(/\[y\/N\] (?:\^D[\b]*)?\r\nNothing was deleted\.\r\n/);
  expect(vault.done).toEqual([]);
});

test("a file or a variable goes before the terminal", async () => {
  vault.answers = { unseal: GENERATION };
  const path = join(temporary(), "passphrase");
  writeFileSync(path, "of a file\n", { mode: 0o600 });
  await endsWith(vgas("unseal", "--passphrase-file", path), 0);
  const terminal = onTerminal(["vault", "unseal", "--home", vault.home], { VGAS_VAULT_PASSPHRASE: "of a variable" });
  await endsWith(terminal, 0);
  expect(vault.done.map(({ secret }) => secret)).toEqual(["of a file", "of a variable"]);
});
