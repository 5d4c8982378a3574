/**
 * The rotation itself: which agents the next tickets fall to.
 *
 * 1. Ticket t falls to place (t - base) mod size, for whoever computes it (P4).
 * 2. A place without a free slot is skipped: its ticket is drawn and carries no task.
 * 3. No ticket behind the last one that carries a task is drawn.
 */

/** The places of a lane as `draw` sees them. `take` uses up one free slot, and the place may become full by it. */
export interface Seats {
  readonly size: number;
  /** First place with a free slot at or after `from`, going round; -1 if there is none. */
  next(from: number): number;
  take(place: number): void;
}

/** `places[i]` and `tickets[i]` belong to the i-th task placed; `drawn` tickets were used up, skipped ones included. */
export interface Draw {
  readonly base: number;
  readonly places: readonly number[];
  readonly tickets: readonly number[];
  readonly drawn: number;
}

/** Places up to `count` tasks, beginning at ticket `index` of a roster that began at ticket `base`. */
export function draw(index: number, base: number, seats: Seats, count: number): Draw {
  const places: number[] = [];
  const tickets: number[] = [];
  const { size } = seats;
  let drawn = 0;
  let position = size === 0 ? 0 : (index - base) % size;
  while (places.length < count && size > 0) {
    const place = seats.next(position);
    if (place < 0) break;
    drawn += place - position + (place < position ? size : 0);
    places.push(place);
    tickets.push(index + drawn);
    drawn++;
    seats.take(place);
    position = place + 1 === size ? 0 : place + 1;
  }
  return { base, places, tickets, drawn };
}
