import { assign, setup } from "xstate";
import { z } from "zod";
import type { MailOf } from "../../src/actors/runtime/definition.ts";
import { TaskError } from "../../src/protocols/errors.ts";

export const counterProtocol = {
  add: { schema: z.object({ by: z.number().int() }), reply: z.object({ n: z.number() }) },
  note: { schema: z.object({ text: z.string().max(20) }) },
  /** Answered at the next `release`. */
  hold: { schema: z.object({}), reply: z.string() },
  release: { schema: z.object({}) },
  refuse: { schema: z.object({}), reply: z.null() },
  lie: { schema: z.object({}), reply: z.object({ n: z.number() }) },
  echo: { schema: z.object({ value: z.unknown() }), reply: z.unknown() },
  boom: { schema: z.object({}), reply: z.null() },
  close: { schema: z.object({}) },
  finish: { schema: z.object({}), reply: z.null() },
};

type Mail = MailOf<typeof counterProtocol>;

interface Context {
  readonly n: number;
  readonly notes: readonly string[];
  readonly held: readonly Extract<Mail, { type: "hold" }>[];
}

/** A machine with one message for each thing that can happen to a message. */
export const counterMachine = setup({
  types: { context: {} as Context, events: {} as Mail, input: {} as { start: number } | undefined },
}).createMachine({
  context: ({ input }) => ({ n: input?.start ?? 0, notes: [], held: [] }),
  initial: "open",
  states: {
    open: {
      on: {
        add: {
          actions: [
            assign({ n: ({ context, event }) => context.n + event.by }),
            ({ context, event }) => event.reply({ n: context.n }),
          ],
        },
        note: { actions: assign({ notes: ({ context, event }) => [...context.notes, event.text] }) },
        hold: { actions: assign({ held: ({ context, event }) => [...context.held, event] }) },
        release: {
          actions: [
            ({ context }) => {
              for (const event of context.held) event.reply("released");
            },
            assign({ held: [] }),
          ],
        },
        refuse: { actions: ({ event }) => event.fail(new TaskError("NOT_TODAY", "come back", { retryable: false })) },
        lie: { actions: ({ event }) => event.reply("no number" as never) },
        echo: { actions: ({ event }) => event.reply(event.value) },
        boom: {
          actions: () => {
            throw new Error("boom");
          },
        },
        close: "closed",
        finish: "finished",
      },
    },
    closed: {},
    finished: { type: "final" },
  },
});

export const counter = { machine: counterMachine, protocol: counterProtocol } as const;
