/** A made-up history, and the means to forge it: for the tests of the checker. */
import type { TaskResult } from "../../src/protocols/result.ts";
import type { Began, Ended, Entry, Submit } from "./history.ts";
import { type MadeUp, type MadeUpOptions, madeUp } from "./made-up.ts";
import { randomOf } from "./random.ts";

/** With it every strike meets something that runs. */
const SEED = "4";

const KNOWN = new Map<string, MadeUp>();

/** What a swarm did, and the means to forge it. */
export class Forged {
  readonly made: MadeUp;

  constructor(options: MadeUpOptions) {
    const key = JSON.stringify(options);
    const made = KNOWN.get(key) ?? madeUp(randomOf(SEED), { messages: 400, slots: 8, pauseMs: 8_000, ...options });
    KNOWN.set(key, made);
    // What is in it is never changed, only put into another place.
    this.made = { history: made.history, streams: { ...made.streams }, index: made.index };
  }

  all<Type extends Entry["type"]>(type: Type): Extract<Entry, { readonly type: Type }>[] {
    return this.made.history.filter((entry): entry is Extract<Entry, { readonly type: Type }> => entry.type === type);
  }

  first<Type extends Entry["type"]>(
    type: Type,
    fits: (entry: Extract<Entry, { readonly type: Type }>) => boolean = () => true,
  ): Extract<Entry, { readonly type: Type }> {
    const found = this.all(type).find(fits);
    if (found === undefined) throw new Error(`the history has no such "${type}"`);
    return found;
  }

  add(...entries: readonly Entry[]): void {
    this.made.history = [...this.made.history, ...entries];
  }

  remove(...entries: readonly Entry[]): void {
    this.made.history = this.made.history.filter((entry) => !entries.includes(entry));
  }

  /** Puts something else into an entry. */
  change<E extends Entry>(entry: E, what: Partial<E>): void {
    this.made.history = this.made.history.map((each) => (each === entry ? { ...entry, ...what } : each));
  }

  /** A stored result whose submission fits, with what was accepted. */
  result(fits: (result: TaskResult, submit: Submit, begins: readonly Began[]) => boolean = () => true): TaskResult {
    const submits = new Map(this.all("submit").map((submit) => [submit.call, submit]));
    const of = new Map(
      this.all("accepted").flatMap(({ call, ids }) => ids.map((id) => [id, submits.get(call) as Submit] as const)),
    );
    const begins = this.all("began");
    const found = this.made.streams.results.find(({ result }) => {
      const submit = of.get(result.id);
      const own = begins.filter(({ id }) => id === result.id);
      return submit !== undefined && fits(result, submit, own);
    });
    if (found === undefined) throw new Error("there is no such result");
    return found.result;
  }

  submitOf(id: string): Submit {
    const { call } = this.first("accepted", ({ ids }) => ids.includes(id));
    return this.first("submit", (submit) => submit.call === call);
  }

  /** Puts something else into a stored result, as if it had always been there. */
  forge(result: TaskResult, what: Partial<TaskResult>): void {
    const forged = { ...result, ...what };
    const { streams } = this.made;
    for (const saw of this.all("saw")) if (saw.result.id === result.id) this.change(saw, { result: forged });
    streams.results = streams.results.map((each) => (each.result === result ? { ...each, result: forged } : each));
  }

  forget(id: string): void {
    this.remove(...this.all("saw").filter(({ result }) => result.id === id));
    this.made.streams.results = this.made.streams.results.filter(({ result }) => result.id !== id);
  }

  fail(result: TaskResult, code: string, reason: string): void {
    this.forge(result, { status: "failed", error: { code, message: code, retryable: false } });
    this.made.streams.dead = [...this.made.streams.dead, { id: result.id, pool: result.pool, reason }];
  }

  /** Another record at the end. */
  record(what: Partial<MadeUp["index"][0]["records"][0]["record"]>): void {
    const lane = this.made.index[0] as MadeUp["index"][0];
    const last = lane.records.at(-1) as (typeof lane.records)[0];
    const record = { ...last.record, nonce: "forged", ...what };
    this.made.index = [{ ...lane, records: [...lane.records, { revision: last.revision + 10, record }] }];
  }

  /** An execution that its process did not end, and the next one of its task. */
  get cut(): { readonly began: Began; readonly next: Began } {
    const begins = this.all("began");
    for (const began of begins) {
      const { id, attempt, pid } = began;
      const next = begins.find((each) => each.id === id && each.attempt === attempt + 1);
      const ended = this.all("ended").some((each) => each.id === id && each.attempt === attempt && each.pid === pid);
      if (next !== undefined && !ended) return { began, next };
    }
    throw new Error("no execution was cut");
  }

  /** One that ended while its host was told to stop. */
  get graceful(): { readonly began: Began; readonly ended: Ended } {
    const { pid, stoppedAt = 0 } = this.first("exited", (exited) => exited.stoppedAt !== undefined);
    const ended = this.first("ended", (each) => each.pid === pid && each.at >= stoppedAt && !each.threw);
    const began = this.first("began", ({ id, attempt }) => id === ended.id && attempt === ended.attempt);
    return { began, ended };
  }

  /** Lets an execution have had another ticket. */
  reticket(result: TaskResult, ticket: number): void {
    const { id, attempt } = result;
    this.change(
      this.first("began", (began) => began.id === id && began.attempt === attempt),
      { ticket },
    );
    this.forge(result, { ticket });
  }

  /** Lets what was cut off begin again so much later. */
  delay(ms: number): void {
    const { next } = this.cut;
    const { id } = next;
    const later = (at: number): { readonly at: number } => ({ at: at + ms });
    this.change(next, later(next.at));
    for (const ended of this.all("ended"))
      if (ended.id === id && ended.attempt === next.attempt) this.change(ended, later(ended.at));
    for (const saw of this.all("saw")) if (saw.result.id === id) this.change(saw, later(saw.at));
  }
}
