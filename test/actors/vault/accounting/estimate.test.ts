import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Charge, chargeOf } from "../../../../src/actors/vault/accounting/charge.ts";
import { DEFAULT_PRICES } from "../../../../src/actors/vault/accounting/default-prices.ts";
import { estimateCall } from "../../../../src/actors/vault/accounting/estimate.ts";
import { createMeter } from "../../../../src/actors/vault/accounting/meter.ts";
import { PriceTable } from "../../../../src/actors/vault/accounting/price-table.ts";
import type { Budget } from "../../../../src/protocols/vault/keys.ts";

const prices = new PriceTable(DEFAULT_PRICES);
const bytes = (text: string) => new TextEncoder().encode(text);
const estimate = (body: string | undefined, more = false, provider = "openai") =>
  estimateCall({ provider, body: body === undefined ? undefined : bytes(body), more, prices });

describe("estimateCall", () => {
  it("takes a token a byte for the input and the body's bound for the output, at the model's prices", () => {
    const body = JSON.stringify({ model: "gpt-4o", max_tokens: 500, messages: [{ role: "user", content: "hällo" }] });
    const inputTokens = bytes(body).length;
    expect(estimate(body)).toEqual({
      ...{ calls: 1, tokens: inputTokens + 500, inputTokens, outputTokens: 500, model: "gpt-4o", priced: true },
      costNanoUsd: inputTokens * 2_500 + 500 * 10_000,
    });
  });

  it.each([
    [{ max_completion_tokens: 70 }, 70],
    [{ max_output_tokens: 80 }, 80],
    [{ max_tokens: 10, max_completion_tokens: 900 }, 900],
    [{ max_tokens: 100, n: 4 }, 400],
    [{ max_tokens: 100, n: 2, best_of: 5 }, 500],
    [{ n: 2 }, 32_768],
    [{}, 16_384],
    [{ max_tokens: null }, 16_384],
    [{ max_tokens: -5 }, 16_384],
    [{ max_tokens: "1" }, 16_384],
    [{ max_tokens: 1e300, n: 1e300 }, 1_000_000_000],
    [{ nested: { max_tokens: 1 } }, 16_384],
  ])("reads the bound of %j as %d", (body, outputTokens) => {
    expect(estimate(JSON.stringify(body)).outputTokens).toBe(outputTokens);
  });

  it("takes the worst of a body that says two things", () => {
    expect(estimate('{"max_tokens":9000,"max_tokens":1}').outputTokens).toBe(9_000);
    expect(estimate('{"max_tokens":1,"max_tok\\u0065ns":9000}').outputTokens).toBe(9_000);
    expect(estimate('{"model":"gpt-5-nano","model":"o1-pro","max_tokens":1}')).toMatchObject({
      costNanoUsd: bytes('{"model":"gpt-5-nano","model":"o1-pro","max_tokens":1}').length * 150_000 + 600_000,
    });
  });

  it("takes the dearest price of the provider for a model that it does not know", () => {
    const body = '{"model":"new","max_tokens":10}';
    expect(estimate(body).costNanoUsd).toBe(body.length * 150_000 + 10 * 600_000);
    expect(estimate(body, false, "other")).toMatchObject({ costNanoUsd: 0, priced: false, tokens: body.length + 10 });
  });

  it("asks nothing of tokens for a request without a body, and much for one whose length is not known", () => {
    expect(estimate(undefined)).toEqual({
      ...{ calls: 1, tokens: 0, costNanoUsd: 0, inputTokens: 0, outputTokens: 0, priced: true },
    });
    expect(estimate('{"max_tokens":5,"messages":[', true)).toMatchObject({ inputTokens: 2_000_000, outputTokens: 5 });
    expect(estimate(undefined, true)).toMatchObject({ inputTokens: 2_000_000, outputTokens: 16_384 });
  });

  it("bounds the input by what any model takes, and never throws", () => {
    const started = estimateCall({ provider: "openai", body: new Uint8Array(3_000_000), more: false, prices });
    expect(started.inputTokens).toBe(2_000_000);
    fc.assert(
      fc.property(fc.uint8Array(), (body) => {
        const { tokens, costNanoUsd } = estimateCall({ provider: "anthropic", body, more: false, prices });
        expect(Number.isSafeInteger(tokens) && Number.isSafeInteger(costNanoUsd)).toBe(true);
      }),
    );
  });
});

