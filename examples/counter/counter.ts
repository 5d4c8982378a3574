/**
 * A counter that can be frozen, as an actor: an XState machine, and the protocol by which anybody in the swarm speaks to it.
 *
 * ```
 *  counting --freeze--> frozen --thaw--> counting
 *     | add, read          | read
 * ```
 *
 * While it is frozen, `add` is refused by the runtime: the machine takes no such event in that state.
 */
import type { MailOf } from "vgas";
import { assign, setup } from "xstate";
import { z } from "zod";

/** Every message: its fields, and what it is answered with. Without `reply` it is one-way. */
export const counterProtocol = {
  add: { schema: z.object({ by: z.number().int() }), reply: z.object({ total: z.number() }) },
  read: { schema: z.object({}), reply: z.object({ total: z.number(), frozen: z.boolean() }) },
  freeze: { schema: z.object({}) },
  thaw: { schema: z.object({}) },
};

export const counterMachine = setup({
  types: {
    context: {} as { total: number },
    events: {} as MailOf<typeof counterProtocol>,
    input: {} as { total: number },
  },
}).createMachine({
  id: "counter",
  context: ({ input }) => ({ total: input.total }),
  initial: "counting",
  states: {
    counting: {
      on: {
        add: {
          actions: [
            assign({ total: ({ context, event }) => context.total + event.by }),
            ({ context, event }) => event.reply({ total: context.total }),
          ],
        },
        read: { actions: ({ context, event }) => event.reply({ total: context.total, frozen: false }) },
        freeze: "frozen",
      },
    },
    frozen: {
      on: {
        read: { actions: ({ context, event }) => event.reply({ total: context.total, frozen: true }) },
        thaw: "counting",
      },
    },
  },
});
