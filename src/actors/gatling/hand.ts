/**
 * What a lane has pulled and not handed over yet, and the arrays of which an element is not settled.
 *
 * 1. What it holds is kept alive, also while a swap is under way for it: while nobody leads the record that takes longer than
 *    `ack_wait`.
 * 2. What comes when nothing is to be kept goes back to the stream; what was pulled before the broker started anew comes back by
 *    itself.
 */
import type { Bus } from "../../bus/bus.ts";
import { workingOnTask } from "../../bus/pull.ts";
import type { LaneName } from "../../protocols/subjects.ts";
import { byPriority } from "./dealt.ts";
import type { ArrayInHand, TaskInHand } from "./task-in-hand.ts";

export interface HandOptions {
  readonly lane: LaneName;
  readonly bus: Bus;
  /** The lane neither stands still nor stops. */
  readonly keeps: () => boolean;
  /** Returns tasks to the stream that were not handed over. */
  readonly giveBack: (lane: LaneName, tasks: readonly TaskInHand[]) => void;
  /** Records of tasks that were not handed over, and whose messages come back by themselves, that they did not run. */
  readonly disown: (lane: LaneName, tasks: readonly TaskInHand[]) => void;
}

export class Hand {
  readonly #options: HandOptions;
  readonly #arrays = new Set<ArrayInHand>();
  #tasks: TaskInHand[] = [];
  /** Taken out for the swap that is under way. */
  #swapping: readonly TaskInHand[] = [];
  #mixed = false;
  #generation = 0;

  constructor(options: HandOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#tasks.length;
  }

  /** All of it, with what is taken out for a swap. */
  get tasks(): readonly TaskInHand[] {
    return [...this.#swapping, ...this.#tasks];
  }

  /** Arrays of which an element is not settled. */
  get openArrays(): number {
    return this.#arrays.size;
  }

  /** Counts the restarts of the broker. */
  get generation(): number {
    return this.#generation;
  }

  /** Tasks besides those of normal priority are in it, so that it has to be put in order. */
  get mixed(): boolean {
    return this.#mixed;
  }

  /** Behind the others. */
  add(tasks: readonly TaskInHand[]): void {
    this.#tasks.push(...this.#ours(tasks));
  }

  /** Before the others. */
  putBack(tasks: readonly TaskInHand[]): void {
    this.#tasks = [...this.#ours(tasks), ...this.#tasks];
  }

  /** Leaves only what `choose` keeps. */
  sift(choose: (tasks: TaskInHand[]) => readonly TaskInHand[]): void {
    const kept = choose(this.#tasks);
    if (kept !== this.#tasks) this.#tasks = [...kept];
  }

  /** Takes out the first `count`, in the order of their priorities; `swapped` ends the swap that they are taken for. */
  takeForSwap(count: number): readonly TaskInHand[] {
    if (this.#mixed) this.#sort();
    const tasks = this.#tasks.splice(0, count);
    this.#swapping = tasks;
    return tasks;
  }

  swapped(): void {
    this.#swapping = [];
  }

  addArray(array: ArrayInHand): void {
    this.#arrays.add(array);
  }

  removeArray(array: ArrayInHand): void {
    this.#arrays.delete(array);
  }

  /** All of it goes back to the stream. */
  giveBack(): void {
    const tasks = this.#tasks;
    this.#tasks = [];
    this.#options.giveBack(this.#options.lane, tasks);
  }

  /** The broker started anew and may have forgotten that it delivered what is here: it may come a second time. */
  brokerRestarted(): void {
    this.#generation++;
    const tasks = this.#tasks;
    this.#tasks = [];
    this.#arrays.clear();
    this.#options.disown(this.#options.lane, tasks);
  }

  /** Tells the broker that what is here is still wanted. Called more often than `ack_wait`. */
  keepAlive(): void {
    const { bus } = this.#options;
    for (const tasks of [this.#tasks, this.#swapping])
      for (const task of tasks) if (task.ack !== "") workingOnTask(bus, task.ack);
    for (const array of this.#arrays) workingOnTask(bus, array.ack);
  }

  /** Those of `tasks` that may still be dealt; the others go back to the stream, or come back by themselves. */
  #ours(tasks: readonly TaskInHand[]): readonly TaskInHand[] {
    const { lane, keeps, giveBack } = this.#options;
    const rest = tasks.every((task) => this.#isFresh(task)) ? tasks : this.#disownStale(tasks);
    this.#mixed ||= rest.some(({ priority }) => priority !== "normal");
    if (keeps()) return rest;
    giveBack(lane, rest);
    return [];
  }

  #isFresh({ generation }: TaskInHand): boolean {
    return generation === this.#generation;
  }

  #disownStale(tasks: readonly TaskInHand[]): readonly TaskInHand[] {
    const { lane, disown } = this.#options;
    disown(
      lane,
      tasks.filter((task) => !this.#isFresh(task)),
    );
    return tasks.filter((task) => this.#isFresh(task));
  }

  /** While `normal` and `low` wait for slots nothing is asked for, so what is in hand is reached whatever its priority. */
  #sort(): void {
    this.#tasks = byPriority(this.#tasks);
    this.#mixed = this.#tasks[0]?.priority === "high" || this.#tasks.at(-1)?.priority === "low";
  }
}
