/**
 * Judges what happened in a world of faults: which promises were broken, and by what. Pure, and linear in the history but for sorting.
 *
 * 1. Each broken rule is a violation of one promise. What cannot be judged (a record nobody saw, a moment when several faults
 *    overlap) is left out, never guessed.
 * 2. Only what is in the history as a fault excuses anything.
 */
import { Deaths } from "./check/deaths.ts";
import { Disturbances } from "./check/disturbances.ts";
import { checkEnded } from "./check/ended.ts";
import { checkEvictions } from "./check/evictions.ts";
import { checkKept } from "./check/kept.ts";
import { checkProcesses } from "./check/processes.ts";
import { Record } from "./check/record.ts";
import { Report } from "./check/report.ts";
import { checkSlots } from "./check/slots.ts";
import { checkStops } from "./check/stops.ts";
import { checkTickets } from "./check/tickets.ts";
import type { History, Index, Streams, Violation } from "./history.ts";

export function check(history: History, streams: Streams, index: Index): Violation[] {
  const report = new Report();
  const record = new Record(history, streams);
  const disturbances = new Disturbances(record);
  checkEnded(record, disturbances, streams, report);
  checkKept(record, report);
  checkTickets(record, index, report);
  checkSlots(record, index, report);
  checkEvictions(record, disturbances, report);
  new Deaths(record, disturbances, index, report).check();
  checkStops(record, disturbances, report);
  checkProcesses(record, streams, report);
  return report.violations;
}
