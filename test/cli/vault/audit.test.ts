/** `vgas vault audit`, and what all subcommands have in common. */
import { describe, expect, test } from "vitest";
import { vgas } from "../in-process.ts";
import { start } from "../support.ts";
import { useFakeVault } from "./fake-vault.ts";

const vault = useFakeVault();
const home = ["--home", vault.home];

describe("audit", () => {
  const record = (seq: number, op = "store"): string =>
    JSON.stringify({
      seq,
      at: Date.UTC(2026, 0, 2),
      op,
      outcome: "refused",
      who: { user: "n1", role: "worker" },
      why: "NO: x",
      mac: "m",
    });

  test("list reads page by page to the end, and as much as it is told", async () => {
    const all = Array.from({ length: 1_200 }, (_, i) => record(i + 1));
    vault.answers = {
      audit: (args) => {
        const { after, limit } = args as { readonly after: number; readonly limit: number };
        return { records: all.slice(after, after + limit) };
      },
    };
    const json = await vgas(["vault", "audit", "list", "--json", ...home]);
    expect(json.out).toBe(`${all.join("\n")}\n`);
    const some = await vgas(["vault", "audit", "list", "--after", "7", "--limit", "2", ...home]);
    expect(some.out).toMatch(/^ +8 {2}2026-01-02 00:00:00Z {2}store +refused {3}by n1 \(worker\) {2}NO: x\n +9 /);
    expect(some.out.trim().split("\n")).toHaveLength(2);
  });

  test("list tells what was intended from what was done", async () => {
    const write = {
      seq: 1,
      at: Date.UTC(2026, 0, 2),
      op: "store",
      outcome: "ok",
      detail: { intended: true, generation: 2 },
    };
    const done = { ...write, seq: 2, detail: { generation: 2 } };
    vault.answers = { audit: { records: [JSON.stringify(write), JSON.stringify(done)] } };
    const { out } = await vgas(["vault", "audit", "list", ...home]);
    expect(out).toMatch(/^ +1 .* store +intended {2}generation=2\n +2 .* store +ok +generation=2\n$/);
  });

  test("--follow goes on until Ctrl-C, and leaves out that it reads", async () => {
    const trail = [record(1)];
    vault.answers = {
      audit: (args) => {
        const { after } = args as { readonly after: number };
        const records = trail.slice(after);
        trail.push(record(trail.length + 1, "audit").replace("refused", "ok"));
        return { records };
      },
    };
    const following = start(["vault", "audit", "list", "--follow", "--json", ...home]);
    await following.line(0);
    trail.push(record(trail.length + 1, "seal"));
    expect(JSON.parse(await following.line(1))).toMatchObject({ op: "seal" });
    following.child.kill("SIGINT");
    expect(await following.end).toMatchObject({ code: 130, err: "" });
  });

  test("verify exits with 1 where something is wrong, and says at which record what", async () => {
    vault.answers = { audit: { verdict: { ok: true, records: 12, checkpoints: 3 } } };
    expect(await vgas(["vault", "audit", "verify", ...home])).toMatchObject({
      code: 0,
      out: "ok: 12 records and 3 checkpoints, nothing missing, nothing changed\n",
    });
    const verdict = { ok: false, records: 12, checkpoints: 3, at: 7, problem: "its MAC is wrong" };
    vault.answers = { audit: { verdict } };
    const wrong = await vgas(["vault", "audit", "verify", ...home]);
    expect(wrong.out).toContain("wrong: record 7: its MAC is wrong");
    expect(wrong.code).toBe(1);
    const json = await vgas(["vault", "audit", "verify", "--json", ...home]);
    expect(JSON.parse(json.out)).toEqual(verdict);
    expect(json.code).toBe(1);
  });

  test("verify warns of checkpoints of unknown signers, and where there is none at all", async () => {
    vault.answers = { audit: { verdict: { ok: true, records: 12, checkpoints: 3, unknown: 2, unknownAt: 7 } } };
    const some = await vgas(["vault", "audit", "verify", ...home]);
    expect(some.out).toMatch(
      /^ok: 12 records and 3 checkpoints, .*\nwarning: 2 checkpoints of unknown signers, .* message 7/,
    );
    expect(some.out).not.toContain("no checkpoint was found");
    expect(some.code).toBe(0);
    vault.answers = { audit: { verdict: { ok: true, records: 12, checkpoints: 0 } } };
    const none = await vgas(["vault", "audit", "verify", ...home]);
    expect(none.out).toMatch(/^ok: 12 records and 0 checkpoints, .*\nwarning: no checkpoint was found/);
    expect(none.code).toBe(0);
  });
});

test("--connection reaches the vault from anywhere, and a client's credential is refused by it", async () => {
  vault.answers = { list: { keys: [] } };
  const described = await vgas(["connection", "--role", "admin", "--inline", ...home]);
  const { code } = await vgas(["vault", "list", "--connection", "-"], { stdin: described.out });
  expect(code).toBe(0);
  const client = await vgas(["connection", "--inline", ...home]);
  await vgas(["vault", "list", "--connection", "-"], { stdin: client.out });
  expect(vault.done.map(({ user }) => user)).toEqual(["admin", "client"]);
});

test("a subcommand that is none is told, with the help that shows them", async () => {
  const { code, err } = await vgas(["vault", "unsael", ...home]);
  expect(err).toContain("unknown command 'unsael'");
  expect(err).toContain("vgas vault --help");
  expect(code).toBe(2);
});
