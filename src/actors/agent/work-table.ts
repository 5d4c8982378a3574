/**
 * The running tasks of a host in memory shared with the heartbeat thread, so that the thread can say `+WPI` for them
 * while a task blocks the main loop. Writing an entry costs no message and no allocation.
 *
 * 1. Only the main thread writes. An entry is in use while its generation is odd.
 * 2. The generation is made odd after the entry is written and even before it is reused: a reader that sees the same odd
 *    generation before and after copying has copied a whole entry.
 */

/** Bytes of an entry: generation (4), length of the ack subject (4), timeout (8), ack subject (the rest). */
const ENTRY_BYTES = 512;
const HEAD_BYTES = 16;
const ACK_BYTES = ENTRY_BYTES - HEAD_BYTES;
/** Entries added at once: 512 KiB. */
const SEGMENT_ENTRIES = 1_024;

interface Segment {
  readonly generations: Int32Array;
  readonly timeouts: Float64Array;
  readonly bytes: Buffer;
}

/** An entry of the table; release it exactly once. */
export type WorkEntry = number;

/** The main thread's side. `onSegment` hands new memory to the thread. */
export class WorkTable {
  readonly #segments: Segment[] = [];
  readonly #free: number[] = [];
  readonly #onSegment: (memory: SharedArrayBuffer) => void;

  constructor(onSegment: (memory: SharedArrayBuffer) => void) {
    this.#onSegment = onSegment;
  }

  /**
   * Registers a task that may run for `timeoutMs`. Without an ack subject, or with one that does not fit, it is only watched
   * for its deadline: an array element is kept alive by its dispatcher.
   */
  add(ack: string, timeoutMs: number): WorkEntry {
    if (this.#free.length === 0) this.#grow();
    const entry = this.#free.pop() as number;
    const { generations, timeouts, bytes } = this.#segment(entry);
    const offset = (entry % SEGMENT_ENTRIES) * ENTRY_BYTES;
    const word = offset >>> 2;
    timeouts[(offset >>> 3) + 1] = timeoutMs;
    const fits = ack.length <= ACK_BYTES;
    generations[word + 1] = fits ? bytes.write(ack, offset + HEAD_BYTES, ACK_BYTES, "latin1") : 0;
    Atomics.add(generations, word, 1);
    return entry;
  }

  /** The run has ended and waits for its result to be stored: keep it alive however long that takes. */
  keep(entry: WorkEntry): void {
    const { timeouts } = this.#segment(entry);
    timeouts[(((entry % SEGMENT_ENTRIES) * ENTRY_BYTES) >>> 3) + 1] = Number.POSITIVE_INFINITY;
  }

  release(entry: WorkEntry): void {
    const { generations } = this.#segment(entry);
    Atomics.add(generations, ((entry % SEGMENT_ENTRIES) * ENTRY_BYTES) >>> 2, 1);
    this.#free.push(entry);
  }

  #segment(entry: WorkEntry): Segment {
    return this.#segments[Math.floor(entry / SEGMENT_ENTRIES)] as Segment;
  }

  #grow(): void {
    const memory = new SharedArrayBuffer(SEGMENT_ENTRIES * ENTRY_BYTES);
    const first = this.#segments.length * SEGMENT_ENTRIES;
    this.#segments.push(segmentOf(memory));
    for (let i = SEGMENT_ENTRIES - 1; i >= 0; i--) this.#free.push(first + i);
    this.#onSegment(memory);
  }
}

/** What the thread found in one look over the table. */
export interface WorkReport {
  /** Ack subjects of tasks to be kept alive. */
  readonly alive: readonly string[];
  /** A task is past its deadline and still there. */
  readonly overdue: boolean;
}

/** The thread's side: remembers when it first saw each task, by its own clock. */
export class WorkTableReader {
  readonly #segments: Segment[] = [];
  /** Per entry: the generation last seen, and when it was first seen. */
  readonly #seen: number[] = [];
  readonly #since: number[] = [];

  addSegment(memory: SharedArrayBuffer): void {
    this.#segments.push(segmentOf(memory));
  }

  /**
   * Looks at every entry. A task is alive if it was first seen `minAgeMs` ago or longer, and not more than `graceMs`
   * past its timeout.
   */
  look(nowMs: number, minAgeMs: number, graceMs: number): WorkReport {
    const alive: string[] = [];
    let overdue = false;
    for (const [s, segment] of this.#segments.entries()) {
      for (let i = 0; i < SEGMENT_ENTRIES; i++) {
        const entry = s * SEGMENT_ENTRIES + i;
        const generation = Atomics.load(segment.generations, (i * ENTRY_BYTES) >>> 2);
        if ((generation & 1) === 0) continue;
        if (this.#seen[entry] !== generation) {
          this.#seen[entry] = generation;
          this.#since[entry] = nowMs;
        }
        const age = nowMs - (this.#since[entry] as number);
        const timeoutMs = segment.timeouts[((i * ENTRY_BYTES) >>> 3) + 1] as number;
        if (age > timeoutMs + graceMs) overdue = true;
        else if (age >= minAgeMs) {
          const ack = readAck(segment, i, generation);
          if (ack) alive.push(ack);
        }
      }
    }
    return { alive, overdue };
  }
}

function readAck({ generations, bytes }: Segment, index: number, generation: number): string | undefined {
  const offset = index * ENTRY_BYTES;
  const length = generations[(offset >>> 2) + 1] as number;
  const ack = bytes.toString("latin1", offset + HEAD_BYTES, offset + HEAD_BYTES + length);
  return Atomics.load(generations, offset >>> 2) === generation ? ack : undefined;
}

function segmentOf(memory: SharedArrayBuffer): Segment {
  return { generations: new Int32Array(memory), timeouts: new Float64Array(memory), bytes: Buffer.from(memory) };
}
