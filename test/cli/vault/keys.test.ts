/** `vgas vault store`, `rotate`, `delete`, `list`, `show` and `usage` as a user gives them. */
import { describe, expect, test } from "vitest";
import { VgasError } from "../../../src/protocols/errors.ts";
import { NO_USAGE } from "../../../src/protocols/vault/keys.ts";
import { vgas } from "../in-process.ts";
import { KEY, useFakeVault } from "./fake-vault.ts";

const vault = useFakeVault();
const home = ["--home", vault.home];

describe("store", () => {
  test("takes the key from stdin, and every setting", async () => {
    vault.answers = { store: KEY };
    const settings = [
      ...[
        "--header",
        "X-Api-Key",
        "--scheme",
        "Token",
        "--origin",
        "https://a.example/",
        "--origin",
        "http://b.lan:8080",
      ],
      ...["--allow-private", "--no-lease", "--kinds", "chat,embed", "--pools", "gpu", "--nodes", "n1"],
      ...["--budget", "calls=1000/day", "--budget", "cost=5.5/month"],
    ];
    const { code, err } = await vgas(["vault", "store", "openai", "--name", "second", ...settings, ...home], {
      stdin: "sk-canary-1234\n",
    });
    expect(err).toBe("Stored openai/default, version 1, ends in 9876, fingerprint f00dcafe.\n");
    expect(code).toBe(0);
    expect(vault.done).toEqual([
      {
        op: "store",
        user: "admin",
        secret: "sk-canary-1234",
        next: undefined,
        args: {
          provider: "openai",
          name: "second",
          settings: {
            header: "x-api-key",
            scheme: "Token ",
            origins: ["https://a.example", "http://b.lan:8080"],
            allowPrivate: true,
            lease: false,
            kinds: ["chat", "embed"],
            pools: ["gpu"],
            nodes: ["n1"],
            budgets: [
              { unit: "calls", per: "day", limit: 1_000 },
              { unit: "cost", per: "month", limit: 5_500_000_000 },
            ],
          },
        },
      },
    ]);
  });

  test("a key that is there already: says how to replace it and how to change its settings", async () => {
    vault.answers = { store: new VgasError("CONFLICT", "there is a key openai/b already") };
    const { code, err } = await vgas(["vault", "store", "openai", "--name", "b", ...home], { stdin: "sk" });
    expect(err).toContain("`vgas vault rotate openai --name b`");
    expect(err).toContain("`vgas vault store openai --name b --update`");
    expect(code).toBe(1);
  });

  test("a key that can be sent nowhere is stored with a warning, which JSON leaves to its reader", async () => {
    vault.answers = { store: { ...KEY, provider: "myco", settings: { origins: [], lease: true } } };
    const leased = await vgas(["vault", "store", "myco", ...home], { stdin: "sk" });
    expect(leased.err).toContain("warning: Agents can lease it, and make no calls with it: it has no --origin.");
    expect(leased.err).toContain("`vgas vault store myco --name default --update --origin");
    expect(leased.code).toBe(0);
    const json = await vgas(["vault", "store", "myco", "--json", ...home], { stdin: "sk" });
    expect(json.err).toBe("");
    vault.answers = { store: { ...KEY, settings: { origins: ["https://a.example"] } } };
    const sent = await vgas(["vault", "store", "openai", ...home], { stdin: "sk" });
    expect(sent.err).not.toContain("warning");
  });

  test("--update leaves it to the vault whether http is good for a key whose other settings it knows", async () => {
    vault.answers = { store: KEY };
    const { code } = await vgas(["vault", "store", "myco", "--update", "--origin", "http://10.0.0.1", ...home]);
    expect(code).toBe(0);
    expect(vault.done).toMatchObject([{ args: { settings: { origins: ["http://10.0.0.1"] } } }]);
  });

  test("--update changes what is given and resets what is named, and takes no key", async () => {
    vault.answers = { store: KEY };
    const { out } = await vgas(
      ["vault", "store", "openai", "--update", "--lease", "--reset", "kinds,budgets", "--json", ...home],
      { stdin: "not a key" },
    );
    expect(JSON.parse(out)).toEqual(KEY);
    expect(vault.done).toMatchObject([
      { args: { name: "default", settings: { lease: true, kinds: null, budgets: null } }, secret: undefined },
    ]);
  });
});

