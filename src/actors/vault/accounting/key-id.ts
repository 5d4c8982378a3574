/** Which key of which provider. */
export interface KeyId {
  readonly provider: string;
  readonly key: string;
}

/** One string for a key: a token has no slash, so no two keys share one. */
export function keyIdText({ provider, key }: KeyId): string {
  return `${provider}/${key}`;
}
