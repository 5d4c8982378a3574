/** On a terminal of 80 columns nothing is cut off that somebody looks for. */
import { expect, test } from "vitest";
import { NO_USAGE } from "../../../src/protocols/vault/keys.ts";
import { KEY, useFakeVault } from "./fake-vault.ts";
import { onTerminal } from "./pseudo-terminal.ts";

const vault = useFakeVault();
const USED = {
  ...NO_USAGE,
  calls: 12_345,
  inputTokens: 123_456_789,
  outputTokens: 23_456_789,
  costNanoUsd: 123_456_789_000,
};
const WIDTH = 80;

/** Lines that the command has printed, without colours. */
async function lines(...args: readonly string[]): Promise<readonly string[]> {
  const terminal = onTerminal(["vault", ...args, "--home", vault.home], { NO_COLOR: "1" });
  expect((await terminal.end).code).toBe(0);
  const printed = terminal.shown().split("[ended")[0] ?? "";
  return printed.split("\r\n").filter((line) => line !== "" && !line.startsWith("[pid"));
}

test("list shows cost, last use and state of every key", async () => {
  const at = Date.UTC(2026, 0, 2, 3, 4, 5);
  vault.answers = {
    list: {
      keys: [
        { ...KEY, usage: USED, lastUsedAt: at, resting: { until: at, status: 429 } },
        { ...KEY, name: "b" },
      ],
    },
  };
  const [heading = "", resting = "", ready = "", ...rest] = await lines("list");
  expect(heading).toMatch(/COST.*LAST USED.*STATE$/);
  expect(resting).toMatch(/^openai\/default .*\$123\.456789 +2026-01-02 03:04Z +rests until 2026-01-02 03:04:05Z$/);
  expect(ready).toMatch(/ready$/);
  expect(rest).toEqual([]);
  expect(Math.max(heading.length, resting.length, ready.length)).toBeLessThanOrEqual(WIDTH);
});

test("usage shows tokens and cost, however many groups there are", async () => {
  const row = { provider: "openai", key: "default", lastUsedAt: Date.UTC(2026, 0, 2), usage: USED };
  vault.answers = { usage: { rows: [row], total: USED } };
  for (const heading of (await lines("usage")).slice(0, 1)) expect(heading).toMatch(/TOKENS IN +TOKENS OUT +COST/);
  const task = "0123456789012345678901234567890123456789";
  vault.answers = { usage: { rows: [{ ...row, kind: "summarise", task }], total: USED } };
  const [heading = "", first = "", total = "", ...rest] = await lines("usage", "--by", "provider,kind,task");
  expect(heading).toMatch(/^PROVIDER +KIND +TASK +TOKENS IN +TOKENS OUT +COST$/);
  expect(first).toMatch(/^openai +summarise +0123\d*…\d*6789 +123 456 789 +23 456 789 +\$123\.456789$/);
  expect(total).toMatch(/^total .*\$123\.456789$/);
  expect(rest).toEqual([]);
  expect(Math.max(heading.length, first.length)).toBeLessThanOrEqual(WIDTH);
});

test("show goes on below in the same column, and breaks no number", async () => {
  const budget = { unit: "tokens", per: "month", limit: 2_000_000_000, used: 1_234_567, reserved: 12_345 } as const;
  vault.answers = { show: { ...KEY, usage: USED, budgets: [{ ...budget, resetsAt: Date.UTC(2026, 1, 1) }] } };
  const shown = await lines("show", "openai");
  for (const line of shown) expect(line.length).toBeLessThanOrEqual(WIDTH);
  expect(shown).toContain("used         12 345 calls, 0 leases, 0 errors");
  expect(shown.at(-2)).toMatch(/^budget {7}1 234 567 of 2 000 000 000 tokens per month, 12 345 reserved, anew$/);
  expect(shown.at(-1)).toBe("             at 2026-02-01 00:00:00Z");
});
