/** Counts what the pulls of one inbox may still deliver. Pure but for the times it is given. */

const BUCKET_MS = 1_000;

/**
 * A pull's token says how many it asked for and when, so that nothing is kept per pull: thousands a second end silently
 * by being fulfilled. What was asked for is summed per second, to forget what must be over.
 */
export class PullLedger {
  readonly #lifetimeMs: number;
  /** Messages asked for in each second that is younger than the lifetime, oldest first. */
  readonly #asked = new Map<number, number>();
  #outstanding = 0;
  #next = 0;

  /** @param lifetimeMs after this a pull has ended on the server, and its status has arrived or never will */
  constructor(lifetimeMs: number) {
    this.#lifetimeMs = lifetimeMs;
  }

  get outstanding(): number {
    return this.#outstanding;
  }

  /** Notes a pull of `batch`; returns its token. */
  issue(batch: number, now: number): string {
    const second = Math.floor(now / BUCKET_MS);
    this.#asked.set(second, (this.#asked.get(second) ?? 0) + batch);
    this.#outstanding += batch;
    return `${(this.#next++).toString(36)}-${batch.toString(36)}-${second.toString(36)}`;
  }

  deliver(): void {
    if (this.#outstanding > 0) this.#outstanding--;
    if (this.#outstanding === 0) this.#asked.clear();
  }

  /** The pull `token` ended with `left` of its messages not delivered. */
  end(token: string, left: number, now: number): void {
    const pull = readToken(token);
    if (pull === undefined || !Number.isInteger(left) || left < 0 || left > pull.batch) return;
    // Forgotten already: counting it again would allow more than is wanted.
    if (!this.#asked.has(pull.second) || this.#isExpired(pull.second, now)) return;
    this.#outstanding = Math.max(0, this.#outstanding - left);
    if (this.#outstanding === 0) this.#asked.clear();
  }

  /** The server did not take the pull `token` at all. */
  refuse(token: string, now: number): void {
    const pull = readToken(token);
    if (pull !== undefined) this.end(token, pull.batch, now);
  }

  /** Lowers the count to what pulls that are not expired asked for. */
  forgetExpired(now: number): void {
    let young = 0;
    for (const [second, asked] of this.#asked) {
      if (this.#isExpired(second, now)) this.#asked.delete(second);
      else young += asked;
    }
    this.#outstanding = Math.min(this.#outstanding, young);
  }

  clear(): void {
    this.#asked.clear();
    this.#outstanding = 0;
  }

  #isExpired(second: number, now: number): boolean {
    return (second + 1) * BUCKET_MS + this.#lifetimeMs < now;
  }
}

function readToken(token: string): { batch: number; second: number } | undefined {
  const [, batch = "", second = ""] = token.split("-");
  const pull = { batch: Number.parseInt(batch, 36), second: Number.parseInt(second, 36) };
  return Number.isInteger(pull.batch) && Number.isInteger(pull.second) ? pull : undefined;
}
