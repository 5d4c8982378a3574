import type { Clock, Random } from "../../protocols/clock.ts";

/** Longest pause after a lost swap, ms: about what one swap takes, so that contenders do not collide in step. */
const LOST_SWAP_JITTER_MS = 1;
/**
 * More swaps than this are lost in a row only where nobody wins: a leader that its cluster has left refuses every one until it notices.
 * The pause doubles with each then, up to a quarter of a second.
 */
const LOST_TO_OTHERS = 6;
const MAX_DOUBLINGS = 8;

/** Pauses after `lostInRow` swaps of the rotation were lost one after the other. */
export async function pauseAfterLostSwap(lostInRow: number, clock: Clock, random: Random): Promise<void> {
  const doublings = Math.min(Math.max(0, lostInRow - LOST_TO_OTHERS), MAX_DOUBLINGS);
  const mostMs = LOST_SWAP_JITTER_MS * 2 ** doublings;
  await new Promise<void>((resolve) => clock.setTimeout(resolve, random() * mostMs));
}
