import { expect, test } from "vitest";
import { Agent } from "../../../src/actors/agent/agent.ts";
import { builtinAgents } from "../../../src/actors/agent/builtin.ts";
import { LoadShown } from "../../../src/actors/agent/load-shown.ts";
import type { agentMachine } from "../../../src/actors/agent/machine.ts";
import { resolveAgent } from "../../../src/actors/agent/resolve.ts";
import type { LocalActor } from "../../../src/actors/runtime/refs.ts";

const LANE = { pool: "default", kind: "echo" };

function anAgent(): { readonly agent: Agent; readonly told: string[] } {
  const told: string[] = [];
  const chart: LocalActor<typeof agentMachine> = {
    name: "agent-0",
    state: "running",
    send: ({ type }) => told.push(type) > 0,
    snapshot: () => undefined,
    stop: () => undefined,
  };
  const behaviour = resolveAgent(builtinAgents(1), { pool: "default", slots: 2 }, "test");
  return { agent: new Agent(0, behaviour, chart), told };
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("the chart of an agent never hears of what begins and ends within one turn of the loop", async () => {
  const { agent, told } = anAgent();
  const shown = new LoadShown();
  agent.take(LANE, 0);
  shown.changed(agent);
  agent.release();
  shown.changed(agent);
  await nextTurn();
  expect(told).toEqual([]);
});

test("the chart hears of work that lasts, and of its end", async () => {
  const { agent, told } = anAgent();
  const shown = new LoadShown();
  agent.take(LANE, 0);
  shown.changed(agent);
  expect(told).toEqual([]);
  await nextTurn();
  expect(told).toEqual(["WORK"]);
  agent.release();
  shown.changed(agent);
  await nextTurn();
  expect(told).toEqual(["WORK", "REST"]);
});

test("an agent that drains in the turn in which its work began is known to work: it would stop at once", () => {
  const { agent, told } = anAgent();
  agent.take(LANE, 0);
  agent.drain();
  expect(told).toEqual(["WORK", "DRAIN"]);
});
