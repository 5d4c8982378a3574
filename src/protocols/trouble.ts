/** What keeps a node or a swarm from its work, or is about to. */
import { z } from "zod";

export interface Trouble {
  /** A sentence without its end. */
  readonly what: string;
  /** What somebody can do about it, if it does not go away by itself. */
  readonly remedy: string;
}

/** Texts of others are shown no longer than this. */
const MAX_TEXT = 600;
const MAX_TROUBLES = 20;

const text = z.string().transform((value) => value.slice(0, MAX_TEXT));

/** What a node says of itself with the statistics of its micro service. */
export const nodeReport = z.object({
  v: z.literal(1),
  /** Its wall clock, ms since the epoch. */
  at: z.number(),
  troubles: z.array(z.object({ what: text, remedy: text })).transform((troubles) => troubles.slice(0, MAX_TROUBLES)),
});
export type NodeReport = z.infer<typeof nodeReport>;
