/** Versions of the programs that vgas needs. */

/** Versions such as "2.12.1": true if `version` is `minimum` or newer. */
export function isAtLeast(version: string, minimum: string): boolean {
  const [have, need] = [version, minimum].map((text) => text.split(/[.+-]/).map(Number));
  for (const [place, number] of (need ?? []).entries()) {
    const other = have?.[place] ?? 0;
    if (other !== number) return other > number;
  }
  return true;
}
