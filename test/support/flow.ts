/** One direction of a proxied connection: hands on what comes, in order, or not, as its trouble says. */
import type { Socket } from "node:net";

/** What the bytes of one direction meet. May be changed at any moment; what waits already keeps its time. */
export interface Trouble {
  /** Bytes are held back so long, ms. */
  delayMs: number;
  /** Bytes are thrown away. */
  drop: boolean;
  /** Size of the next piece, bytes: pieces are handed on one by one, each in a turn of the event loop. Undefined: as they come. */
  piece: (() => number) | undefined;
}

/** What was done to bytes so far: shows that a fault struck. */
export interface Struck {
  dropped: number;
  delayed: number;
  /** Pieces that were cut off something longer. */
  pieces: number;
}

export function noTrouble(): Trouble {
  return { delayMs: 0, drop: false, piece: undefined };
}

/** Beyond this pieces grow with what waits: a flow that only ever falls behind would be a delay. */
const MAX_BACKLOG_BYTES = 64 * 1_024;

export class Flow {
  readonly #to: Socket;
  readonly #trouble: Trouble;
  readonly #struck: Struck;
  readonly #queue: { bytes: Buffer; readonly dueAt: number }[] = [];
  #backlog = 0;
  #scheduled = false;
  /** Something was thrown away: what comes behind it makes no sense any more. */
  lossy = false;

  constructor(to: Socket, trouble: Trouble, struck: Struck) {
    this.#to = to;
    this.#trouble = trouble;
    this.#struck = struck;
  }

  /** Takes what came. True if it was thrown away. */
  take(bytes: Buffer): boolean {
    const { drop, delayMs, piece } = this.#trouble;
    if (drop) {
      this.lossy = true;
      this.#struck.dropped += bytes.length;
      return true;
    }
    if (this.#queue.length === 0 && delayMs === 0 && piece === undefined) {
      this.#to.write(bytes);
      return false;
    }
    if (delayMs > 0) this.#struck.delayed += bytes.length;
    this.#queue.push({ bytes, dueAt: performance.now() + delayMs });
    this.#backlog += bytes.length;
    this.#schedule();
    return false;
  }

  #schedule(): void {
    const [next] = this.#queue;
    if (this.#scheduled || next === undefined || this.#to.destroyed) return;
    this.#scheduled = true;
    const pump = (): void => this.#pump();
    const waitMs = next.dueAt - performance.now();
    if (waitMs > 0) setTimeout(pump, waitMs);
    else setImmediate(pump);
  }

  /** Hands on one piece, or without pieces all that is due. */
  #pump(): void {
    this.#scheduled = false;
    const { piece } = this.#trouble;
    const now = performance.now();
    for (let next = this.#queue[0]; next !== undefined && next.dueAt <= now; next = this.#queue[0]) {
      const all = next.bytes.length;
      const size = piece === undefined ? all : Math.max(1, piece(), this.#backlog > MAX_BACKLOG_BYTES ? all >> 3 : 0);
      this.#backlog -= Math.min(size, all);
      if (!this.#to.destroyed) this.#to.write(next.bytes.subarray(0, size));
      if (size < all) {
        this.#struck.pieces++;
        next.bytes = next.bytes.subarray(size);
      } else this.#queue.shift();
      if (piece !== undefined) break;
    }
    this.#schedule();
  }
}
