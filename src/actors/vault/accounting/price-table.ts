/**
 * What tokens cost, by provider and model.
 *
 * 1. The provider is the vault's own name of it, as `vgas vault store` was told.
 * 2. An entry is for the model of its name and for those whose names begin with it: the longest wins. It ends at a border, so that
 *    `gpt-5` is for `gpt-5-2026-01-01` and not for `gpt-5.9`, whose price nobody knows; the entry "" is for every model.
 * 3. Integer arithmetic: a price is a whole number of picodollars per token, and a cost is rounded once, to nano-dollars.
 */
import { z } from "zod";

const usd = z.number().min(0).max(1_000_000);
const rates = {
  input: usd,
  /** Of input that the provider had cached; left out: as `input`. */
  cachedInput: usd.optional(),
  /** Of input that it writes to its cache, for five minutes and for an hour; left out: as `input`, and as the first. */
  cacheWrite: usd.optional(),
  longCacheWrite: usd.optional(),
  output: usd,
};

/** US dollars per million tokens, to six decimals. */
export const price = z.strictObject({
  ...rates,
  /** The rates of a whole request with more input than this. */
  longPrompt: z.strictObject({ aboveTokens: z.number().int().min(0), ...rates }).optional(),
});
/** Without the `undefined`s that zod allows in a field that may be left out. */
export interface Rates {
  readonly input: number;
  readonly cachedInput?: number | undefined;
  readonly cacheWrite?: number | undefined;
  readonly longCacheWrite?: number | undefined;
  readonly output: number;
}
export interface Price extends Rates {
  readonly longPrompt?: (Rates & { readonly aboveTokens: number }) | undefined;
}
export type ProviderPrices = Readonly<Record<string, Price>>;

/** What a request used; the caches' parts are parts of the input. */
export interface PricedTokens {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cachedTokens?: number;
  readonly cacheWriteTokens?: number;
  readonly longCacheWriteTokens?: number;
}

/** Rates in picodollars per token. */
interface Pico {
  readonly input: bigint;
  readonly cachedInput: bigint;
  readonly cacheWrite: bigint;
  readonly longCacheWrite: bigint;
  readonly output: bigint;
}

interface Entry {
  readonly prefix: string;
  readonly base: Pico;
  readonly long: (Pico & { readonly aboveTokens: number }) | undefined;
}

export class PriceTable {
  /** Longest prefix first. */
  readonly #providers = new Map<string, readonly Entry[]>();

  /** A later table's entry takes the place of an earlier one's of the same name. */
  constructor(...tables: readonly Readonly<Record<string, ProviderPrices>>[]) {
    const merged = new Map<string, Map<string, Price>>();
    for (const table of tables) {
      for (const [provider, models] of Object.entries(table)) {
        const into = merged.get(provider) ?? new Map<string, Price>();
        merged.set(provider, into);
        for (const [prefix, entry] of Object.entries(models)) into.set(prefix, entry);
      }
    }
    for (const [provider, models] of merged) {
      const entries = [...models].map(([prefix, { longPrompt, ...base }]) => ({
        prefix,
        base: pico(base),
        long: longPrompt && { aboveTokens: longPrompt.aboveTokens, ...pico(longPrompt) },
      }));
      this.#providers.set(
        provider,
        entries.sort((a, b) => b.prefix.length - a.prefix.length),
      );
    }
  }

  /** Whether costs of the provider's models can be told at all. */
  knows(provider: string): boolean {
    return this.#providers.has(provider);
  }

  /** Undefined if there is no price for the model. */
  costNanoUsd(provider: string, model: string, tokens: PricedTokens): number | undefined {
    const entry = this.#find(provider, model);
    if (entry === undefined) return undefined;
    const rate = entry.long !== undefined && tokens.inputTokens > entry.long.aboveTokens ? entry.long : entry.base;
    let plain = whole(tokens.inputTokens);
    const part = (value: number | undefined): bigint => {
      const asked = whole(value ?? 0);
      const taken = asked < plain ? asked : plain;
      plain -= taken;
      return taken;
    };
    let sum = part(tokens.cachedTokens) * rate.cachedInput;
    sum += part(tokens.cacheWriteTokens) * rate.cacheWrite;
    sum += part(tokens.longCacheWriteTokens) * rate.longCacheWrite;
    sum += plain * rate.input + whole(tokens.outputTokens) * rate.output;
    return nano(sum);
  }

  /**
   * The most that so many tokens can cost: at the model's dearest rates, of a model without a price at the dearest of the
   * provider. Undefined if the provider has no price.
   */
  ceilingNanoUsd(
    provider: string,
    model: string | undefined,
    { inputTokens, outputTokens }: PricedTokens,
  ): number | undefined {
    const entries = this.#providers.get(provider);
    if (entries === undefined) return undefined;
    const entry = model === undefined ? undefined : this.#find(provider, model);
    let input = 0n;
    let output = 0n;
    for (const rate of (entry === undefined ? entries : [entry]).flatMap(({ base, long }) => [base, long ?? base])) {
      for (const value of [rate.input, rate.cachedInput, rate.cacheWrite, rate.longCacheWrite])
        if (value > input) input = value;
      if (rate.output > output) output = rate.output;
    }
    return nano(whole(inputTokens) * input + whole(outputTokens) * output);
  }

  #find(provider: string, model: string): Entry | undefined {
    return this.#providers.get(provider)?.find(({ prefix }) => isFor(prefix, model));
  }
}

function isFor(prefix: string, model: string): boolean {
  if (!model.startsWith(prefix)) return false;
  return !/[A-Za-z0-9]$/.test(prefix) || !/^[A-Za-z0-9.]/.test(model.slice(prefix.length));
}

function pico(rate: Rates): Pico {
  // Dollars per million tokens are a million picodollars per token.
  const of = (value: number) => BigInt(Math.round(value * 1_000_000));
  const { input, cachedInput = input, cacheWrite = input, longCacheWrite = cacheWrite, output } = rate;
  return {
    input: of(input),
    cachedInput: of(cachedInput),
    cacheWrite: of(cacheWrite),
    longCacheWrite: of(longCacheWrite),
    output: of(output),
  };
}

function nano(picoUsd: bigint): number {
  const rounded = (picoUsd + 500n) / 1_000n;
  return rounded > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(rounded);
}

function whole(value: number): bigint {
  return Number.isSafeInteger(value) && value > 0 ? BigInt(value) : 0n;
}
