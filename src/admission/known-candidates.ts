/**
 * The candidates that a joiner knows, and how it fared with each.
 *
 * 1. At most `MAX_KNOWN`. Where all places are taken, a new one takes that of one that is of no use, else of the one that failed most
 *    often, else of any: no flood can fill the list for good. One that an operator named keeps its place.
 */
import type { Random } from "../protocols/clock.ts";
import type { VgasError } from "../protocols/errors.ts";
import type { Candidate, CandidateSource } from "./candidates.ts";

export interface Known {
  readonly candidate: Candidate;
  failures: number;
  /** Of the last try. */
  error: VgasError | undefined;
  /** When it was last tried, as a number that grows with each try; 0: never. */
  tried: number;
}

export interface KnownOptions {
  /** Hears of each candidate that is new or has changed. */
  readonly onNew: (candidate: Candidate) => void;
  /** Whether it can ever be of use. */
  readonly isOfUse: (candidate: Candidate) => boolean;
  readonly random: Random;
}

export const MAX_KNOWN = 256;

export class KnownCandidates {
  readonly #known = new Map<string, Known>();
  readonly #stops: readonly (() => void)[];
  readonly #options: KnownOptions;
  #tries = 0;

  constructor(sources: readonly CandidateSource[], options: KnownOptions) {
    this.#options = options;
    this.#stops = sources.map((source) => source.watch((candidate) => this.#offer(candidate)));
  }

  get all(): readonly Candidate[] {
    return [...this.#known.values()].map(({ candidate }) => candidate);
  }

  /** Those that `wanted` says, the ones that failed least and waited longest first. */
  next(wanted: (candidate: Candidate) => boolean, most: number): readonly Known[] {
    return this.#wanted(wanted)
      .sort((a, b) => a.failures - b.failures || a.tried - b.tried)
      .slice(0, most);
  }

  /** True if every one of them showed a certificate that is not the swarm's. */
  allMismatch(wanted: (candidate: Candidate) => boolean): boolean {
    const known = this.#wanted(wanted);
    return known.length > 0 && known.every(({ error }) => error?.code === "CERTIFICATE_MISMATCH");
  }

  failed(known: Known, error: VgasError): void {
    known.failures++;
    known.error = error;
    known.tried = ++this.#tries;
  }

  stop(): void {
    for (const stop of this.#stops) stop();
  }

  #wanted(wanted: (candidate: Candidate) => boolean): Known[] {
    return [...this.#known.values()].filter(({ candidate }) => wanted(candidate));
  }

  #offer(candidate: Candidate): void {
    const key = `${candidate.source} ${candidate.id}`;
    const before = this.#known.get(key)?.candidate;
    if (before !== undefined && sameAs(before, candidate)) return;
    if (before === undefined && this.#known.size >= MAX_KNOWN) this.#makeRoom();
    const failures = this.#options.isOfUse(candidate) ? 0 : Number.POSITIVE_INFINITY;
    this.#known.set(key, { candidate, failures, error: undefined, tried: 0 });
    this.#options.onNew(candidate);
  }

  #makeRoom(): void {
    const open = [...this.#known].filter(([, { candidate }]) => candidate.source === "mdns");
    const most = Math.max(...open.map(([, { failures }]) => failures));
    const worst = open.filter(([, { failures }]) => failures === most);
    const [key] = worst[Math.floor(this.#options.random() * worst.length)] ?? [];
    if (key !== undefined) this.#known.delete(key);
  }
}

function sameAs(a: Candidate, b: Candidate): boolean {
  return (
    a.port === b.port &&
    a.natsPort === b.natsPort &&
    a.swarmId === b.swarmId &&
    a.pinPrefix === b.pinPrefix &&
    a.addresses.join() === b.addresses.join()
  );
}
