/** How the keys of well-known providers are sent and where to; what an operator sets goes before. */
import { VgasError } from "../../../protocols/errors.ts";
import { type KeySettings, keySettings, type ResolvedKeySettings } from "../../../protocols/vault/keys.ts";

type Sending = Pick<ResolvedKeySettings, "header" | "scheme" | "origins">;

const PROVIDERS: ReadonlyMap<string, Sending> = new Map([
  ["anthropic", { header: "x-api-key", scheme: "", origins: ["https://api.anthropic.com"] }],
  ["cohere", bearer("https://api.cohere.com")],
  ["deepseek", bearer("https://api.deepseek.com")],
  ["gemini", { header: "x-goog-api-key", scheme: "", origins: ["https://generativelanguage.googleapis.com"] }],
  ["groq", bearer("https://api.groq.com")],
  ["mistral", bearer("https://api.mistral.ai")],
  ["openai", bearer("https://api.openai.com")],
  ["openrouter", bearer("https://openrouter.ai")],
  ["perplexity", bearer("https://api.perplexity.ai")],
  ["together", bearer("https://api.together.xyz")],
  ["xai", bearer("https://api.x.ai")],
]);

/** New settings for a key: those given; null takes one away, so that its default holds again. */
export type SettingsChange = { readonly [Field in keyof KeySettings]?: KeySettings[Field] | null };

/** The settings of a key with every default filled in. Without origins, brokered calls go nowhere: only leases work. */
export function resolveSettings(provider: string, given: KeySettings): ResolvedKeySettings {
  const { header, scheme, origins } = PROVIDERS.get(provider) ?? bearer();
  return {
    header: given.header ?? header,
    scheme: given.scheme ?? scheme,
    origins: given.origins ?? origins,
    allowPrivate: given.allowPrivate ?? false,
    lease: given.lease ?? true,
    budgets: given.budgets ?? [],
    ...(given.kinds && { kinds: given.kinds }),
    ...(given.pools && { pools: given.pools }),
    ...(given.nodes && { nodes: given.nodes }),
  };
}

/**
 * What was set, after a change.
 *
 * @throws VgasError INVALID for what is no setting, and for `http://` without `allowPrivate`: keys would cross the internet
 *   in the clear
 */
export function changeSettings(provider: string, present: KeySettings, change: SettingsChange): KeySettings {
  const entries = Object.entries({ ...present, ...change }).filter(
    ([, value]) => value !== null && value !== undefined,
  );
  const parsed = keySettings.safeParse(Object.fromEntries(entries));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new VgasError("INVALID", `settings of ${provider}: ${issue?.path.join(".") ?? ""}: ${issue?.message ?? ""}`);
  }
  const { origins, allowPrivate } = resolveSettings(provider, parsed.data);
  const open = origins.find((origin) => origin.startsWith("http:"));
  if (open !== undefined && !allowPrivate) {
    throw new VgasError(
      "INVALID",
      `${open} is not encrypted: use https, or --allow-private if it is an address of a private network`,
    );
  }
  return parsed.data;
}

function bearer(...origins: string[]): Sending {
  return { header: "authorization", scheme: "Bearer ", origins };
}
