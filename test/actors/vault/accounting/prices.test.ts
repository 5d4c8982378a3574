import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DEFAULT_PRICES } from "../../../../src/actors/vault/accounting/default-prices.ts";
import { PriceTable } from "../../../../src/actors/vault/accounting/price-table.ts";
import { Prices, parsePrices } from "../../../../src/actors/vault/accounting/prices.ts";
import { ManualClock } from "../../../support/manual-clock.ts";
import { RecordingLogger } from "../../../support/recording-logger.ts";

const tokens = (inputTokens: number, outputTokens: number, cachedTokens = 0) => ({
  inputTokens,
  outputTokens,
  cachedTokens,
});
const shipped = new PriceTable(DEFAULT_PRICES);

describe("PriceTable", () => {
  it("multiplies exactly: 1 200 input of it 1 024 cached, 345 output of gpt-4o", () => {
    // 176 x 2 500 + 1 024 x 1 250 + 345 x 10 000 nano-dollars
    expect(shipped.costNanoUsd("openai", "gpt-4o-2024-08-06", tokens(1_200, 345, 1_024))).toBe(5_170_000);
  });

  it("prices writing to Anthropic's cache at 1.25 and 2 times the input, and reading at a tenth", () => {
    const used = { ...tokens(1_111, 10, 100), cacheWriteTokens: 1_000, longCacheWriteTokens: 10 };
    // 1 x 3 000 + 100 x 300 + 1 000 x 3 750 + 10 x 6 000 + 10 x 15 000
    expect(shipped.costNanoUsd("anthropic", "claude-sonnet-4-5-20250929", used)).toBe(3_993_000);
  });

  it("takes the rates for long prompts above their border", () => {
    expect(shipped.costNanoUsd("anthropic", "claude-haiku-5-5", tokens(100_000, 1_000))).toBe(10_500_000);
    expect(shipped.costNanoUsd("anthropic", "claude-haiku-5-5", tokens(100_001, 1_000))).toBe(52_500_500);
    expect(shipped.costNanoUsd("openai", "gpt-5.4", tokens(272_001, 0))).toBe(1_360_005_000);
  });

  it("rounds once for the whole call", () => {
    const table = new PriceTable({ p: { m: { input: 0.0004, output: 0.0001 } } });
    // 0.4 and 0.1 nano-dollars a token
    expect(table.costNanoUsd("p", "m", tokens(1, 0))).toBe(0);
    expect(table.costNanoUsd("p", "m", tokens(1, 1))).toBe(1);
    expect(table.costNanoUsd("p", "m", tokens(3, 3))).toBe(2);
  });

  it.each([
    ["gpt-5", 1_250],
    ["gpt-5-2025-08-07", 1_250],
    ["gpt-5-mini-2025-08-07", 250],
    ["gpt-5.2-pro", 21_000],
    ["gpt-4", 30_000],
    ["gpt-4-0613", 30_000],
    ["gpt-4o", 2_500],
    ["gpt-4o-mini", 150],
    ["o1-2024-12-17", 15_000],
    ["gpt-5.9", undefined],
    ["gpt-40", undefined],
    ["", undefined],
    ["toString", undefined],
  ])("prices %s by the longest name that it begins with: %s", (model, perToken) => {
    expect(shipped.costNanoUsd("openai", model, tokens(1, 0))).toBe(perToken);
  });

  it("has an entry for every model if its name is empty, and for no other provider", () => {
    const table = new PriceTable(DEFAULT_PRICES, { openai: { "": { input: 7, output: 8 } } });
    expect(table.costNanoUsd("openai", "whatever", tokens(1, 1))).toBe(15_000);
    expect(table.costNanoUsd("openai", "gpt-5", tokens(1, 0))).toBe(1_250);
    expect(table.costNanoUsd("other", "gpt-5", tokens(1, 0))).toBeUndefined();
    expect(table.knows("openai")).toBe(true);
    expect(table.knows("other")).toBe(false);
  });

  it("takes as ceiling the dearest rates of the model, or of the provider if the model is unknown", () => {
    // Long writes to the cache cost twice the input.
    expect(shipped.ceilingNanoUsd("anthropic", "claude-opus-4-5", tokens(10, 10))).toBe(100_000 + 250_000);
    expect(shipped.ceilingNanoUsd("openai", "gpt-9", tokens(1, 1))).toBe(150_000 + 600_000);
    expect(shipped.ceilingNanoUsd("openai", undefined, tokens(1, 1))).toBe(750_000);
    expect(shipped.ceilingNanoUsd("other", undefined, tokens(1, 1))).toBeUndefined();
  });

  it("is never above its ceiling, and never below 0 or beyond what is exact", () => {
    const models = Object.keys(DEFAULT_PRICES["anthropic"] ?? {});
    const amount = fc.nat(2_000_000_000);
    fc.assert(
      fc.property(fc.constantFrom(...models), amount, amount, amount, amount, amount, (model, i, o, c, w, l) => {
        const used = { inputTokens: i, outputTokens: o, cachedTokens: c, cacheWriteTokens: w, longCacheWriteTokens: l };
        const cost = shipped.costNanoUsd("anthropic", model, used) as number;
        expect(cost).toBeLessThanOrEqual(shipped.ceilingNanoUsd("anthropic", model, used) as number);
        expect(cost).toBeGreaterThanOrEqual(0);
        expect(Number.isSafeInteger(cost)).toBe(true);
      }),
    );
  });

  it("ships prices in the form that the file has", () => {
    expect(parsePrices(JSON.stringify(DEFAULT_PRICES))).toEqual(DEFAULT_PRICES);
  });
});

