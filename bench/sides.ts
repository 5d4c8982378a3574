/** What is compared, as tables and the picture name it. */
import type { Bar } from "./benchmark.ts";

export const FLOOR = "raw JetStream, no dispatch (the floor)";
export const BULLMQ = "BullMQ on Redis";
/** Jobs as `add` submits them. */
export const BULLMQ_ONE_BY_ONE = `${BULLMQ}, one by one`;
export const ONE_BY_ONE = "vgas, one by one";

export function arraysOf(size: number): string {
  return `vgas, arrays of ${size}`;
}

export function kindOf(name: string): Bar["of"] {
  if (name === FLOOR) return "floor";
  return name.startsWith(BULLMQ) ? "rival" : "vgas";
}
