import { expect, test } from "vitest";
import { createActor, transition } from "xstate";
import { agentLogic, agentMachine } from "../../../src/actors/agent/machine.ts";

const EVENTS = ["WORK", "REST", "DRAIN"] as const;

test("goes where the machine goes, for every event in every state", () => {
  const seen = new Set<unknown>();
  const compare = (path: readonly (typeof EVENTS)[number][]): void => {
    const actor = createActor(agentLogic).start();
    let expected = createActor(agentMachine).getSnapshot();
    for (const type of path) {
      if (actor.getSnapshot().status === "active") actor.send({ type });
      if (expected.status === "active") [expected] = transition(agentMachine, expected, { type });
    }
    const { value, status } = actor.getSnapshot();
    expect([value, status]).toEqual([expected.value, expected.status]);
    seen.add(value);
    if (path.length < 4) for (const type of EVENTS) compare([...path, type]);
  };
  compare([]);
  expect([...seen].sort()).toEqual(["busy", "draining", "idle", "stopped"]);
});

test("actors in one state share its snapshot", () => {
  const [one, other] = [createActor(agentLogic).start(), createActor(agentLogic).start()];
  const idle = one.getSnapshot();
  expect(other.getSnapshot()).toBe(idle);
  one.send({ type: "WORK" });
  expect(other.getSnapshot()).toBe(idle);
  other.send({ type: "WORK" });
  expect(other.getSnapshot()).toBe(one.getSnapshot());
  one.send({ type: "REST" });
  expect(one.getSnapshot().value).toBe("idle");
  expect(other.getSnapshot().value).toBe("busy");
});
