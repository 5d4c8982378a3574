/**
 * Takes secrets out of what is logged, whoever put them there: by what they look like, wherever they stand in a line. The vault
 * keeps its keys from logs by other means (P10); this is for an agent's own `ctx.log`, an error of a library, a URL.
 */

const HIDDEN = "[secret]";

/** What stays of each, for whoever looks for the place that wrote it, and the rest that goes. */
const SECRETS: readonly RegExp[] = [
  // An nkey seed: a user's, an account's, an operator's.
  /\b(S[UAONCX])[A-Z2-7]{56}(?![A-Z2-7])/g,
  // What `vgas token create` prints.
  /\b(vgas1-)[\w-]{60,}/g,
  // Keys of providers: sk-…, sk-ant-…, xai-…, gsk_…, AIza…, hf_…, ghp_…, AKIA….
  /\b(sk-(?:ant-|proj-)?|xai-|gsk_|hf_|gh[opsu]_|AIza)[\w-]{16,}/g,
  /\b(AKIA)[A-Z0-9]{16}\b/g,
  // Credentials in headers and in the user part of a URL.
  /\b((?:Bearer|Basic) +)[\w.~+/=-]{8,}/gi,
  /(\/\/[^\s/:@"\\]*:)[^\s/@"\\]+(?=@)/g,
  // What is named for what it holds: a string of a JSON object, and `name=value` or `name: value` in a text.
  /("(?:api[_-]?key|authorization|passphrase|password|nkeySeed|secret|seed)"\s*:\s*")(?!\[secret\])(?:[^"\\]|\\.){4,}/gi,
  /\b((?:api[_-]?key|authorization|passphrase|password|nkeySeed|secret|seed)\s*[:=]\s*)(?!Bearer|Basic)[^\s",}\\[]{4,}/gi,
  // A private key in PEM, its lines broken as JSON breaks them.
  /(-----BEGIN [A-Z ]*PRIVATE KEY-----)[^"]*?(?=-----END|"|$)/g,
];

/** `text` with each secret in it hidden behind its first letters. */
export function withoutSecrets(text: string): string {
  let clean = text;
  for (const secret of SECRETS) clean = clean.replace(secret, `$1${HIDDEN}`);
  return clean;
}
