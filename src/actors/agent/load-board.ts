/** What the heartbeat thread reads of the main thread: its pulse, its flags, its totals, and each agent's running tasks. */

const INTS = { pulse: 0, draining: 1, agents: 2 } as const;
const TOTALS = { started: 0, finished: 1, failed: 2 } as const;

/** Main thread: writes. Heartbeat thread: reads. Sized when the host starts; agents do not come and go afterwards. */
export class LoadBoard {
  readonly memory: { readonly ints: SharedArrayBuffer; readonly totals: SharedArrayBuffer };
  readonly #ints: Int32Array;
  readonly #totals: Float64Array;

  constructor(source: number | LoadBoard["memory"]) {
    this.memory =
      typeof source === "number"
        ? { ints: new SharedArrayBuffer(4 * (INTS.agents + source)), totals: new SharedArrayBuffer(8 * 3) }
        : source;
    this.#ints = new Int32Array(this.memory.ints);
    this.#totals = new Float64Array(this.memory.totals);
  }

  /** The main loop turns: anything that changes between two looks shows it. */
  beat(): void {
    Atomics.add(this.#ints, INTS.pulse, 1);
  }

  get pulse(): number {
    return Atomics.load(this.#ints, INTS.pulse);
  }

  drain(): void {
    Atomics.store(this.#ints, INTS.draining, 1);
  }

  get draining(): boolean {
    return Atomics.load(this.#ints, INTS.draining) === 1;
  }

  setRunning(agent: number, running: number): void {
    this.#ints[INTS.agents + agent] = running;
  }

  running(): number[] {
    return Array.from(this.#ints.subarray(INTS.agents));
  }

  started(): void {
    this.#totals[TOTALS.started] = (this.#totals[TOTALS.started] as number) + 1;
  }

  ended(failed: boolean): void {
    const total = failed ? TOTALS.failed : TOTALS.finished;
    this.#totals[total] = (this.#totals[total] as number) + 1;
  }

  totals(): { readonly started: number; readonly finished: number; readonly failed: number } {
    const [started = 0, finished = 0, failed = 0] = this.#totals;
    return { started, finished, failed };
  }
}
