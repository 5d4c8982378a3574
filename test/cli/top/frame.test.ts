import { describe, expect, test } from "vitest";
import { Style } from "../../../src/cli/style.ts";
import type { TopView } from "../../../src/cli/top/feed.ts";
import { type FrameOptions, frame, plainText, scrollEnd, shareOut } from "../../../src/cli/top/frame.ts";

const plain = new Style(false);
const AT = 1_700_000_000_000;

function view(lanes = 2): TopView {
  const names = Array.from({ length: lanes }, (_, i) => `kind-${i}`);
  return {
    at: AT,
    state: {
      ...{ health: "degraded", remedies: [], reasons: ["node b is not heard, though it has not left"], warnings: [] },
      ...{ url: "nats://127.0.0.1:4222", prefix: "vgas", nodes: 2, agents: 8, running: 3, slots: 128 },
      ...{ streams: [], results: 9, dead: 1, unoffered: [] },
      lanes: names.map((kind, i) => ({
        ...{ pool: "default", kind, agents: 4, waiting: i, inHand: 0 },
        ...(i === 1 && { oldestAt: AT - 65_000, paused: { by: "ann" } }),
      })),
    },
    nodes: [
      { host: "a", state: "up", machine: "m\x1b[31m", agents: 4, running: 3, slots: 64, lagMs: 2.4, lanes: [] },
      { host: "b", state: "silent", agents: 4, slots: 64, lanes: [] },
    ],
    activity: {
      tasksPerSecond: 1_204.4,
      lanes: new Map([["default.kind-1", { done: 12.2, failed: 0.5 }]]),
      nodes: new Map([["a", 1_204]]),
      failing: [{ lane: "default.kind-1", code: "NO", message: "as \x1b]0;x\x07always", count: 7, lastAt: AT - 3_000 }],
    },
    slowest: [{ id: "s1", pool: "default", kind: "kind-0", agent: "a-1", attempt: 2, startedAt: AT - 3_600_000 }],
    trouble: undefined,
  };
}

function options(columns: number, rows: number, more: Partial<FrameOptions> = {}): FrameOptions {
  return { columns, rows, style: plain, sort: "rate", scroll: 0, paused: false, ...more };
}

describe.each([
  [80, 24],
  [200, 50],
  [40, 10],
])("a frame of %ix%i", (columns, rows) => {
  test.each([2, 300])("has a line for each row and none that is too wide, with %i lanes", (lanes) => {
    const lines = frame(view(lanes), options(columns, rows));
    expect(lines).toHaveLength(rows);
    expect(Math.max(...lines.map(({ length }) => length))).toBeLessThanOrEqual(columns);
    expect(lines[0]).toContain("vgas top  degraded");
    expect(lines[2]).toMatch(/^! node b is not heard/);
    expect(lines.at(-1)).toContain("q quit");
    expect(lines.join("")).not.toMatch(/\p{Cc}/u);
  });
});

test("shows lanes, nodes, what runs longest and what fails", () => {
  const lines = frame(view(), options(100, 24));
  expect(lines[1]).toBe("2 nodes  3/128 slots  1 204 tasks/s  1 waiting  0 in hand  1 dead letter");
  const text = lines.join("\n");
  expect(text).toMatch(/^LANE +AGENTS +WAITING +IN HAND +OLDEST +DONE\/s +FAIL\/s/m);
  expect(text).toMatch(/^default\.kind-1 +4 +1 +0 +1 m 5 s +12 +0\.5 +paused$/m);
  expect(text).toMatch(/^a +up +4 +3\/64 +2 +1 204 +m \[31m$/m);
  expect(text).toMatch(/^b +silent +4 +\? +\? +0 +\?$/m);
  expect(text).toMatch(/^s1 +default\.kind-0 +a-1 +2 +1 h$/m);
  expect(text).toMatch(/^default\.kind-1 +NO +7 +3 s +as +\]0;x always$/m);
});

test("leaves room for every section when lanes are many, says how many are hidden, and scrolls to them", () => {
  const many = view(300);
  const whole = frame(many, options(80, 24)).join("\n");
  for (const heading of ["LANE", "NODE", "SLOWEST", "FAILING"]) expect(whole).toMatch(new RegExp(`^${heading} `, "m"));
  expect(whole).toMatch(/ {2}… 29\d more: scroll down/);
  const end = scrollEnd(many, options(80, 24));
  const last = frame(many, options(80, 24, { scroll: end }));
  expect(last.join("\n")).toContain("FAILING");
  expect(last.join("\n")).not.toContain("more: scroll");
  expect(last.at(-1)).toMatch(/^line \d+ /);
  expect(scrollEnd(view(), options(80, 24))).toBe(0);
});

test("sorts the lanes as asked", () => {
  const first = (sort: FrameOptions["sort"]): string | undefined =>
    frame(view(3), options(80, 30, { sort }))
      .find((line) => line.startsWith("default."))
      ?.split(" ")[0];
  expect(first("rate")).toBe("default.kind-1");
  expect(first("waiting")).toBe("default.kind-2");
  expect(first("failing")).toBe("default.kind-1");
  expect(first("name")).toBe("default.kind-0");
});

test("says that it is cut off, that it is paused, and that the terminal is too small", () => {
  const cut = frame({ ...view(), trouble: "cut off from NATS; this is how it was. Reconnecting" }, options(80, 24));
  expect(cut[0]).toContain("vgas top  cut off");
  expect(cut[2]).toBe("! cut off from NATS; this is how it was. Reconnecting");
  expect(frame(view(), options(80, 24, { paused: true })).at(-1)).toContain("PAUSED  q quit  p go on");
  expect(frame(view(), options(30, 5))).toEqual(["vgas top needs 40x10, this is…", "", "", "", ""]);
});

test("a snapshot for a pipe has everything and no escape sequence", () => {
  const text = plainText(view(300), plain);
  expect(text.match(/^default\.kind-/gm)).toHaveLength(301);
  expect(text).not.toContain("\u001b");
});

test("shares lines out: short sections whole, the rest evenly", () => {
  expect(shareOut([300, 2, 1, 50], 20)).toEqual([9, 2, 1, 8]);
  expect(shareOut([3, 4], 20)).toEqual([3, 4]);
  expect(shareOut([3, 4], -1)).toEqual([0, 0]);
});