const COST: readonly Budget[] = [{ unit: "cost", per: "day", limit: 1_000_000_000 }];

describe("chargeOf", () => {
  const body = '{"model":"gpt-4o","max_tokens":100}';
  const read = (json: object) => {
    const meter = createMeter("application/json");
    meter.push(bytes(JSON.stringify(json)));
    return meter.end();
  };
  const told = read({ model: "gpt-4o-2024-08-06", usage: { prompt_tokens: 20, completion_tokens: 4 } });
  const charge = (fields: Partial<Parameters<typeof chargeOf>[0]>): Charge =>
    chargeOf({
      provider: "openai",
      budgets: [],
      estimate: estimate(body),
      tokens: undefined,
      status: 200,
      prices,
      ...fields,
    });

  it("books what the answer told", () => {
    for (const budgets of [[], COST])
      expect(charge({ budgets, tokens: told })).toEqual({
        usage: { inputTokens: 20, outputTokens: 4, cachedTokens: 0, costNanoUsd: 90_000 },
        model: "gpt-4o-2024-08-06",
        estimated: false,
      });
  });

  it("books nothing for an answer that told nothing, but the estimate if a budget depends on it", () => {
    const nothing = { inputTokens: 0, outputTokens: 0, cachedTokens: 0, costNanoUsd: 0 };
    expect(charge({})).toEqual({ usage: nothing, model: "gpt-4o", estimated: false });
    expect(charge({ budgets: [{ unit: "calls", per: "day", limit: 1 }] }).usage).toEqual(nothing);
    for (const status of [200, undefined])
      expect(charge({ budgets: COST, status })).toEqual({
        usage: { inputTokens: 35, outputTokens: 100, cachedTokens: 0, costNanoUsd: 35 * 2_500 + 100 * 10_000 },
        model: "gpt-4o",
        estimated: true,
      });
    expect(charge({ budgets: COST, status: 429 })).toEqual({ usage: nothing, model: "gpt-4o", estimated: false });
  });

  it("takes the estimate of the output for a stream that was broken off before its end", () => {
    const tokens = { ...(told as NonNullable<typeof told>), final: false };
    expect(charge({ tokens }).usage.outputTokens).toBe(4);
    expect(charge({ tokens, budgets: COST })).toMatchObject({
      usage: { inputTokens: 20, outputTokens: 100 },
      estimated: true,
    });
  });

  it("takes the provider's dearest price for a model without one, if a budget depends on it", () => {
    const tokens = read({ model: "new", usage: { prompt_tokens: 20, completion_tokens: 4 } });
    expect(charge({ tokens })).toMatchObject({ usage: { costNanoUsd: 0 }, estimated: false });
    expect(charge({ tokens, budgets: COST })).toMatchObject({
      usage: { inputTokens: 20, outputTokens: 4, costNanoUsd: 20 * 150_000 + 4 * 600_000 },
      estimated: true,
    });
  });

  it("never books less than the meter read, nor more than what was read or reserved", () => {
    const amount = fc.nat(1_000);
    fc.assert(
      fc.property(
        amount,
        amount,
        fc.boolean(),
        fc.constantFrom(200, 400, undefined),
        (input, output, final, status) => {
          const tokens = { ...(told as NonNullable<typeof told>), inputTokens: input, outputTokens: output, final };
          const { usage } = charge({ tokens, status, budgets: COST });
          expect(usage.inputTokens).toBe(input);
          expect(usage.outputTokens).toBeGreaterThanOrEqual(output);
          expect(usage.outputTokens).toBeLessThanOrEqual(Math.max(output, 100));
        },
      ),
    );
  });
});
