/** The charts of docs/machines.md against the machines: states, and every arrow, found by trying each event in each state. */
import { describe, expect, test } from "vitest";
import { type AnyStateMachine, type AnyStateNode, transition } from "xstate";
import { agentMachine } from "../../src/actors/agent/machine.ts";
import { type DiscoveryEvent, discoveryMachine } from "../../src/actors/discovery/machine.ts";
import { type PeerEvent, peerMachine } from "../../src/actors/discovery/peer-machine.ts";
import { type DispatcherEvent, dispatcherMachine } from "../../src/actors/gatling/machine.ts";
import { type VaultEvent, vaultMachine } from "../../src/actors/vault/machine.ts";
import { blockLines, codeOf, readSource, sectionOf, tableRows } from "./documents.ts";

const text = readSource("docs/machines.md");

/** Each label that an arrow can have, and the event that it stands for. */
type Labels = Readonly<Record<string, { readonly type: string }>>;

const AGENT_LABELS: Labels = { WORK: { type: "WORK" }, REST: { type: "REST" }, DRAIN: { type: "DRAIN" } };

const DISPATCHER_LABELS = {
  READY: { type: "READY" },
  HEALTHY: { type: "HEALTHY" },
  DRAIN: { type: "DRAIN" },
  STOPPED: { type: "STOPPED" },
  TROUBLE: { type: "TROUBLE", why: "a test" },
  "ACTIVITY none": { type: "ACTIVITY", inHand: 0, saturated: false },
  "ACTIVITY busy": { type: "ACTIVITY", inHand: 1, saturated: false },
  "ACTIVITY full": { type: "ACTIVITY", inHand: 1, saturated: true },
} satisfies Record<string, DispatcherEvent>;

const VAULT_LABELS = {
  ABSENT: { type: "ABSENT" },
  SEALED: { type: "SEALED" },
  UNSEALED: { type: "UNSEALED" },
  TROUBLE: { type: "TROUBLE", why: "a test" },
} satisfies Record<string, VaultEvent>;

const DISCOVERY_LABELS = {
  OPENED: { type: "OPENED" },
  CLOSED: { type: "CLOSED", why: "a test" },
  ANNOUNCED: { type: "ANNOUNCED" },
  WITHDRAWN: { type: "WITHDRAWN" },
  CONTESTED: { type: "CONTESTED" },
  SETTLED: { type: "SETTLED" },
  FOUND: { type: "FOUND" },
  ALONE: { type: "ALONE" },
} satisfies Record<DiscoveryEvent["type"], DiscoveryEvent>;

const PEER_LABELS = {
  SEEN: { type: "SEEN" },
  DIALING: { type: "DIALING" },
  JOINING: { type: "JOINING" },
  JOINED: { type: "JOINED" },
  REJECTED: { type: "REJECTED" },
  LOST: { type: "LOST" },
  ANNOUNCED: { type: "ANNOUNCED" },
  CHANGED: { type: "CHANGED" },
  GOODBYE: { type: "GOODBYE" },
  EXPIRED: { type: "EXPIRED" },
} satisfies Record<PeerEvent["type"], PeerEvent>;

const NO_EFFECTS = { isReady: () => false, openLanes: () => undefined, closeLanes: () => undefined };

describe.each([
  { title: "Agent", machine: agentMachine as AnyStateMachine, labels: AGENT_LABELS, context: {} },
  {
    title: "Gatling dispatcher",
    machine: dispatcherMachine as AnyStateMachine,
    labels: DISPATCHER_LABELS as Labels,
    context: { effects: NO_EFFECTS, why: "" },
  },
  {
    title: "Vault",
    machine: vaultMachine as AnyStateMachine,
    labels: VAULT_LABELS as Labels,
    context: { effects: {}, why: "" },
  },
  { title: "A peer in discovery", machine: peerMachine as AnyStateMachine, labels: PEER_LABELS as Labels, context: {} },
])("docs/machines.md on $title", ({ title, machine, labels, context }) => {
  const section = sectionOf(text, title);
  const chart = readChart(blockLines(section, "mermaid"));
  const nodes = statesBelow(machine.root);

  test("describes every state in a row, and no other", () => {
    expect(stateNames(section)).toEqual(nodes.map(({ key }) => key).sort());
  });

  test("draws every state, and no other", () => {
    const drawn = [...new Set(chart.arrows.flatMap(({ from, to }) => [from, to]))].filter((name) => name !== "[*]");
    expect(drawn.sort()).toEqual(nodes.map(({ key }) => key).sort());
  });

  test("draws every transition, and no other", () => {
    // A state that is left at once, whatever comes, is in no position to take events.
    const leaves = nodes.filter(({ type, always = [] }) => type === "atomic" && always.every(({ guard }) => guard));
    const real = leaves.flatMap((leaf) =>
      Object.entries(labels).flatMap(([label, event]) => {
        const before = machine.resolveState({ value: stateValueOf(leaf), context });
        const [after] = transition(machine, before, event);
        const to = leafOf(after.value);
        return to === leaf.key ? [] : [`${leaf.key} --${label}--> ${to}`];
      }),
    );
    const drawn = chart.arrows.flatMap(({ from, to, label }) => {
      if (label === "" || from === "[*]" || to === "[*]") return [];
      const sources = chart.children.get(from) ?? [from];
      return sources.map((source) => `${source} --${label}--> ${chart.initial.get(to) ?? to}`);
    });
    expect(real.length).toBeGreaterThan(0);
    expect(drawn.sort()).toEqual(real.sort());
  });

  test("draws an arrow without a label only where the machine leaves by itself", () => {
    const bare = chart.arrows.filter(({ from, to, label }) => label === "" && from !== "[*]" && to !== "[*]");
    for (const { from, to } of bare) {
      const always = nodes.find(({ key }) => key === from)?.always ?? [];
      expect(always.flatMap(({ target }) => target?.map(({ key }) => key) ?? [])).toContain(to);
    }
  });
});

