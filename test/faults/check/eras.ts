/** The rotation of a lane as its records tell it: which roster was in force for which ticket. */
import type { RosterRange, RotationRecord } from "../../../src/protocols/rotation.ts";
import type { LaneIndex } from "../history.ts";

/** Tickets `from` to `to` (not included) were drawn over one roster. */
interface Era {
  readonly from: number;
  to: number;
  readonly roster: number;
}

/** Who a ticket falls to. Computed here and not by what is tested. */
export interface Turn {
  readonly host: string;
  readonly agent: string;
}

/** Records in the order in which they were stored, each revision once. */
export function inOrder(lane: LaneIndex): readonly { readonly revision: number; readonly record: RotationRecord }[] {
  const byRevision = new Map(lane.records.map((each) => [each.revision, each]));
  return [...byRevision.values()].sort((a, b) => a.revision - b.revision);
}

export class Eras {
  readonly #eras: Era[] = [];
  readonly #rosters = new Map<number, readonly Turn[]>();

  constructor(lane: LaneIndex) {
    for (const { revision, ranges } of lane.rosters) this.#rosters.set(revision, turnsOf(ranges));
    for (const { record } of inOrder(lane)) {
      const last = this.#eras.at(-1);
      if (last?.from === record.base && last.roster === record.roster) last.to = Math.max(last.to, record.index);
      else {
        // Nothing was drawn over a roster that was replaced at the ticket that it began at.
        if (last?.from === record.base) this.#eras.pop();
        this.#eras.push({ from: record.base, to: record.index, roster: record.roster });
      }
    }
  }

  /**
   * Who `ticket` falls to. Undefined where that is not known: the roster was not seen, or between two records that were seen there
   * can have been another roster.
   */
  turn(ticket: number): Turn | undefined {
    let low = 0;
    let high = this.#eras.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#eras[middle] as Era).from <= ticket) low = middle + 1;
      else high = middle;
    }
    const era = this.#eras[low - 1];
    const turns = era && ticket < era.to ? this.#rosters.get(era.roster) : undefined;
    return turns?.[(ticket - (era as Era).from) % turns.length];
  }
}

function turnsOf(ranges: readonly RosterRange[]): readonly Turn[] {
  return ranges.flatMap(({ host, first, count }) =>
    Array.from({ length: count }, (_, i) => ({ host, agent: `${host}-${first + i}` })),
  );
}
