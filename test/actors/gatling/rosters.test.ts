import { describe, expect, it } from "vitest";
import { HostView } from "../../../src/actors/gatling/fleet.ts";
import { lanesOf, wantedRanges } from "../../../src/actors/gatling/rosters.ts";
import type { AgentGroup } from "../../../src/protocols/host-messages.ts";
import type { RosterRange } from "../../../src/protocols/rotation.ts";
import { heartbeatOf } from "../../support/heartbeat.ts";

const LANE = { pool: "default", kind: "echo" };
const GROUP: AgentGroup = { pool: "default", kinds: ["echo", "sleep"], first: 0, count: 2, slots: 4 };

function host(id: string, run = "r1", groups: readonly AgentGroup[] = [GROUP]): HostView {
  const running = groups.flatMap(({ count }) => new Array<number>(count).fill(0));
  return new HostView(heartbeatOf({ host: id, run, groups: [...groups], running }), 0);
}

function fleet(...hosts: readonly HostView[]): ReadonlyMap<string, HostView> {
  return new Map(hosts.map((each) => [each.id, each]));
}

function range(id: string, run = "r1"): RosterRange {
  return { host: id, run, first: 0, count: 2, slots: 4 };
}

const nobodyGone = (): boolean => false;

describe("wantedRanges", () => {
  it("orders by host, whoever was heard first", () => {
    expect(wantedRanges(LANE, [], fleet(host("b"), host("a")), nobodyGone)).toEqual([range("a"), range("b")]);
  });

  it("keeps a host that another dispatcher heard and this one has not yet", () => {
    expect(wantedRanges(LANE, [range("z")], fleet(host("a")), nobodyGone)).toEqual([range("a"), range("z")]);
  });

  it("drops a host that is gone, and replaces an earlier incarnation", () => {
    const gone = (id: string): boolean => id === "z";
    expect(wantedRanges(LANE, [range("z"), range("a", "r0")], fleet(host("a")), gone)).toEqual([range("a")]);
  });

  it("leaves out a host that drains, and keeps the place of one that is only suspended", () => {
    const leaving = host("a");
    leaving.state = "leaving";
    const suspended = host("b");
    suspended.state = "suspended";
    expect(wantedRanges(LANE, [range("a"), range("b")], fleet(leaving, suspended), nobodyGone)).toEqual([range("b")]);
  });

  it("names only agents of the lane's pool and kind", () => {
    const other: AgentGroup = { pool: "default", kinds: ["audit"], first: 2, count: 3, slots: 1 };
    const wanted = wantedRanges(
      { pool: "default", kind: "audit" },
      [],
      fleet(host("a", "r1", [GROUP, other])),
      nobodyGone,
    );
    expect(wanted).toEqual([{ host: "a", run: "r1", first: 2, count: 3, slots: 1 }]);
  });
});

describe("lanesOf", () => {
  it("names a lane per pool and kind", () => {
    expect(lanesOf(host("a"))).toEqual([LANE, { pool: "default", kind: "sleep" }]);
  });
});