describe("docs/machines.md on Discovery", () => {
  const section = sectionOf(text, "Discovery");
  const chart = readChart(blockLines(section, "mermaid"));
  const context = { effects: { live: () => () => undefined, peers: () => undefined }, why: "" };

  test("describes every state in a row, and no other", () => {
    expect(stateNames(section)).toEqual(
      statesBelow(discoveryMachine.root)
        .map(({ key }) => key)
        .sort(),
    );
  });

  test("draws every transition, and no other", () => {
    // All pairs of what goes on at once; an arrow that leaves both is drawn once, from `on`.
    const pairs = (["silent", "announced", "contested"] as const).flatMap((advertising) =>
      (["searching", "watching"] as const).map((browsing) => ({ on: { advertising, browsing } })),
    );
    const real = (["off", ...pairs] as const).flatMap((value) =>
      Object.entries(DISCOVERY_LABELS).flatMap(([label, event]) => {
        const [after] = transition(discoveryMachine, discoveryMachine.resolveState({ value, context }), event);
        const [from, to] = [regionsOf(value), regionsOf(after.value)];
        if (from.length !== to.length)
          return [`${from.length > 1 ? "on" : from[0]} --${label}--> ${to.length > 1 ? "on" : to[0]}`];
        return from.flatMap((name, i) => (name === to[i] ? [] : [`${name} --${label}--> ${to[i]}`]));
      }),
    );
    const drawn = chart.arrows
      .filter(({ from }) => from !== "[*]")
      .map(({ from, to, label }) => `${from} --${label}--> ${to}`);
    expect(drawn.sort()).toEqual([...new Set(real)].sort());
  });
});

describe.each([
  { title: "A host as a dispatcher sees it", file: "src/actors/gatling/fleet.ts", type: "HostState" },
  { title: "A supervised machine", file: "src/actors/runtime/supervised.ts", type: "SupervisedState" },
  { title: "A named actor", file: "src/actors/runtime/named-actor.ts", type: "ActorPhase" },
])("docs/machines.md on $title", ({ title, file, type }) => {
  test(`describes the states of ${type}, and no other`, () => {
    const union = new RegExp(`export type ${type} =([^;]+);`).exec(readSource(file))?.[1] ?? "";
    const names = [...union.matchAll(/"([^"]+)"/g)].map(([, name]) => name);
    expect(names.length).toBeGreaterThan(1);
    expect(stateNames(sectionOf(text, title))).toEqual(names.sort());
  });
});

/** States in the first column of a section's table. */
function stateNames(section: string): (string | undefined)[] {
  return tableRows(section)
    .map(([state]) => codeOf(state))
    .sort();
}

function statesBelow(node: AnyStateNode): AnyStateNode[] {
  return Object.values(node.states).flatMap((child) => [child, ...statesBelow(child)]);
}

function stateValueOf(leaf: AnyStateNode): string | Record<string, string> {
  const { parent } = leaf;
  return parent?.parent === undefined ? leaf.key : { [parent.key]: leaf.key };
}

/** The states that it is in, one of each region. */
function regionsOf(value: unknown): readonly string[] {
  return typeof value === "string" ? [value] : Object.values(value as object).flatMap(regionsOf);
}

function leafOf(value: unknown): string {
  return typeof value === "string" ? value : leafOf(Object.values(value as object)[0]);
}

interface Arrow {
  readonly from: string;
  readonly to: string;
  readonly label: string;
}

/** Arrows of a mermaid state diagram, and the children and the first child of its composite states. */
function readChart(lines: readonly string[]) {
  const arrows: Arrow[] = [];
  const children = new Map<string, string[]>();
  const initial = new Map<string, string>();
  let inside: string | undefined;
  for (const line of lines.map((each) => each.trim())) {
    const composite = /^state (\w+) \{$/.exec(line)?.[1];
    const [, from, to, label = ""] = /^(\S+) --> (\w+|\[\*\])(?:: (.+))?$/.exec(line) ?? [];
    if (composite !== undefined) inside = composite;
    else if (line === "}") inside = undefined;
    if (from === undefined || to === undefined) continue;
    arrows.push({ from, to, label });
    if (inside === undefined) continue;
    if (from === "[*]") initial.set(inside, to);
    const names = [from, to].filter((name) => name !== "[*]");
    children.set(inside, [...new Set([...(children.get(inside) ?? []), ...names])]);
  }
  return { arrows, children, initial };
}
