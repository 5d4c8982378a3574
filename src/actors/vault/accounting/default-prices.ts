/**
 * List prices that vgas ships, in US dollars per million tokens. They age: providers change prices and add models faster than
 * vgas is released, and a discount, a tier (batch, flex, priority, fast), a region, a tool and what is billed by image, second or
 * call are not in them. What has to be exact goes into `<home>/vault/prices.json`, which has this form and wins over it.
 *
 * Anthropic: platform.claude.com/docs/en/about-claude/pricing as of 2026-10-24. OpenAI: developers.openai.com/api/docs/pricing as of
 * 2026-07-24. An entry is for the models whose names begin with it (price-table.ts).
 */
import type { Price, ProviderPrices } from "./price-table.ts";

/** Anthropic bills writing to its cache at 1.25 times the input for five minutes, and at twice for an hour. */
function claude(input: number, output: number, cachedInput: number): Price {
  return { input, cachedInput, cacheWrite: input * 1.25, longCacheWrite: input * 2, output };
}

/** From GPT-5.4 on, a prompt above 272 000 tokens makes all of the request dearer. */
function gpt(input: number, output: number, cacheWriteFactor = 1): Price {
  const price = { input, cachedInput: input / 10, cacheWrite: input * cacheWriteFactor, output };
  const longPrompt = {
    aboveTokens: 272_000,
    input: price.input * 2,
    cachedInput: price.cachedInput * 2,
    cacheWrite: price.cacheWrite * 2,
    output: output * 1.5,
  };
  return { ...price, longPrompt };
}

const ANTHROPIC: ProviderPrices = {
  "claude-fable-5": claude(10, 50, 1),
  "claude-fable-5-1": claude(10, 50, 0.25),
  "claude-mythos-5": claude(10, 50, 1),
  "claude-mythos-5-1": claude(10, 50, 0.25),
  "claude-opus-5-5": claude(4, 20, 0.2),
  "claude-opus-5": claude(5, 25, 0.5),
  "claude-opus-4-8": claude(5, 25, 0.5),
  "claude-opus-4-7": claude(5, 25, 0.5),
  "claude-opus-4-6": claude(5, 25, 0.5),
  "claude-opus-4-5": claude(5, 25, 0.5),
  "claude-opus-4": claude(15, 75, 1.5),
  "claude-sonnet-5-5": claude(2, 10, 0.1),
  "claude-sonnet-5": claude(2, 10, 0.2),
  "claude-sonnet-4": claude(3, 15, 0.3),
  "claude-3-7-sonnet": claude(3, 15, 0.3),
  "claude-haiku-5-5": {
    ...claude(0.1, 0.5, 0.01),
    longPrompt: { aboveTokens: 100_000, ...claude(0.5, 2.5, 0.05) },
  },
  "claude-haiku-4-5": claude(1, 5, 0.1),
  "claude-3-5-haiku": claude(0.8, 4, 0.08),
  "claude-3-haiku": { ...claude(0.25, 1.25, 0.03), cacheWrite: 0.3 },
};

const OPENAI: ProviderPrices = {
  "gpt-5.6": gpt(5, 30, 1.25),
  "gpt-5.6-sol": gpt(5, 30, 1.25),
  "gpt-5.6-terra": gpt(2.5, 15, 1.25),
  "gpt-5.6-luna": gpt(1, 6, 1.25),
  "gpt-5.5": gpt(5, 30),
  "gpt-5.5-pro": gpt(30, 180),
  "gpt-5.4": gpt(2.5, 15),
  "gpt-5.4-pro": gpt(30, 180),
  "gpt-5.4-mini": { input: 0.75, cachedInput: 0.075, output: 4.5 },
  "gpt-5.4-nano": { input: 0.2, cachedInput: 0.02, output: 1.25 },
  "gpt-5.3": { input: 1.75, cachedInput: 0.175, output: 14 },
  "gpt-5.2": { input: 1.75, cachedInput: 0.175, output: 14 },
  "gpt-5.2-pro": { input: 21, output: 168 },
  "gpt-5.1": { input: 1.25, cachedInput: 0.125, output: 10 },
  "gpt-5.1-mini": { input: 0.25, cachedInput: 0.025, output: 2 },
  "gpt-5.1-codex-mini": { input: 0.25, cachedInput: 0.025, output: 2 },
  "gpt-5": { input: 1.25, cachedInput: 0.125, output: 10 },
  "gpt-5-pro": { input: 15, output: 120 },
  "gpt-5-mini": { input: 0.25, cachedInput: 0.025, output: 2 },
  "gpt-5-nano": { input: 0.05, cachedInput: 0.005, output: 0.4 },
  "gpt-4.1": { input: 2, cachedInput: 0.5, output: 8 },
  "gpt-4.1-mini": { input: 0.4, cachedInput: 0.1, output: 1.6 },
  "gpt-4.1-nano": { input: 0.1, cachedInput: 0.025, output: 0.4 },
  "gpt-4o": { input: 2.5, cachedInput: 1.25, output: 10 },
  "gpt-4o-2024-05-13": { input: 5, output: 15 },
  "gpt-4o-mini": { input: 0.15, cachedInput: 0.075, output: 0.6 },
  "gpt-4-turbo": { input: 10, output: 30 },
  "gpt-4": { input: 30, output: 60 },
  "gpt-3.5-turbo": { input: 0.5, output: 1.5 },
  o1: { input: 15, cachedInput: 7.5, output: 60 },
  "o1-pro": { input: 150, output: 600 },
  o3: { input: 2, cachedInput: 0.5, output: 8 },
  "o3-pro": { input: 20, output: 80 },
  "o3-deep-research": { input: 10, cachedInput: 2.5, output: 40 },
  "o3-mini": { input: 1.1, cachedInput: 0.55, output: 4.4 },
  "o4-mini": { input: 1.1, cachedInput: 0.275, output: 4.4 },
  "o4-mini-deep-research": { input: 2, cachedInput: 0.5, output: 8 },
  "text-embedding-3-small": { input: 0.02, output: 0 },
  "text-embedding-3-large": { input: 0.13, output: 0 },
  "text-embedding-ada-002": { input: 0.1, output: 0 },
};

export const DEFAULT_PRICES: Readonly<Record<string, ProviderPrices>> = { anthropic: ANTHROPIC, openai: OPENAI };
