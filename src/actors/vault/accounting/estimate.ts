/**
 * What a request may use at most, for its reservation.
 *
 * - Input: a token is at least one byte, so there are at most as many as the body has bytes. What the body only refers to (a file,
 *   an image by its address, an earlier answer) is not in it; it is counted when the call ends.
 * - Output: what the body allows, times the answers that it asks for. If it sets no bound, DEFAULT_OUTPUT_TOKENS: some models
 *   can write more, and what they did write is counted when the call ends.
 * - Cost: at the model's dearest rates; of a model without a price at the dearest of its provider.
 *
 * A name that occurs twice, or escaped, counts as providers may read it: the largest number, and no model at all if two differ.
 */
import { JsonFields } from "./json-fields.ts";
import type { PricedTokens } from "./price-table.ts";
import { plus, type Spent } from "./sums.ts";
import { MAX_TOKENS } from "./token-tally.ts";

const DEFAULT_OUTPUT_TOKENS = 16_384;
/** No model takes more in one request; also for a body whose length is not known yet. */
const MAX_INPUT_TOKENS = 2_000_000;

const OUTPUT_FIELDS = ["max_tokens", "max_completion_tokens", "max_output_tokens"];
const ANSWER_FIELDS = ["n", "best_of"];
const WANTED = { fields: [...OUTPUT_FIELDS, ...ANSWER_FIELDS, "model"], objects: [] } as const;

export interface Estimate extends Readonly<Spent> {
  readonly inputTokens: number;
  readonly outputTokens: number;
  /** As the body names it. */
  readonly model?: string;
  /** Whether the provider has prices at all: if not, `costNanoUsd` is 0 and a budget of costs would hold nothing. */
  readonly priced: boolean;
}

export interface Ceilings {
  knows(provider: string): boolean;
  ceilingNanoUsd(provider: string, model: string | undefined, tokens: PricedTokens): number | undefined;
}

export interface EstimateOptions {
  readonly provider: string;
  /** The body, or its first piece. */
  readonly body: Uint8Array | undefined;
  /** More pieces follow, of unknown length. */
  readonly more: boolean;
  readonly prices: Ceilings;
}

export function estimateCall({ provider, body, more, prices }: EstimateOptions): Estimate {
  const priced = prices.knows(provider);
  const bytes = body?.length ?? 0;
  // A request without a body asks for nothing to be generated.
  if (bytes === 0 && !more) return { calls: 1, tokens: 0, costNanoUsd: 0, inputTokens: 0, outputTokens: 0, priced };

  let perAnswer: number | undefined;
  let answers = 1;
  const models = new Set<string>();
  const fields = new JsonFields(WANTED, (name, value) => {
    if (name === "model" && typeof value === "string") models.add(value);
    else if (typeof value !== "number" || !(value > 0)) return;
    else if (OUTPUT_FIELDS.includes(name)) perAnswer = Math.max(perAnswer ?? 0, Math.ceil(value));
    else answers = Math.max(answers, Math.ceil(value));
  });
  if (body !== undefined) fields.push(body);

  const inputTokens = more ? MAX_INPUT_TOKENS : Math.min(bytes, MAX_INPUT_TOKENS);
  const outputTokens = Math.min((perAnswer ?? DEFAULT_OUTPUT_TOKENS) * answers, MAX_TOKENS);
  const model = models.size === 1 ? [...models][0] : undefined;
  return {
    calls: 1,
    tokens: plus(inputTokens, outputTokens),
    costNanoUsd: prices.ceilingNanoUsd(provider, model, { inputTokens, outputTokens }) ?? 0,
    inputTokens,
    outputTokens,
    ...(model !== undefined && { model }),
    priced,
  };
}
