/**
 * Which of a provider's keys is used next.
 *
 * 1. Of the keys that may be used and do not rest, the one whose last turn is longest ago has its turn. With the same
 *    candidates each time that is a strict rotation; with other ones, every key still gets its share.
 * 2. A key rests when the provider said so: 429 for Retry-After, else 5 s and twice as long each time that it repeats, up to
 *    5 min; 503 with a Retry-After for as long; 401 for 10 min. A 403 says that this key may not do that one thing: nobody else's
 *    calls suffer by it, nor by a 401 while the key is seen to be good.
 * 3. Answers to calls that began before the rest are not a repetition: only a refusal after a rest doubles the next.
 */
import { VgasError } from "../../../protocols/errors.ts";
import { type KeyId, keyIdText } from "./key-id.ts";

const FIRST_REST_MS = 5_000;
const LONGEST_REST_MS = 300_000;
/** 5 s doubled this often is above the longest rest. */
const MAX_STRIKES = 6;
/** The key itself is wrong or blocked: somebody has to see to it, and each try counts against it at some providers. */
const REFUSED_REST_MS = 600_000;
/** A key that was taken so short a time ago is not the reason of a 401, or will soon be refused again. */
const GOOD_MS = 60_000;
/** A provider's daily quota may ask for this long; a longer header is taken for a mistake. */
const MAX_RETRY_AFTER_MS = 86_400_000;
/** Keys remembered; the vault forgets a deleted one, so that this bound is for a defect. */
const MAX_KEYS = 10_000;

interface State {
  turn: number;
  until: number;
  status: number;
  /** Rests without a Retry-After since the last success. */
  strikes: number;
  /** When a call with it was last answered below 400. */
  goodAt: number;
}

export interface AllResting {
  /** When the first of them may be used again, milliseconds since the epoch. */
  readonly restingUntil: number;
}

export interface Rest {
  readonly until: number;
  readonly status: number;
}

export class KeyChooser {
  readonly #states = new Map<string, State>();
  #turn = 0;

  /** @throws INTERNAL without a candidate: that there is none is another error than that all rest */
  choose<Candidate extends KeyId>(candidates: readonly Candidate[], now: number): Candidate | AllResting {
    let chosen: Candidate | undefined;
    let oldest = Number.POSITIVE_INFINITY;
    let restingUntil = Number.POSITIVE_INFINITY;
    for (const candidate of candidates) {
      const state = this.#states.get(keyIdText(candidate));
      if (state !== undefined && state.until > now) restingUntil = Math.min(restingUntil, state.until);
      else if ((state?.turn ?? 0) < oldest) {
        oldest = state?.turn ?? 0;
        chosen = candidate;
      }
    }
    if (chosen !== undefined) {
      this.#state(chosen).turn = ++this.#turn;
      return chosen;
    }
    if (candidates.length === 0) throw new VgasError("INTERNAL", "there is no key to choose from");
    return { restingUntil };
  }

  /**
   * The provider answered a call with this key by `status`. A good answer makes the next rest short again, and leaves one that is
   * going on; a status that says nothing of the key changes nothing.
   */
  answered(id: KeyId, status: number, retryAfterMs: number | undefined, now: number): void {
    if (status < 400) {
      const state = this.#states.get(keyIdText(id));
      if (state !== undefined) Object.assign(state, { strikes: 0, goodAt: now });
      return;
    }
    const asked = retryAfterMs === undefined ? undefined : Math.min(Math.max(0, retryAfterMs), MAX_RETRY_AFTER_MS);
    if (status === 401) {
      const state = this.#state(id);
      if (!isGood(state, now)) this.#rest(state, status, REFUSED_REST_MS, now);
    } else if (asked !== undefined && (status === 429 || status === 503))
      this.#rest(this.#state(id), status, asked, now);
    else if (status === 429) {
      const state = this.#state(id);
      if (state.until > now) return;
      this.#rest(state, status, Math.min(FIRST_REST_MS * 2 ** state.strikes, LONGEST_REST_MS), now);
      state.strikes = Math.min(state.strikes + 1, MAX_STRIKES);
    }
  }

  resting(id: KeyId, now: number): Rest | undefined {
    const state = this.#states.get(keyIdText(id));
    return state !== undefined && state.until > now ? { until: state.until, status: state.status } : undefined;
  }

  /** The key is gone, or another stands under its name. */
  forget(id: KeyId): void {
    this.#states.delete(keyIdText(id));
  }

  #rest(state: State, status: number, restMs: number, now: number): void {
    if (now + restMs <= state.until) return;
    state.until = now + restMs;
    state.status = status;
  }

  #state(id: KeyId): State {
    const text = keyIdText(id);
    let state = this.#states.get(text);
    if (state === undefined) {
      const [first] = this.#states.keys();
      if (this.#states.size >= MAX_KEYS && first !== undefined) this.#states.delete(first);
      state = { turn: 0, until: 0, status: 0, strikes: 0, goodAt: Number.NEGATIVE_INFINITY };
      this.#states.set(text, state);
    }
    return state;
  }
}

/** Not after the clock was set back: it could stay good for hours. */
function isGood({ goodAt }: State, now: number): boolean {
  return goodAt <= now && now - goodAt < GOOD_MS;
}
