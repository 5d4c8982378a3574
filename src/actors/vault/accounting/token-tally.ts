/**
 * Reads the usage objects of one answer, in any of the forms that are in use, and says what they come to.
 *
 * | form | input | of it cached | output |
 * |---|---|---|---|
 * | OpenAI chat completions, embeddings | `prompt_tokens` | `prompt_tokens_details.cached_tokens` | `completion_tokens` |
 * | OpenAI responses | `input_tokens` | `input_tokens_details.cached_tokens` | `output_tokens` |
 * | Anthropic messages | `input_tokens` + `cache_creation_input_tokens` + `cache_read_input_tokens` | `cache_read_input_tokens` | `output_tokens` |
 *
 * Anthropic's `input_tokens` are those behind the last cache breakpoint only, so what was written to and read from its cache is
 * added; OpenAI's contain both. Reasoning is in the output of all of them.
 *
 * 1. An answer may have several usage objects (a stream repeats them): they are cumulative, so of each field the largest counts.
 * 2. What is no count of tokens (negative, text, infinite) is ignored; what is larger than MAX_TOKENS is taken for that.
 */
import type { PricedTokens } from "./price-table.ts";

/** More than any model takes or gives in one request, and far from where sums lose digits. */
export const MAX_TOKENS = 1_000_000_000;
const MAX_MODEL_CHARS = 256;

export interface Tokens extends PricedTokens {
  /** As the answer names it. */
  readonly model?: string;
  readonly cachedTokens: number;
  readonly cacheWriteTokens: number;
  readonly longCacheWriteTokens: number;
  /** Whether the answer came to the point at which it says what it used in the end. */
  readonly final: boolean;
}

const FIELDS = {
  promptTokens: "prompt_tokens",
  inputTokens: "input_tokens",
  completionTokens: "completion_tokens",
  outputTokens: "output_tokens",
  totalTokens: "total_tokens",
  promptCached: "prompt_tokens_details.cached_tokens",
  promptWritten: "prompt_tokens_details.cache_write_tokens",
  inputCached: "input_tokens_details.cached_tokens",
  inputWritten: "input_tokens_details.cache_write_tokens",
  cacheRead: "cache_read_input_tokens",
  cacheCreation: "cache_creation_input_tokens",
  cacheCreation5m: "cache_creation.ephemeral_5m_input_tokens",
  cacheCreation1h: "cache_creation.ephemeral_1h_input_tokens",
} as const;

export class TokenTally {
  readonly #counts = new Map<string, number>();
  #model: string | undefined;
  #final = false;

  /** `final`: the object tells the end of the answer, not only its beginning. */
  usage(value: unknown, final: boolean): void {
    let any = false;
    for (const path of Object.values(FIELDS)) {
      const count = countOf(at(value, path));
      if (count === undefined) continue;
      any = true;
      this.#counts.set(path, Math.max(count, this.#counts.get(path) ?? 0));
    }
    this.#final ||= any && final;
  }

  model(value: unknown): void {
    if (typeof value === "string" && value !== "" && value.length <= MAX_MODEL_CHARS) this.#model = value;
  }

  /** Undefined if nothing was told. */
  result(): Tokens | undefined {
    if (this.#counts.size === 0) return undefined;
    const of = (name: keyof typeof FIELDS) => this.#counts.get(FIELDS[name]) ?? 0;
    const has = (name: keyof typeof FIELDS) => this.#counts.has(FIELDS[name]);
    const outputTokens = Math.max(of("completionTokens"), of("outputTokens"));
    const created = Math.max(of("cacheCreation"), of("cacheCreation5m") + of("cacheCreation1h"));
    let inputTokens: number;
    // A gateway may give Anthropic's fields beside an OpenAI form's `prompt_tokens`, which contain them already.
    if (has("promptTokens")) inputTokens = of("promptTokens");
    else if (has("inputTokens") || created + of("cacheRead") > 0)
      inputTokens = Math.min(of("inputTokens") + created + of("cacheRead"), MAX_TOKENS);
    else inputTokens = Math.max(0, of("totalTokens") - outputTokens);

    const cachedTokens = Math.min(Math.max(of("promptCached"), of("inputCached"), of("cacheRead")), inputTokens);
    const written = Math.min(Math.max(created, of("promptWritten"), of("inputWritten")), inputTokens - cachedTokens);
    const longCacheWriteTokens = Math.min(of("cacheCreation1h"), written);
    return {
      ...(this.#model !== undefined && { model: this.#model }),
      inputTokens,
      outputTokens,
      cachedTokens,
      cacheWriteTokens: written - longCacheWriteTokens,
      longCacheWriteTokens,
      final: this.#final,
    };
  }
}

function at(value: unknown, path: string): unknown {
  let found = value;
  for (const name of path.split(".")) {
    if (typeof found !== "object" || found === null || !Object.hasOwn(found, name)) return undefined;
    found = (found as Record<string, unknown>)[name];
  }
  return found;
}

function countOf(value: unknown): number | undefined {
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) return undefined;
  return Math.min(Math.ceil(value), MAX_TOKENS);
}
