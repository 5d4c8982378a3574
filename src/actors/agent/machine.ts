/**
 * The life of an agent. Tasks are plain code behind its slots; the chart changes once per turn of the event loop at most, and not at
 * all for what ends within one.
 *
 * - `idle`: nothing runs. `busy`: at least one task runs.
 * - `draining`: takes nothing new; left when the last task has ended.
 * - `stopped`: final. A machine that throws is `faulted` under its supervisor, which starts it again.
 */
import { setup } from "xstate";
import { finite } from "../runtime/finite.ts";

export type AgentEvent = { readonly type: "WORK" | "REST" | "DRAIN" };

export const agentMachine = setup({ types: { events: {} as AgentEvent } }).createMachine({
  id: "agent",
  initial: "starting",
  states: {
    starting: { always: "idle" },
    idle: { on: { WORK: "busy", DRAIN: "stopped" } },
    busy: { on: { REST: "idle", DRAIN: "draining" } },
    draining: { on: { REST: "stopped" } },
    stopped: { type: "final" },
  },
});

/** What an agent runs. */
export const agentLogic = finite(agentMachine);
