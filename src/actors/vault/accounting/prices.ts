/**
 * The prices in force: those that vgas ships, and over them the user's file, which may change while the vault runs.
 *
 * The file is `{"<provider>": {"<model>": {"input": 1.25, "cachedInput": 0.125, "output": 10}}}`, in US dollars per million tokens
 * (price-table.ts names every field). It need not exist.
 */
import { readFileSync, statSync } from "node:fs";
import { z } from "zod";
import type { Clock } from "../../../protocols/clock.ts";
import type { Logger } from "../../../protocols/logger.ts";
import { token } from "../../../protocols/vault/keys.ts";
import { DEFAULT_PRICES } from "./default-prices.ts";
import { type Price, type PricedTokens, PriceTable, price } from "./price-table.ts";

/** How often the file is looked at, at most. One `stat` of a file that is in the cache takes microseconds. */
const CHECK_EVERY_MS = 1_000;
/** Ten thousand models; what is larger is another file. */
const MAX_FILE_BYTES = 1_048_576;

const priceFile = z.record(token, z.record(z.string().max(256), price));

export interface PricesOptions {
  readonly path: string;
  readonly clock: Pick<Clock, "monotonic">;
  readonly logger: Logger;
}

export class Prices {
  readonly #options: PricesOptions;
  #table = new PriceTable(DEFAULT_PRICES);
  #checkedAt = Number.NEGATIVE_INFINITY;
  /** What the file was when it was read last, whether or not it was any good. */
  #seen = "absent";

  constructor(options: PricesOptions) {
    this.#options = options;
  }

  /** Whether costs of the provider's models can be told at all. */
  knows(provider: string): boolean {
    return this.#current().knows(provider);
  }

  /** Billionths of a dollar; undefined if there is no price for the model. */
  costNanoUsd(provider: string, model: string, tokens: PricedTokens): number | undefined {
    return this.#current().costNanoUsd(provider, model, tokens);
  }

  /** As `PriceTable.ceilingNanoUsd`. */
  ceilingNanoUsd(provider: string, model: string | undefined, tokens: PricedTokens): number | undefined {
    return this.#current().ceilingNanoUsd(provider, model, tokens);
  }

  #current(): PriceTable {
    const { clock, logger, path } = this.#options;
    const now = clock.monotonic();
    if (now - this.#checkedAt < CHECK_EVERY_MS) return this.#table;
    this.#checkedAt = now;
    try {
      const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
      const seen = stat === undefined ? "absent" : `${stat.ino}:${stat.mtimeNs}:${stat.size}`;
      if (seen === this.#seen) return this.#table;
      this.#seen = seen;
      if (stat === undefined) this.#table = new PriceTable(DEFAULT_PRICES);
      else if (!stat.isFile() || stat.size > MAX_FILE_BYTES) throw new Error("it is no file of at most 1 MiB");
      else this.#table = new PriceTable(DEFAULT_PRICES, parsePrices(readFileSync(path, "utf8")));
      logger.info(
        { path },
        stat === undefined ? "the price file is gone: using the shipped prices" : "read the price file",
      );
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      logger.warn({ path }, `the price file cannot be used, so the prices stay as they were: ${why}`);
    }
    return this.#table;
  }
}

/** @throws Error that names the field, as in `openai.gpt-5.input: expected number` */
export function parsePrices(text: string): Record<string, Record<string, Price>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Error("it is not JSON");
  }
  const parsed = priceFile.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new Error(`${issue?.path.join(".") || "the whole"}: ${issue?.message}`);
}
