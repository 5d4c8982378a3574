/** A node with its own vault: how it is opened at the start, and the commands against the vault itself. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { vgas } from "../in-process.ts";
import { type Running, start } from "../support.ts";
import { onTerminal } from "./pseudo-terminal.ts";

const PASSPHRASE = "canary horse battery staple";

function flags(home: string): readonly string[] {
  return ["up", "--home", home, "--nats-port", "0", "--http-port", "0", "--agents", "0", "--roles", "vault"];
}

async function stop(node: Running): Promise<void> {
  node.child.kill("SIGTERM");
  expect((await node.end).code).toBe(0);
}

async function state(home: string): Promise<unknown> {
  const { out } = await vgas(["vault", "status", "--json", "--home", home]);
  return (JSON.parse(out) as { readonly state: string }).state;
}

const dir = mkdtempSync(join(tmpdir(), "vgas-node-"));
afterAll(() => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }));

/** A home with a vault that holds one key. The tests use it one after the other. */
const home = join(dir, "home");
const file = join(dir, "passphrase");

test("the vault of a new home is made and used", async () => {
  writeFileSync(file, `${PASSPHRASE}\n`, { mode: 0o600 });
  const node = start(flags(home));
  await node.line(0);
  expect(await state(home)).toBe("uninitialised");
  expect((await vgas(["vault", "init", "--passphrase-file", file, "--home", home])).code).toBe(0);
  const stored = await vgas(["vault", "store", "openai", "--home", home], { stdin: "sk-canary-0123456789" });
  expect(stored.err).toContain("ends in 6789");
  await stop(node);
});

test("a vault is sealed after a start, unless the node is told where its passphrase is", async () => {
  const sealed = start(flags(home));
  await sealed.line(0);
  expect(await state(home)).toBe("sealed");
  const refused = await vgas(["vault", "list", "--home", home]);
  expect(refused.code).toBe(77);
  await stop(sealed);

  const byFile = start([...flags(home), "--vault-unlock", `file:${file}`]);
  await byFile.line(0);
  expect(await state(home)).toBe("unsealed");
  expect((await vgas(["vault", "list", "--home", home])).out).toMatch(/^openai\/default /m);
  await stop(byFile);

  const byStdin = start(flags(home), { stdin: PASSPHRASE, env: { VGAS_VAULT_UNLOCK: "stdin" } });
  await byStdin.line(0);
  expect(await state(home)).toBe("unsealed");
  await stop(byStdin);
});

test("a passphrase of the environment opens the vault, and no child gets it", async () => {
  const node = start([...flags(home), "--vault-unlock", "env:MY_PASSPHRASE"], { env: { MY_PASSPHRASE: PASSPHRASE } });
  await node.line(0);
  expect(await state(home)).toBe("unsealed");
  if (process.platform === "linux") {
    const record = JSON.parse(readFileSync(join(home, "nats", "broker.json"), "utf8")) as { process: { pid: number } };
    const environment = readFileSync(`/proc/${record.process.pid}/environ`, "utf8");
    expect(environment).toContain("PATH=");
    expect(environment).not.toContain("canary");
  }
  await stop(node);
  expect(`${node.lines.join("\n")}${node.err()}`).not.toContain("canary");
});

test("a wrong passphrase is told, and leaves the node running with its vault sealed", async () => {
  const other = join(dir, "other");
  writeFileSync(other, "another passphrase\n", { mode: 0o600 });
  const node = start([...flags(home), "--vault-unlock", `file:${other}`]);
  await node.line(0);
  expect(node.err()).toContain("WRONG_PASSPHRASE");
  expect(await state(home)).toBe("sealed");
  await stop(node);
});

test("a source that gives nothing ends the start with 78 and what to do", async () => {
  const missing = await start([...flags(home), "--vault-unlock", `file:${join(dir, "none")}`]).end;
  expect(missing.err).toContain("there is no file");
  const unknown = await start([...flags(home), "--vault-unlock", "magic"]).end;
  expect(unknown.err).toContain("file:PATH");
  expect([missing.code, unknown.code]).toEqual([78, 78]);
});

test("with prompt the node asks on its terminal, without echo, before it starts", async () => {
  const terminal = onTerminal([...flags(home), "--vault-unlock", "prompt"]);
  await terminal.sees("Passphrase: ");
  terminal.type(`${PASSPHRASE}\r`);
  await terminal.sees("ready nats://");
  expect(await state(home)).toBe("unsealed");
  terminal.type("\x03");
  expect((await terminal.end).code).toBe(0);
  expect(terminal.shown()).not.toContain("canary");
});

test("Ctrl-C at that prompt ends with 130, and nothing was started", async () => {
  const terminal = onTerminal([...flags(home), "--vault-unlock", "prompt"]);
  await terminal.sees("Passphrase: ");
  terminal.type("half\x03");
  expect((await terminal.end).code).toBe(130);
  expect(terminal.shown()).not.toMatch(/half|ready/);
});

test("a terminal as standard input is no source: what is typed there would be shown", async () => {
  const terminal = onTerminal([...flags(home), "--vault-unlock", "stdin"]);
  expect((await terminal.end).code).toBe(78);
  expect(terminal.shown()).toContain("use prompt");
});
