/**
 * The highest stream sequences handed out, one for each priority: first deliveries come in order within a priority's
 * consumer, and only there. A rotation record carries them in a header.
 */
import { PRIORITIES, type Priority } from "../../protocols/subjects.ts";

export type Dealt = Readonly<Record<Priority, number>>;

export const NOTHING_DEALT: Dealt = Object.freeze({ high: 0, normal: 0, low: 0 });

/** `normal` alone where the others are not used. */
export function writeDealt({ high, normal, low }: Dealt): string {
  return high === 0 && low === 0 ? String(normal) : `${normal},${high},${low}`;
}

export function readDealt(header: string | undefined): Dealt {
  const [normal, high, low] = (header ?? "").split(",").map((part) => Number(part) || 0);
  return { high: high ?? 0, normal: normal ?? 0, low: low ?? 0 };
}

/** The higher of both, of each priority. */
export function laterDealt(a: Dealt, b: Dealt): Dealt {
  return { high: Math.max(a.high, b.high), normal: Math.max(a.normal, b.normal), low: Math.max(a.low, b.low) };
}

/** Where these tasks end. */
export function dealtBy(tasks: readonly { readonly priority: Priority; readonly sequence: number }[]): Dealt {
  const dealt = { high: 0, normal: 0, low: 0 };
  for (const { priority, sequence } of tasks) if (sequence > dealt[priority]) dealt[priority] = sequence;
  return dealt;
}

/** The first of them to be served first, in their order otherwise. */
export function byPriority<T extends { readonly priority: Priority }>(tasks: readonly T[]): T[] {
  return PRIORITIES.flatMap((priority) => tasks.filter((task) => task.priority === priority));
}
