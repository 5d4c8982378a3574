/**
 * Times the decision, in a process of its own: `draw` over the seats that a dispatcher has of real host views. Prints the quantiles of
 * each roster as one line of JSON. Argument: how often one task is drawn for.
 */
import { draw } from "../../src/actors/gatling/draw.ts";
import { HostView, RosterSeats } from "../../src/actors/gatling/fleet.ts";
import type { RosterRange } from "../../src/protocols/rotation.ts";
import { heartbeatOf } from "../../test/support/heartbeat.ts";
import { type Full, ROSTERS, type Roster, samplesOf } from "./rosters.ts";
import { type Quantiles, quantilesOf } from "./samples.ts";

/** As many as the largest batch: where one agent is left it takes all of it. */
const SLOTS = 100;
const GROUP = { pool: "default", kinds: ["echo"], first: 0, slots: SLOTS };

const draws = Number(process.argv[2] ?? 1_000);
// Twice: the first time compiles it for every kind of roster.
for (const roster of ROSTERS) measure(roster);
console.log(JSON.stringify(ROSTERS.map((roster) => measure(roster))));
process.exit(0);

function measure({ agents, hosts, full, batch }: Roster): Quantiles {
  const seats = seatsOf(agents, hosts, full);
  const samples = samplesOf(batch, draws);
  const nanos = new Float64Array(samples);
  // As after long: the place is not where the roster begins.
  let index = Math.floor(agents / 3);
  for (let i = -samples; i < samples; i++) {
    const begun = performance.now();
    const drawn = draw(index, 0, seats, batch);
    const took = performance.now() - begun;
    if (drawn.places.length !== batch) throw new Error(`${drawn.places.length} of ${batch} tasks found an agent`);
    index += drawn.drawn;
    for (const place of drawn.places) seats.agent(place).unassign();
    // The first half warms up.
    if (i >= 0) nanos[i] = (took * 1e6) / batch;
  }
  return quantilesOf(nanos);
}

function seatsOf(agents: number, hosts: number, full: Full): RosterSeats {
  const count = agents / hosts;
  const views = new Map<string, HostView>();
  const ranges: RosterRange[] = [];
  for (let i = 0; i < hosts; i++) {
    const host = `h${i}`;
    views.set(
      host,
      new HostView(heartbeatOf({ host, groups: [{ ...GROUP, count }], running: new Array<number>(count).fill(0) }), 0),
    );
    ranges.push({ host, run: "r", first: 0, count, slots: SLOTS });
  }
  const seats = new RosterSeats(
    ranges,
    (host) => views.get(host),
    () => undefined,
  );
  for (let place = 0; place < agents; place++) {
    const isFull = full === "none" ? false : full === "every second" ? place % 2 === 0 : place !== agents - 1;
    if (isFull) seats.agent(place).report(0);
  }
  return seats;
}
