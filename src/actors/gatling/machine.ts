/**
 * The life of a dispatcher. Work is plain code in the lanes; the chart decides when they may pull.
 *
 * - `starting`: entered at once; subscribes, reads the hosts' heartbeats; left when the lanes can be opened.
 * - `idle`: nothing in hand. `firing`: tasks are in hand and agents have slots. `saturated`: tasks are in hand and no
 *   agent has a slot. Events come once per batch at most, never per task.
 * - `degraded`: the bus is down, or the swarm cannot store results. Lanes are closed; what hosts run goes on.
 * - `draining`: entered by DRAIN; lanes are closed, what is in hand is handed over or given back.
 * - `stopped`: final.
 */
import { assign, setup } from "xstate";

/** What the chart makes the dispatcher do. */
export interface DispatcherEffects {
  /** Everything is subscribed: a chart that is started again goes on at once. */
  isReady(): boolean;
  openLanes(): void;
  closeLanes(): void;
}

export type DispatcherEvent =
  | { readonly type: "READY" | "HEALTHY" | "DRAIN" | "STOPPED" }
  | { readonly type: "ACTIVITY"; readonly inHand: number; readonly saturated: boolean }
  | { readonly type: "TROUBLE"; readonly why: string };

export const dispatcherMachine = setup({
  types: {
    context: {} as { readonly effects: DispatcherEffects; readonly why: string },
    events: {} as DispatcherEvent,
    input: {} as DispatcherEffects,
  },
  actions: {
    openLanes: ({ context }) => context.effects.openLanes(),
    closeLanes: ({ context }) => context.effects.closeLanes(),
    noteWhy: assign({ why: ({ event }) => (event.type === "TROUBLE" ? event.why : "") }),
  },
  guards: {
    isReady: ({ context }) => context.effects.isReady(),
    isSaturated: (_, event: DispatcherEvent) => event.type === "ACTIVITY" && event.saturated,
    isBusy: (_, event: DispatcherEvent) => event.type === "ACTIVITY" && event.inHand > 0,
  },
}).createMachine({
  id: "gatling",
  context: ({ input }) => ({ effects: input, why: "" }),
  initial: "starting",
  on: { DRAIN: ".draining", STOPPED: ".stopped" },
  states: {
    starting: {
      always: { guard: "isReady", target: "dealing" },
      on: { READY: "dealing", TROUBLE: { target: "degraded", actions: "noteWhy" } },
    },
    dealing: {
      entry: "openLanes",
      initial: "idle",
      on: {
        TROUBLE: { target: "degraded", actions: "noteWhy" },
        ACTIVITY: [
          { guard: { type: "isSaturated", params: ({ event }) => event }, target: ".saturated" },
          { guard: { type: "isBusy", params: ({ event }) => event }, target: ".firing" },
          { target: ".idle" },
        ],
      },
      states: { idle: {}, firing: {}, saturated: {} },
    },
    degraded: { entry: "closeLanes", on: { HEALTHY: "dealing" } },
    draining: { entry: "closeLanes", on: { DRAIN: undefined } },
    stopped: { entry: "closeLanes", type: "final" },
  },
});