describe("Prices", () => {
  let dir: string;
  let path: string;
  const cost = (prices: Prices) => prices.costNanoUsd("openai", "gpt-5", tokens(1, 0));
  let written = 1_700_000_000;
  const write = (text: string) => {
    writeFileSync(path, text);
    utimesSync(path, ++written, written);
  };
  const setup = () => {
    const clock = new ManualClock();
    const logger = new RecordingLogger();
    return { clock, logger, prices: new Prices({ path, clock, logger }) };
  };
  const at = (input: number) => JSON.stringify({ openai: { "gpt-5": { input, output: 1 } } });

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "vgas-prices-"));
    path = join(dir, "prices.json");
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  it("has the shipped prices without a file, and says nothing", () => {
    const { prices, logger } = setup();
    expect(cost(prices)).toBe(1_250);
    expect(logger.lines).toEqual([]);
  });

  it("puts the file's prices over the shipped ones, and reads it again within a second of a change", () => {
    write(at(3));
    const { prices, clock } = setup();
    expect(cost(prices)).toBe(3_000);
    expect(prices.costNanoUsd("openai", "gpt-4o", tokens(1, 0))).toBe(2_500);
    write(at(4));
    clock.jump(999);
    expect(cost(prices)).toBe(3_000);
    clock.jump(1);
    expect(cost(prices)).toBe(4_000);
    rmSync(path);
    clock.jump(1_000);
    expect(cost(prices)).toBe(1_250);
  });

  it.each([
    ["it is not JSON", '{"openai":'],
    ["openai.gpt-5.input", at(-1)],
    ["openai.gpt-5.input", JSON.stringify({ openai: { "gpt-5": { output: 1 } } })],
    [
      "openai.gpt-5.longPrompt.aboveTokens",
      JSON.stringify({ openai: { "gpt-5": { input: 1, output: 1, longPrompt: { input: 1, output: 1 } } } }),
    ],
    ["openai.gpt-5: Unrecognized key", JSON.stringify({ openai: { "gpt-5": { input: 1, output: 1, inptu: 2 } } })],
    ["the whole", "[]"],
    ["1 MiB", `{}${" ".repeat(1_048_576)}`],
  ])("keeps the last good prices and warns once of a broken file: %s", (why, text) => {
    write(at(3));
    const { prices, clock, logger } = setup();
    expect(cost(prices)).toBe(3_000);
    write(text);
    for (let i = 0; i < 3; i++) {
      clock.jump(1_000);
      expect(cost(prices)).toBe(3_000);
    }
    const warnings = logger.lines.filter(({ level }) => level === "warn");
    expect(warnings).toHaveLength(1);
    expect(warnings[0]?.message).toContain(why);
    expect(warnings[0]?.fields).toEqual({ path });
    write(at(5));
    clock.jump(1_000);
    expect(cost(prices)).toBe(5_000);
  });

  it("takes no directory for a file", () => {
    mkdirSync(path);
    const { prices, logger } = setup();
    expect(cost(prices)).toBe(1_250);
    expect(logger.lines).toMatchObject([{ level: "warn" }]);
  });
});
