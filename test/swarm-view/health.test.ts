import { expect, test } from "vitest";
import { Names, PRIORITIES } from "../../src/protocols/subjects.ts";
import { judge } from "../../src/swarm-view/health.ts";
import type { NodeSays } from "../../src/swarm-view/node-reports.ts";
import { type NodeView, nodeViews } from "../../src/swarm-view/nodes.ts";
import type { Observations } from "../../src/swarm-view/observations.ts";
import { heartbeatOf } from "../support/heartbeat.ts";

const names = new Names();
const node: NodeView = { host: "a", state: "up", agents: 2, running: 1, slots: 4, lagMs: 3, lanes: ["default.echo"] };
const ranges = [{ host: "a", run: "r", first: 0, count: 2, slots: 2 }];
const echo = { pool: "default", kind: "echo", index: 0, base: 0, roster: 1, ranges };
const consumer = {
  name: "default=echo",
  filter: names.task("default", "echo"),
  waiting: 0,
  ackPending: 0,
  redelivered: 0,
  pulls: 1,
  delivered: 0,
  ackFloor: 0,
};
const consumers = PRIORITIES.map((priority) => ({
  ...consumer,
  name: names.consumer({ pool: "default", kind: "echo" }, priority),
}));
const idle = consumers.map((each) => ({ ...each, pulls: 0 }));
const said: NodeSays = { host: "a", roles: ["dispatcher", "agents", "vault"], troubles: [], clockMs: 0 };
const vault = { state: "unsealed" as const, host: "a" };
const stream = { bytes: 10, maxBytes: 100, firstSequence: 1, lastSequence: 9, consumers: 0, replicas: 1, at: 0 };
const copies = { leader: "s1" as string | undefined, offline: [] as string[], behind: [] as string[] };
const quiet: Observations = {
  url: "nats://127.0.0.1:1",
  prefix: "vgas",
  names,
  nodes: [node],
  rotations: { lanes: [echo], warnings: [] },
  streams: [
    { ...stream, name: names.streams.results, messages: 7 },
    { ...stream, name: names.streams.dead, messages: 2 },
  ],
  stored: new Map(),
  consumers,
  paused: [],
  said: [],
  unanswered: [],
  oldest: new Map(),
};

test("a swarm with nothing wrong is ok", () => {
  expect(judge(quiet)).toMatchObject({
    health: "ok",
    reasons: [],
    nodes: 1,
    agents: 2,
    running: 1,
    slots: 4,
    results: 7,
    dead: 2,
    lanes: [{ pool: "default", kind: "echo", agents: 2, waiting: 0, inHand: 0 }],
    unoffered: [],
  });
});

test("tells what is in hand from what waits, and what nobody offers", () => {
  const stored = new Map([
    [names.task("default", "echo"), 10],
    [names.task("default", "nope"), 3],
    [names.task("gpu", "echo"), 1],
  ]);
  const state = judge({
    ...quiet,
    stored,
    consumers: consumers.map((each, i) => ({ ...each, ackPending: i === 0 ? 4 : 0 })),
  });
  expect(state.lanes).toEqual([{ pool: "default", kind: "echo", agents: 2, waiting: 6, inHand: 4 }]);
  expect(state.unoffered).toEqual([
    { pool: "default", kind: "nope", agents: 0, waiting: 3, inHand: 0 },
    { pool: "gpu", kind: "echo", agents: 0, waiting: 1, inHand: 0 },
  ]);
  expect(state.health).toBe("ok");
});

test.each([
  { what: "no node", seen: { nodes: [] }, reason: "no node with agents is heard" },
  {
    what: "a silent node",
    seen: { nodes: [node, { ...node, host: "b", state: "silent" as const }] },
    reason: "node b is not heard",
  },
  { what: "a stalled node", seen: { nodes: [{ ...node, state: "stalled" as const }] }, reason: "node a is stalled" },
  { what: "a blocked node", seen: { nodes: [{ ...node, lagMs: 4_000 }] }, reason: "has not answered for 4000 ms" },
  {
    what: "a full stream",
    seen: { streams: [{ ...stream, name: "VGAS_RESULTS", messages: 1, bytes: 95 }] },
    reason: "VGAS_RESULTS is 95 % full",
  },
  {
    what: "no dispatcher",
    seen: { stored: new Map([[names.task("default", "echo"), 1]]), consumers: idle },
    reason: "no dispatcher takes the tasks of default.echo",
  },
  {
    what: "a consumer that was deleted",
    seen: { consumers: consumers.slice(1) },
    reason: "a consumer of default.echo is missing",
  },
  {
    what: "a swarm without dispatcher",
    seen: { said: [{ ...said, roles: ["agents"] }] },
    reason: "no node with role dispatcher answers",
  },
  {
    what: "clocks that differ",
    seen: { vault, said: [said, { ...said, host: "b", roles: ["agents"], clockMs: 3_000 }] },
    reason: "the clock of node b is 3.0 s ahead of that of node a",
  },
  {
    what: "what a node says of itself",
    seen: { vault, said: [{ ...said, troubles: [{ what: "the disk is full", remedy: "make room" }] }] },
    reason: "node a: the disk is full",
  },
  {
    what: "a vault that has lost its name",
    seen: { said: [said] },
    reason: "the vault of node a has no name",
  },
  {
    what: "a question that nobody answered",
    seen: { unanswered: ["stream VGAS_RESULTS: no answer within 5000 ms"], consumers: undefined },
    reason: "stream VGAS_RESULTS: no answer within 5000 ms",
  },
  {
    what: "a broker whose JetStream is off",
    seen: {
      streams: [],
      unanswered: ["a", "b", "c", "d", "e"].map((each) => `${each}: no answer`),
      consumers: undefined,
    },
    reason: "JetStream does not answer",
  },
  {
    what: "a vault that has failed",
    seen: { vault: { state: "failed" as const, why: "the trail cannot be written", host: "a" } },
    reason: "the vault gives no key out: the trail cannot be written",
  },
  {
    what: "a vault that cannot give keys out",
    seen: { vault: { state: "unsealed" as const, why: "its disk is full", host: "a" } },
    reason: "the vault gives no key out: its disk is full",
  },
  {
    what: "a stream that nobody leads",
    seen: { streams: [{ ...stream, name: "VGAS_TASKS", messages: 1, copies: { ...copies, leader: undefined } }] },
    reason: "stream VGAS_TASKS: ",
  },
  {
    what: "a stream of which a copy is offline",
    seen: { streams: [{ ...stream, name: "VGAS_TASKS", messages: 1, copies: { ...copies, offline: ["s3"] } }] },
    reason: "stream VGAS_TASKS: ",
  },
  {
    what: "a vault that does not answer",
    seen: { vault: { state: "silent" as const, why: "vault.hello timed out after 3000 ms" } },
    reason: "the vault does not answer",
  },
])("is degraded by $what", ({ seen, reason }) => {
  const state = judge({ ...quiet, ...seen });
  expect(state.health).toBe("degraded");
  expect(state.reasons).toHaveLength(1);
  expect(state.reasons[0]).toContain(reason);
  expect(state.remedies).toEqual([expect.stringMatching(/./)]);
});

