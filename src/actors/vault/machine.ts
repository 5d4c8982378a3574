/**
 * The life of the vault. The chart decides what may be asked of it (door.ts refuses the rest by the state); the work is plain
 * code in vault.ts, which tells the chart what has become true.
 *
 * - `starting`: entered at once; the file and the trail are opened; left when it is known what is there.
 * - `uninitialised`: there is no vault file; left by `init`.
 * - `sealed`: the file is there and its keys are not in memory; left by `unseal`.
 * - `unsealed`: keys can be used; left by `seal`.
 * - `failed`: the trail cannot be written, or the file or the trail is not what was written; nothing is given out. Left when the
 *   trail can be written again, or an operator comes after the files were mended, to where the vault was.
 *
 * The machine may stop in any state, without a word: then its name went to another host, or the node stops. `life` ends with
 * it; the store stays as it was for the next life of this process.
 */
import { assign, fromCallback, setup } from "xstate";
import type { VAULT_PROTOCOL, VaultState } from "../../protocols/vault/messages.ts";
import type { MailOf } from "../runtime/definition.ts";

type Mail = MailOf<typeof VAULT_PROTOCOL>;

/** What has become true. */
export type VaultEvent =
  | { readonly type: "ABSENT" | "SEALED" | "UNSEALED" }
  | { readonly type: "TROUBLE"; readonly why: string };

/** What the chart makes the vault do. */
export interface VaultEffects {
  /** Opens everything, and tells the chart; what it returns closes everything. */
  live(tell: (event: VaultEvent) => void): () => void;
  hello(mail: Extract<Mail, { readonly type: "hello" }>, look: Look): void;
  operation(mail: Extract<Mail, { readonly type: "operation" }>, look: Look): void;
}

export type ChartState = VaultState | "starting";

/** Tells the chart's state at the time at which it is called, and why it has failed if it has. */
export type Look = () => { readonly state: ChartState; readonly why: string };

export const vaultMachine = setup({
  types: {
    context: {} as { readonly effects: VaultEffects; readonly why: string },
    events: {} as Mail | VaultEvent,
    input: {} as VaultEffects,
  },
  actors: {
    life: fromCallback<VaultEvent, VaultEffects>(({ input, sendBack }) => input.live(sendBack)),
  },
  actions: {
    hello: ({ context, event, self }) => {
      if (event.type === "hello") context.effects.hello(event, lookAt(self));
    },
    operation: ({ context, event, self }) => {
      if (event.type === "operation") context.effects.operation(event, lookAt(self));
    },
    rememberWhy: assign({ why: ({ event }) => (event.type === "TROUBLE" ? event.why : "") }),
    forgetWhy: assign({ why: "" }),
  },
}).createMachine({
  id: "vault",
  context: ({ input }) => ({ effects: input, why: "" }),
  invoke: { src: "life", input: ({ context }) => context.effects },
  initial: "starting",
  on: { hello: { actions: "hello" }, operation: { actions: "operation" } },
  states: {
    starting: { on: { ABSENT: "uninitialised", SEALED: "sealed", UNSEALED: "unsealed", TROUBLE: "failed" } },
    uninitialised: { on: { UNSEALED: "unsealed", TROUBLE: "failed" } },
    sealed: { on: { UNSEALED: "unsealed", TROUBLE: "failed" } },
    unsealed: { on: { SEALED: "sealed", TROUBLE: "failed" } },
    failed: {
      entry: "rememberWhy",
      exit: "forgetWhy",
      on: { ABSENT: "uninitialised", SEALED: "sealed", UNSEALED: "unsealed", TROUBLE: { actions: "rememberWhy" } },
    },
  },
});

function lookAt(self: { getSnapshot(): { value: unknown; context: { why: string } } }): Look {
  return () => {
    const { value, context } = self.getSnapshot();
    return { state: value as ChartState, why: context.why };
  };
}
