/** `vgas vault init`, `unseal`, `seal`, `rekey` and `status` as a user gives them, against a vault that says what it got. */
import { chmodSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { signerOf } from "../../../src/bus/sealed/signing.ts";
import { VgasError } from "../../../src/protocols/errors.ts";
import { eventually } from "../../support/wait.ts";
import { vgas } from "../in-process.ts";
import { temporary } from "../support.ts";
import { useFakeVault } from "./fake-vault.ts";

const vault = useFakeVault();
const home = ["--home", vault.home];
const GENERATION = { vaultId: "vault-of-the-test", generation: 1 };

function file(text: string | Uint8Array, mode = 0o600): string {
  const path = join(temporary(), "secret");
  writeFileSync(path, text, { mode });
  return path;
}

describe("init", () => {
  test("takes the passphrase from a file without its line end, and says so as JSON", async () => {
    vault.state = "uninitialised";
    vault.answers = { init: GENERATION };
    const { code, out, err } = await vgas([
      "vault",
      "init",
      "--passphrase-file",
      file("pass phrase\n"),
      "--json",
      ...home,
    ]);
    expect(JSON.parse(out)).toEqual(GENERATION);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(vault.done).toMatchObject([{ op: "init", user: "admin", secret: "pass phrase" }]);
  });

  test("takes it from stdin and from the environment", async () => {
    vault.state = "uninitialised";
    vault.answers = { init: GENERATION };
    await vgas(["vault", "init", "--passphrase-file", "-", ...home], { stdin: "of stdin\r\n" });
    await vgas(["vault", "init", ...home], { env: { VGAS_VAULT_PASSPHRASE: "of the environment" } });
    expect(vault.done.map(({ secret }) => secret)).toEqual(["of stdin", "of the environment"]);
  });

  test("makes a key file that is not there, for nobody else to read, and takes the one that is", async () => {
    vault.state = "uninitialised";
    vault.answers = { init: GENERATION };
    const path = join(temporary(), "vault.key");
    const first = await vgas(["vault", "init", "--key-file", path, ...home]);
    expect(first.err).toContain(`Made the key file ${path}`);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const text = readFileSync(path, "utf8");
    expect(Buffer.from(text, "base64")).toHaveLength(32);
    await vgas(["vault", "init", "--key-file", path, ...home]);
    expect(vault.done.map(({ secret }) => secret)).toEqual([text.trimEnd(), text.trimEnd()]);
  });

  test("says with --accept-rollback that the swarm's former vault is lost, and without it how to say so", async () => {
    vault.state = "uninitialised";
    vault.answers = {
      init: (args) => (args["acceptRollback"] ? GENERATION : new VgasError("VAULT_ROLLED_BACK", "its file is gone")),
    };
    const passphrase = ["--passphrase-file", file("pass phrase")];
    const refused = await vgas(["vault", "init", ...passphrase, ...home]);
    expect(refused.err).toContain("`vgas vault init --accept-rollback`");
    expect(refused.code).toBe(77);
    const { code } = await vgas(["vault", "init", ...passphrase, "--accept-rollback", ...home]);
    expect(code).toBe(0);
    expect(vault.done.map(({ args }) => args)).toEqual([{}, { acceptRollback: true }]);
  });

  test("a passphrase that the vault refuses is told what to do about", async () => {
    vault.state = "uninitialised";
    vault.answers = { init: new VgasError("INVALID", "a passphrase must have more bytes") };
    const { code, err } = await vgas(["vault", "init", "--passphrase-file", file("p"), ...home]);
    expect(err).toContain("with another passphrase");
    expect(code).toBe(2);
  });

  test("makes nothing where a vault is already: exit code 1", async () => {
    const path = join(temporary(), "vault.key");
    const { code, err } = await vgas(["vault", "init", "--key-file", path, ...home]);
    expect(err).toContain("has a vault already: vault-of-the-test");
    expect(() => statSync(path)).toThrow("ENOENT");
    expect(code).toBe(1);
  });
});

describe("secrets are refused before anything is sent", () => {
  test("a key of two lines, one that is too long, and none, from stdin and from a file", async () => {
    const lines = await vgas(["vault", "store", "openai", ...home], { stdin: "sk-1234\nsk-5678\n" });
    expect(lines.err).toContain("the key on stdin has more than one line");
    const long = await vgas(["vault", "store", "openai", "--key-file", file("k".repeat(4_097)), ...home]);
    expect(long.err).toContain("the key has more than 4096 bytes");
    const none = await vgas(["vault", "store", "openai", ...home]);
    expect(none.err).toContain("the key on stdin is empty");
    expect(`${lines.err}${long.err}`).not.toMatch(/1234|kk/);
    expect([lines.code, long.code, none.code]).toEqual([2, 2, 2]);
    expect(vault.done).toEqual([]);
  });

  test("a file that others can read: exit code 78 with the command that mends it", async () => {
    const path = file("sk-1234");
    chmodSync(path, 0o640);
    const { code, err } = await vgas(["vault", "store", "openai", "--key-file", path, ...home]);
    expect(err).toContain(`chmod 600 '${path}'`);
    expect(code).toBe(78);
    expect(vault.done).toEqual([]);
  });

  test("a file that is not there, and one that is a directory", async () => {
    const dir = temporary();
    const missing = await vgas(["vault", "unseal", "--passphrase-file", join(dir, "none"), ...home]);
    expect(missing.err).toContain("there is no file");
    const directory = await vgas(["vault", "unseal", "--passphrase-file", dir, ...home]);
    expect(directory.err).toContain("it is a directory, not a file");
    expect(directory.err).not.toContain("move it away");
    expect([missing.code, directory.code]).toEqual([78, 78]);
  });

  test("no source at all, and nobody to ask: exit code 2 with the ways there are", async () => {
    const { code, err } = await vgas(["vault", "unseal", ...home]);
    expect(err).toContain("there is no terminal to ask for the passphrase on");
    expect(err).toContain("--passphrase-file FILE");
    expect(err).toContain("VGAS_VAULT_PASSPHRASE");
    expect(code).toBe(2);
  });

  test("one thing only comes from stdin", async () => {
    const both = ["--passphrase-file", "-", "--new-passphrase-file", "-"];
    const twice = await vgas(["vault", "rekey", ...both, ...home], { stdin: "one\n" });
    expect(twice.err).toContain("standard input gives one secret only");
    const described = await vgas(["connection", "--role", "admin", "--inline", ...home]);
    const connection = await vgas(["vault", "unseal", "--connection", "-", "--passphrase-file", "-"], {
      stdin: described.out,
    });
    expect(connection.err).toContain("standard input gives the connection, so it cannot give the passphrase too");
    expect([twice.code, connection.code]).toEqual([2, 2]);
    expect(vault.done).toEqual([]);
  });
});

describe("who answers for the vault", () => {
  test("is known by the connection file of an admin", async () => {
    vault.answers = { unseal: GENERATION };
    for (const form of [[], ["--inline"]]) {
      const { out } = await vgas(["connection", "--role", "admin", ...form, ...home]);
      const { code } = await vgas(["vault", "unseal", "--connection", file(out), "--passphrase-file", "-"], {
        stdin: "p",
      });
      expect(code).toBe(0);
    }
    expect(vault.done.map(({ secret }) => secret)).toEqual(["p", "p"]);
  });

  test("is not known by one that does not say it: no secret is sent, exit code 78 with the remedy", async () => {
    const { out } = await vgas(["connection", "--role", "admin", ...home]);
    const { vaultKey: _, ...old } = JSON.parse(out) as { readonly vaultKey: string };
    const connection = ["--connection", file(JSON.stringify(old))];
    const { code, err } = await vgas(["vault", "unseal", ...connection, "--passphrase-file", "-"], { stdin: "p" });
    expect(err).toContain("make the connection file anew: `vgas connection --role admin`");
    expect(code).toBe(78);
    expect(vault.done).toEqual([]);
    expect((await vgas(["vault", "seal", ...connection])).code).toBe(0);
  });

  test("is refused unless the home's node has signed it: exit code 77, and nothing is sent", async () => {
    const worker = await vault.credentials.issueNode("worker");
    vault.signer = signerOf(worker.user, worker.seed);
    const { out } = await vgas(["connection", "--role", "admin", "--inline", ...home]);
    for (const target of [home, ["--connection", file(out)]]) {
      const { code, err } = await vgas(["vault", "unseal", "--passphrase-file", "-", ...target], { stdin: "p" });
      expect(err).toContain("somebody else answers in its place");
      expect(code).toBe(77);
    }
    expect(vault.done).toEqual([]);
  });
});

describe("unseal, seal and rekey", () => {
  test("send what they are given, and only that", async () => {
    vault.answers = { unseal: GENERATION, rekey: { generation: 2 } };
    const key = file(Buffer.from([0, 1, 2, 255, 10]));
    await vgas(["vault", "unseal", "--key-file", key, "--accept-rollback", ...home]);
    await vgas(["vault", "seal", ...home]);
    await vgas(["vault", "rekey", "--passphrase-file", file("old"), "--new-passphrase-file", "-", ...home], {
      stdin: "new",
    });
    expect(vault.done).toMatchObject([
      { op: "unseal", args: { acceptRollback: true }, secret: Buffer.from([0, 1, 2, 255]).toString() },
      { op: "seal", args: {} },
      { op: "rekey", args: {}, secret: "old", next: "new" },
    ]);
  });

  test("rekey says by what the vault opens now", async () => {
    vault.answers = { rekey: { generation: 2 } };
    const old = ["--passphrase-file", file("old")];
    const { err } = await vgas(["vault", "rekey", ...old, "--new-key-file", file("new"), ...home]);
    expect(err).toBe("The vault has its new key file; the passphrase opens it no more.\n");
  });

  test("of a damaged trail says what to do about the trail", async () => {
    vault.answers = { unseal: new VgasError("VAULT_DAMAGED", "the key of the audit trail in /x/trail is missing") };
    const { err } = await vgas(["vault", "unseal", "--passphrase-file", file("p"), ...home]);
    expect(err).toContain("Restore the folder trail");
    expect(err).toContain("--accept-rollback");
  });

  test.each([
    { code: "WRONG_PASSPHRASE", exitCode: 77 },
    { code: "VAULT_ROLLED_BACK", exitCode: 77 },
    { code: "VAULT_DAMAGED", exitCode: 1 },
    { code: "PERMISSION_DENIED", exitCode: 77 },
  ] as const)("$code ends with $exitCode and its remedy", async ({ code, exitCode }) => {
    vault.answers = { unseal: new VgasError(code, "the vault says no") };
    const refused = await vgas(["vault", "unseal", "--passphrase-file", file("p"), "--json", ...home]);
    expect(JSON.parse(refused.err)).toEqual({ error: { code, message: "the vault says no" } });
    expect(refused.code).toBe(exitCode);
  });

  test("without a vault yet, nobody is asked for a passphrase", async () => {
    vault.state = "uninitialised";
    const { code, err } = await vgas(["vault", "unseal", ...home]);
    expect(err).toContain("vgas vault init");
    expect(code).toBe(77);
  });
});

describe("status", () => {
  test("tells state, vault and node, and why it has failed", async () => {
    vault.state = "failed";
    vault.why = "no space\u001b[2J";
    const text = await vgas(["vault", "status", ...home]);
    expect(text.out).toBe("state  failed\nwhy    no space [2J\nvault  vault-of-the-test\nnode   master\n");
    const json = await vgas(["vault", "status", "--json", ...home]);
    expect(JSON.parse(json.out)).toMatchObject({ state: "failed", vaultId: "vault-of-the-test", host: "master" });
  });

  test("of the swarm shows the vault, and why it gives no key out", async () => {
    // Each time all that does not answer within seconds is told as such.
    const observed = (what: string, ...flags: readonly string[]): Promise<string> =>
      eventually(async () => {
        const { out } = await vgas(["status", ...flags, ...home]);
        return out.includes(what) ? out : undefined;
      }, `status to say ${what}`);
    vault.state = "sealed";
    await observed("vault    sealed: `vgas vault unseal` opens it, on node master\n");
    vault.state = "failed";
    vault.why = "the disk is full";
    const [json] = await Promise.all([
      observed('"failed"', "--json"),
      observed("the vault gives no key out: the disk is full"),
    ]);
    expect(JSON.parse(json)).toMatchObject({ vault: { state: "failed", why: "the disk is full", host: "master" } });
  });

  test("without a vault says which node would run it, and the swarm's status has no such line", async () => {
    await vault.leave();
    try {
      const { code, err } = await vgas(["vault", "status", ...home]);
      expect(err).toContain("no vault answers in this swarm");
      expect(err).toContain("vgas up");
      expect(err).toContain("down, cut off");
      expect(err).toMatch(/`vgas status` .* log of the vault's node/);
      expect(code).toBe(1);
      expect((await vgas(["status", ...home])).out).not.toContain("vault");
    } finally {
      await vault.listen();
    }
  });

  test("without a swarm: exit code 69", async () => {
    const { code } = await vgas(["vault", "status", "--home", join(temporary(), "none")]);
    expect(code).toBe(69);
  });
});
