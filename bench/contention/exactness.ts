/** Whether a lane's rotation was exact: P3 and P4, of every result that is stored, by the records that were seen. */
import type { TaskResult } from "../../src/protocols/result.ts";
import { Eras, inOrder } from "../../test/faults/check/eras.ts";
import type { LaneIndex } from "../../test/faults/history.ts";

/**
 * Throws unless the index never goes back and counts at least `drawn`, the tickets that all dispatchers say they drew; there are
 * `tasks` results, and none has the ticket of another; and each ran at the agent whose turn its ticket was. Returns how many tickets
 * were wasted: a dispatcher that does not hear the answer to a swap draws again.
 */
export function checkExact(lane: LaneIndex, drawn: number, results: readonly TaskResult[], tasks: number): number {
  let index = 0;
  for (const { record } of inOrder(lane)) {
    if (record.index < index) throw new Error(`P3: the index went from ${index} back to ${record.index}`);
    index = record.index;
  }
  if (index < drawn) throw new Error(`P3: the record counts ${index} tickets, and ${drawn} were drawn`);
  if (results.length !== tasks) throw new Error(`P1: ${results.length} results of ${tasks} tasks`);
  const eras = new Eras(lane);
  const used = new Uint8Array(index);
  for (const { id, ticket, agent } of results) {
    if (ticket === undefined || ticket >= index) throw new Error(`P3: ticket ${ticket} of ${id} was never drawn`);
    if (used[ticket] === 1) throw new Error(`P3: ticket ${ticket} carried ${id} and another task`);
    used[ticket] = 1;
    const turn = eras.turn(ticket);
    if (turn === undefined) throw new Error(`P4 cannot be judged: nobody saw whose turn ticket ${ticket} was`);
    if (agent !== turn.agent) throw new Error(`P4: ticket ${ticket} of ${id} was ${turn.agent}'s, and ran at ${agent}`);
  }
  return index - drawn;
}
