/**
 * The life of discovery. The work is plain code in discovery.ts, which tells the chart what has become true.
 *
 * - `off`: no interface can be used, or it was not started, or it has stopped. `why` says which. Interfaces are looked for all the time.
 * - `on`: at least one interface works, and two things go on at once:
 *   - advertising: `silent` (nothing is announced), `announced`, or `contested` (another machine announces our id; ours goes on).
 *   - browsing: `searching` (no peer is known), or `watching`.
 */
import { assign, fromCallback, setup } from "xstate";
import type { DISCOVERY_PROTOCOL } from "../../protocols/discovery.ts";
import type { MailOf } from "../runtime/definition.ts";

type Mail = MailOf<typeof DISCOVERY_PROTOCOL>;

/** What has become true. */
export type DiscoveryEvent =
  | { readonly type: "OPENED" | "ANNOUNCED" | "WITHDRAWN" | "CONTESTED" | "SETTLED" | "FOUND" | "ALONE" }
  | { readonly type: "CLOSED"; readonly why: string };

/** What the chart makes discovery do. */
export interface DiscoveryEffects {
  /** Starts, if nobody has, and tells what is true; what it returns ends the telling, and discovery if nobody else wants it. */
  live(tell: (event: DiscoveryEvent) => void): () => void;
  peers(mail: Extract<Mail, { readonly type: "peers" }>): void;
}

const NOT_STARTED = "not started";

export const discoveryMachine = setup({
  types: {
    context: {} as { readonly effects: DiscoveryEffects; readonly why: string },
    events: {} as Mail | DiscoveryEvent,
    input: {} as DiscoveryEffects,
  },
  actors: {
    life: fromCallback<DiscoveryEvent, DiscoveryEffects>(({ input, sendBack }) => input.live(sendBack)),
  },
  actions: {
    peers: ({ context, event }) => {
      if (event.type === "peers") context.effects.peers(event);
    },
    rememberWhy: assign({ why: ({ context, event }) => (event.type === "CLOSED" ? event.why : context.why) }),
    forgetWhy: assign({ why: "" }),
  },
}).createMachine({
  id: "discovery",
  context: ({ input }) => ({ effects: input, why: NOT_STARTED }),
  invoke: { src: "life", input: ({ context }) => context.effects },
  initial: "off",
  on: { peers: { actions: "peers" } },
  states: {
    off: { on: { OPENED: "on", CLOSED: { actions: "rememberWhy" } } },
    on: {
      type: "parallel",
      entry: "forgetWhy",
      on: { CLOSED: { target: "off", actions: "rememberWhy" } },
      states: {
        advertising: {
          initial: "silent",
          states: {
            silent: { on: { ANNOUNCED: "announced" } },
            announced: { on: { WITHDRAWN: "silent", CONTESTED: "contested" } },
            contested: { on: { WITHDRAWN: "silent", SETTLED: "announced" } },
          },
        },
        browsing: {
          initial: "searching",
          states: {
            searching: { on: { FOUND: "watching" } },
            watching: { on: { ALONE: "searching" } },
          },
        },
      },
    },
  },
});