test.each([
  { what: "a stream without a size cap", seen: { streams: [{ ...stream, name: "S", messages: 1, maxBytes: -1 }] } },
  { what: "a stream that is not almost full", seen: { streams: [{ ...stream, name: "S", messages: 1, bytes: 89 }] } },
  {
    what: "a copy that is a few messages behind",
    seen: { streams: [{ ...stream, name: "S", messages: 1, copies: { ...copies, behind: ["s2"] } }] },
  },
  { what: "a node that answers within a second", seen: { nodes: [{ ...node, lagMs: 900 }] } },
  { what: "a node that drains", seen: { nodes: [{ ...node, state: "draining" as const }] } },
  {
    what: "clocks that agree within two seconds",
    seen: { vault, said: [said, { ...said, host: "b", roles: ["agents"], clockMs: 1_900 }] },
  },
  {
    what: "a lane of which all is in hand for the moment",
    seen: {
      stored: new Map([[names.task("default", "echo"), 2]]),
      consumers: idle.map((each, i) => ({ ...each, ackPending: i === 0 ? 1 : 0 })),
    },
  },
])("is not degraded by $what", ({ seen }) => {
  expect(judge({ ...quiet, ...seen })).toMatchObject({ health: "ok", reasons: [], remedies: [] });
});

test("each reason has its remedy at the same place, and what answers is not covered by what does not", () => {
  const unanswered = ["a", "b", "c", "d", "e"].map((each) => `${each}: no answer`);
  const state = judge({ ...quiet, nodes: [{ ...node, state: "stalled" }], unanswered });
  expect(state.reasons).toEqual([...unanswered, expect.stringContaining("is stalled")]);
  expect(state.remedies).toHaveLength(6);
  expect(state.remedies[0]).toContain("nats-server's log");
  expect(state.remedies[5]).toContain("isolation");
});

test("no more is in hand than there is, a pause is of its lane alone, and nothing waits that is not there", () => {
  const subject = names.task("default", "echo");
  const state = judge({
    ...quiet,
    stored: new Map([[subject, 2]]),
    consumers: consumers.map((each) => ({ ...each, ackPending: 3 })),
    oldest: new Map([[subject, 1_000]]),
    paused: [
      { pool: "gpu", kind: "echo" },
      { pool: "default", kind: "sleep" },
    ],
  });
  expect(state.lanes).toEqual([{ pool: "default", kind: "echo", agents: 2, waiting: 0, inHand: 2 }]);
});

test("a vault that is sealed, or not made yet, is no trouble, and is told", () => {
  for (const state of ["sealed", "uninitialised", "unsealed"] as const) {
    const vault = { state, host: "a" };
    expect(judge({ ...quiet, vault })).toMatchObject({ health: "ok", vault });
  }
  expect(judge(quiet)).not.toHaveProperty("vault");
});

test("a node that a roster names and nobody hears is silent, with what the roster knows of it", () => {
  const beat = heartbeatOf({
    host: "b",
    draining: true,
    groups: [{ pool: "default", kinds: ["x", "y"], first: 0, count: 3, slots: 2 }],
    running: [1, 0, 2],
  });
  const sleep = { ...echo, kind: "sleep" };
  expect(nodeViews(new Map([["b", beat]]), [echo, sleep])).toMatchObject([
    { host: "a", state: "silent", agents: 2, slots: 4, lanes: ["default.echo", "default.sleep"] },
    { host: "b", state: "draining", agents: 3, slots: 6, running: 3, lanes: ["default.x", "default.y"] },
  ]);
});

test("a lane that is paused says so and since when its oldest task waits, and no dispatcher is missed", () => {
  const state = judge({
    ...quiet,
    stored: new Map([[names.task("default", "echo"), 3]]),
    consumers: idle,
    paused: [{ pool: "default", kind: "echo", by: "ann", at: 5 }],
    oldest: new Map([[names.task("default", "echo"), 1_000]]),
  });
  expect(state).toMatchObject({ health: "ok", reasons: [] });
  expect(state.lanes).toMatchObject([{ kind: "echo", waiting: 3, oldestAt: 1_000, paused: { by: "ann", at: 5 } }]);
});
