import { describe, expect, it } from "vitest";
import { HostView, RosterSeats } from "../../../src/actors/gatling/fleet.ts";
import { heartbeatOf } from "../../support/heartbeat.ts";

function host(agents: number, slots: number, running: number[] = new Array<number>(agents).fill(0)): HostView {
  const groups = [{ pool: "default", kinds: ["a", "b"], first: 0, count: agents, slots }];
  return new HostView(heartbeatOf({ groups, running }), 0);
}

function seats(view: HostView, onFree = (): void => undefined): RosterSeats {
  const slots = view.agents[0]?.slots ?? 1;
  return new RosterSeats([{ host: "h", run: "r", first: 0, count: view.agents.length, slots }], () => view, onFree);
}

describe("RosterSeats", () => {
  it("counts as credit what the host reported, less what was assigned without a receipt", () => {
    const view = host(3, 4, [1, 4, 0]);
    const lane = seats(view);
    expect(lane.freeSlots).toBe(3 + 0 + 4);
    lane.take(0);
    expect(lane.freeSlots).toBe(6);
    // The receipt: the host counts the task now, and the assignment is no longer pending.
    view.report([0, 2]);
    lane.agent(0).unassign();
    expect(lane.freeSlots).toBe(6);
  });

  it("shares an agent's slots between its lanes", () => {
    const view = host(1, 1);
    const a = seats(view);
    const b = seats(view);
    a.take(0);
    expect(b.next(0)).toBe(-1);
    expect(b.freeSlots).toBe(0);
  });

  it("offers nothing of a host that is not up, and all of it when it is up again", () => {
    const view = host(2, 3);
    const lane = seats(view);
    view.state = "suspended";
    expect([lane.freeSlots, lane.next(0)]).toEqual([0, -1]);
    view.state = "up";
    expect([lane.freeSlots, lane.next(0)]).toEqual([6, 0]);
  });

  it("leaves a lane no more than its share of an agent, whatever the agent's slots", () => {
    const view = host(2, 4);
    const range = { host: "h", run: "r", first: 0, count: 2, slots: 1 };
    const seats = new RosterSeats(
      [range],
      () => view,
      () => undefined,
    );
    expect([seats.freeSlots, seats.caps?.get(view.agents[0] as never)]).toEqual([2, 1]);
    seats.take(0);
    expect([seats.freeSlots, seats.next(0)]).toEqual([1, 1]);
    seats.take(1);
    expect([seats.freeSlots, seats.next(0)]).toEqual([0, -1]);
  });

  it("tells of slots that become free, and of nothing after it was replaced", () => {
    const view = host(1, 1, [1]);
    let told = 0;
    const lane = seats(view, () => told++);
    view.report([0, 1]);
    expect(told).toBe(1);
    lane.dispose();
    view.report([0, 0]);
    view.report([0, 1]);
    expect(told).toBe(1);
  });

  it("skips places whose host is not known", () => {
    const lane = new RosterSeats(
      [{ host: "x", run: "r", first: 0, count: 2, slots: 9 }],
      () => undefined,
      () => undefined,
    );
    expect([lane.size, lane.freeSlots, lane.next(0)]).toEqual([2, 0, -1]);
  });

  it("takes a report of more than is free as full, never as negative credit", () => {
    const view = host(1, 2);
    const lane = seats(view);
    lane.take(0);
    view.report([0, 0]);
    expect(lane.freeSlots).toBe(0);
  });
});
