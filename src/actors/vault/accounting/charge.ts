/**
 * What a call that has ended is booked with.
 *
 * Without budgets: what the answer told, and nothing where it told nothing. With a budget of tokens or costs: also what it may
 * have used without telling, or else whoever leaves out `include_usage`, breaks off the stream or names an unknown model would
 * use a key without end. Then the estimate stands for what was not told, and `estimated` says so.
 */
import type { Budget, Usage } from "../../../protocols/vault/keys.ts";
import { leasable } from "./budgets.ts";
import type { Ceilings, Estimate } from "./estimate.ts";
import type { PricedTokens } from "./price-table.ts";
import type { Tokens } from "./token-tally.ts";

export interface ChargeOptions {
  readonly provider: string;
  /** Of the key that was used. */
  readonly budgets: readonly Budget[];
  /** What was reserved for the call. */
  readonly estimate: Estimate;
  /** What the meter read. */
  readonly tokens: Tokens | undefined;
  /** Of the answer; undefined if there was none. */
  readonly status: number | undefined;
  readonly prices: Ceilings & {
    costNanoUsd(provider: string, model: string, tokens: PricedTokens): number | undefined;
  };
}

export interface Charge {
  readonly usage: Pick<Usage, "inputTokens" | "outputTokens" | "cachedTokens" | "costNanoUsd">;
  readonly model?: string;
  readonly estimated: boolean;
}

export function chargeOf({ provider, budgets, estimate, tokens, status, prices }: ChargeOptions): Charge {
  const capped = !leasable(budgets);
  // An answer with an error is not billed. Without an answer nobody knows.
  const unknown = capped && tokens?.final !== true && (status === undefined || status < 300);
  const used: PricedTokens = {
    ...tokens,
    inputTokens: Math.max(tokens?.inputTokens ?? 0, unknown && tokens === undefined ? estimate.inputTokens : 0),
    outputTokens: Math.max(tokens?.outputTokens ?? 0, unknown ? estimate.outputTokens : 0),
  };
  const { inputTokens, outputTokens, cachedTokens = 0 } = used;
  const model = tokens?.model ?? estimate.model;
  const told = model === undefined ? undefined : prices.costNanoUsd(provider, model, used);
  const costNanoUsd = told ?? (capped ? prices.ceilingNanoUsd(provider, model, used) : undefined) ?? 0;
  return {
    usage: { inputTokens, outputTokens, cachedTokens, costNanoUsd },
    ...(model !== undefined && { model }),
    estimated:
      (unknown && inputTokens + outputTokens > (tokens?.inputTokens ?? 0) + (tokens?.outputTokens ?? 0)) ||
      (told === undefined && costNanoUsd > 0),
  };
}