describe("rotate and delete", () => {
  test("rotate takes a new version of a key, or begins a new term", async () => {
    vault.answers = {
      rotate: (args) => ("provider" in (args as object) ? { term: 1, key: { ...KEY, version: 2 } } : { term: 2 }),
    };
    const version = await vgas(["vault", "rotate", "openai", ...home], { stdin: "sk-new\n" });
    expect(version.err).toContain("Replaced openai/default, version 2");
    const term = await vgas(["vault", "rotate", "--json", ...home], { stdin: "not read" });
    expect(JSON.parse(term.out)).toEqual({ term: 2 });
    expect(vault.done).toMatchObject([
      { args: { provider: "openai", name: "default" }, secret: "sk-new" },
      { args: {} },
    ]);
  });

  test("delete needs --yes where nobody can be asked", async () => {
    const asked = await vgas(["vault", "delete", "openai", ...home]);
    expect(asked.err).toContain("--yes");
    expect(asked.code).toBe(2);
    expect(vault.done).toEqual([]);
    const { code, out } = await vgas(["vault", "delete", "openai", "--yes", "--json", ...home]);
    expect(JSON.parse(out)).toEqual({ provider: "openai", name: "default", deleted: true });
    expect(code).toBe(0);
    expect(vault.done).toMatchObject([{ op: "delete", args: { provider: "openai", name: "default" } }]);
  });
});

describe("list, show and usage", () => {
  test("list is a table, or one object a line", async () => {
    const other = { ...KEY, name: "b", resting: { until: Date.UTC(2026, 0, 2), status: 429 } };
    vault.answers = { list: { keys: [KEY, other] } };
    const json = await vgas(["vault", "list", "--json", ...home]);
    expect(
      json.out
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as unknown),
    ).toEqual([KEY, other]);
    const { out } = await vgas(["vault", "list", ...home]);
    expect(out).toMatch(/^openai\/default +1 +9876 +f00dcafe +4 +1 230 +\$0\.001234 +never +ready$/m);
    expect(out).toMatch(/^openai\/b .* rests until 2026-01-02 00:00:00Z$/m);
    vault.answers = { list: { keys: [] } };
    expect(await vgas(["vault", "list", ...home])).toMatchObject({ code: 0, out: "" });
  });

  test("show tells everything but the key; one that is not there: exit code 4", async () => {
    vault.answers = { show: KEY };
    const { out } = await vgas(["vault", "show", "openai", ...home]);
    expect(out).toMatch(/^ends in +9876$/m);
    expect(out).toMatch(/^fingerprint +f00dcafe$/m);
    expect(out).toMatch(/^used +3 calls, 1 lease, 0 errors$/m);
    expect(out).toMatch(/^tokens +1 200 in \(0 cached\), 30 out$/m);
    expect(out).toMatch(/^cost +\$0\.001234$/m);
    expect(out).toMatch(/^leases +yes/m);
    vault.answers = { show: new VgasError("NOT_FOUND", "there is no key openai/x") };
    const missing = await vgas(["vault", "show", "openai", "--name", "x", ...home]);
    expect(missing.err).toContain("there is no key openai/x");
    expect(missing.err).toContain("`vgas vault list`");
    expect(missing.code).toBe(4);
  });

  test("show says why a key with a budget of tokens or cost is not leased", async () => {
    const budget = { unit: "cost", per: "day", limit: 5, used: 0, reserved: 0, resetsAt: 0 } as const;
    vault.answers = { show: { ...KEY, settings: { lease: true }, budgets: [budget] } };
    const { out } = await vgas(["vault", "show", "openai", ...home]);
    expect(out).toMatch(/^leases +no: it has a budget of tokens or cost/m);
  });

  test("usage groups as it is asked to, and ends with the total", async () => {
    const used = { ...NO_USAGE, calls: 2, costNanoUsd: 1_500_000_000 };
    const reply = {
      rows: [{ provider: "openai", kind: "chat", lastUsedAt: Date.UTC(2026, 0, 2), usage: used }],
      total: used,
    };
    vault.answers = { usage: reply };
    const { out } = await vgas([
      "vault",
      "usage",
      "--by",
      "provider,kind",
      "--since",
      "2026-01-01",
      "--task",
      "t1",
      ...home,
    ]);
    expect(out.split("\n")[1]).toMatch(/^openai +chat .*\$1\.500000 +2026-01-02 00:00Z$/);
    expect(out.split("\n")[2]).toMatch(/^total .*\$1\.500000 /);
    expect(vault.done).toMatchObject([{ args: { by: ["provider", "kind"], since: Date.UTC(2026, 0, 1), task: "t1" } }]);
    const json = await vgas(["vault", "usage", "--json", ...home]);
    expect(JSON.parse(json.out)).toEqual(reply);
  });
});
