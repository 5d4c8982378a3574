import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Secret } from "../src/bus/sealed/secret.ts";
import { readKeyring } from "../src/unlock/keyring.ts";
import { parseUnlock, readUnlock, type UnlockContext } from "../src/unlock.ts";
import { rejection } from "./support/wait.ts";

let dir = "";

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "vgas-unlock-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** What the source gives, as text. */
async function unlock(source: string, context: Partial<UnlockContext> = {}): Promise<string> {
  const secret = await readUnlock(parseUnlock(source), { home: "/home/of/the/vault", ...context });
  return secret.use((bytes) => bytes.toString());
}

describe("parseUnlock", () => {
  test("knows every form", () => {
    const forms = [
      "prompt",
      "stdin",
      "keyring",
      "systemd",
      "systemd:other",
      "file:/a:b",
      "file:relative",
      "env:NAME_1",
    ];
    expect(forms.map(parseUnlock)).toEqual([
      { type: "prompt" },
      { type: "stdin" },
      { type: "keyring" },
      { type: "systemd", name: "vgas-vault" },
      { type: "systemd", name: "other" },
      { type: "file", path: "/a:b" },
      { type: "file", path: "relative" },
      { type: "env", name: "NAME_1" },
    ]);
  });

  test.each([
    "",
    "hunter2",
    "file",
    "file:",
    "env:",
    "env:1A",
    "env:A=B",
    "systemd:",
    "systemd:..",
    "systemd:a/b",
    "prompt:",
    "File:/x",
  ])("refuses %j naming the forms, and does not repeat what could be a passphrase", (text) => {
    let error: unknown;
    try {
      parseUnlock(text);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({ code: "CONFIG", message: expect.stringContaining("file:PATH") });
    expect(String(error)).not.toContain("hunter2");
  });
});

describe("readUnlock", () => {
  test("takes a variable out of the environment", async () => {
    const env: NodeJS.ProcessEnv = { SECRET: "of the environment" };
    expect(await unlock("env:SECRET", { env })).toBe("of the environment");
    expect(env).toEqual({});
    expect(await rejection(unlock("env:SECRET", { env }))).toMatchObject({ code: "CONFIG" });
  });

  test("reads standard input to its end, and asks where it is told to", async () => {
    async function* stdin(): AsyncGenerator<Buffer> {
      yield Buffer.from("of ");
      yield Buffer.from("stdin\n");
    }
    expect(await unlock("stdin", { stdin: stdin() })).toBe("of stdin");
    expect(await unlock("prompt", { prompt: () => Promise.resolve(Secret.fromUtf8("typed")) })).toBe("typed");
    expect(await rejection(unlock("prompt"))).toMatchObject({ code: "CONFIG" });
  });

  test("a file that others can read is refused; systemd's is guarded by its directory", async () => {
    const path = join(dir, "vgas-vault");
    writeFileSync(path, "of a file\n", { mode: 0o600 });
    expect(await unlock(`file:${path}`)).toBe("of a file");
    chmodSync(path, 0o440);
    expect(await rejection(unlock(`file:${path}`))).toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining("chmod 600"),
    });
    const env = { CREDENTIALS_DIRECTORY: dir };
    expect(await unlock("systemd", { env })).toBe("of a file");
    expect(await rejection(unlock("systemd:other", { env }))).toMatchObject({ code: "CONFIG" });
    expect(await rejection(unlock("systemd", { env: {} }))).toMatchObject({
      message: expect.stringContaining("LoadCredential=vgas-vault:PATH"),
    });
  });

  test("an empty source is refused", async () => {
    const path = join(dir, "empty");
    writeFileSync(path, "\n", { mode: 0o600 });
    expect(await rejection(unlock(`file:${path}`))).toMatchObject({ code: "INVALID" });
    expect(await rejection(unlock("env:A", { env: { A: "" } }))).toMatchObject({ code: "INVALID" });
  });
});

describe("keyring", () => {
  const path = process.env["PATH"] ?? "";

  /** Puts a command of that name before all others; it knows one account, and writes down what it was started with. */
  function tool(name: string, known: string): string {
    const log = join(dir, "log");
    const script = `#!/bin/sh\necho "$*" >> '${log}'\ncase "$*" in *'${known}'*) printf 'of the keyring\\n';; *) exit 1;; esac\n`;
    writeFileSync(join(dir, name), script, { mode: 0o700 });
    process.env["PATH"] = `${dir}${delimiter}${path}`;
    return log;
  }

  afterEach(() => {
    process.env["PATH"] = path;
  });

  test.each([
    { platform: "linux", name: "secret-tool", asks: (account: string) => `lookup service vgas account ${account}` },
    {
      platform: "darwin",
      name: "security",
      asks: (account: string) => `find-generic-password -s vgas -a ${account} -w`,
    },
  ] as const)("of $platform is asked for the vault's id, then for the home", async ({ platform, name, asks }) => {
    const log = tool(name, "/home/of/the/vault");
    expect(await unlock("keyring", { vaultId: "id-1", platform })).toBe("of the keyring");
    expect(readFileSync(log, "utf8")).toBe(`${asks("id-1")}\n${asks("/home/of/the/vault")}\n`);
    tool(name, "id-1");
    expect(await unlock("keyring", { vaultId: "id-1", platform })).toBe("of the keyring");
  });

  test("says how to put the passphrase there", async () => {
    tool("secret-tool", "nothing");
    expect(await rejection(readKeyring(["id-1"], { platform: "linux" }))).toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining("secret-tool store --label 'vgas vault' service vgas account 'id-1'"),
    });
  });

  test("says what is missing, and where there is none", async () => {
    process.env["PATH"] = dir;
    expect(await rejection(readKeyring(["id-1"], { platform: "linux" }))).toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining("libsecret-tools"),
    });
    expect(await rejection(readKeyring(["id-1"], { platform: "win32" }))).toMatchObject({ code: "CONFIG" });
  });

  test("gives up when it is told to", async () => {
    writeFileSync(join(dir, "secret-tool"), "#!/bin/sh\nexec sleep 600\n", { mode: 0o700 });
    process.env["PATH"] = `${dir}${delimiter}${path}`;
    const asking = new AbortController();
    const given = rejection(readKeyring(["id-1"], { platform: "linux", signal: asking.signal }));
    asking.abort();
    expect(await given).toMatchObject({ code: "ABORTED" });
  });
});
