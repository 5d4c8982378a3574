import type { Promised, Violation } from "../history.ts";

/** Violations of one rule that are written out; the others are counted. */
const MOST_OF_A_RULE = 20;

/** Violations as they are found, grouped by rule: one defect can break a rule a million times. */
export class Report {
  readonly #rules = new Map<string, { readonly promise: Promised; readonly all: string[]; found: number }>();

  /** `rule` says what should hold, `what` where it does not. */
  add(promise: Promised, rule: string, what: string): void {
    const key = `${promise} ${rule}`;
    let found = this.#rules.get(key);
    if (found === undefined) {
      found = { promise, all: [], found: 0 };
      this.#rules.set(key, found);
    }
    found.found++;
    if (found.all.length < MOST_OF_A_RULE) found.all.push(`${rule}: ${what}`);
  }

  get violations(): Violation[] {
    const violations: Violation[] = [];
    for (const [key, { promise, all, found }] of this.#rules) {
      for (const what of all) violations.push({ promise, what });
      if (found > all.length) violations.push({ promise, what: `${key.slice(3)}: ${found - all.length} more` });
    }
    return violations.sort((a, b) => (a.promise < b.promise ? -1 : a.promise > b.promise ? 1 : 0));
  }
}
