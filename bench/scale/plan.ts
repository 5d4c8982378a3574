/** How large the swarms of one run are, and how many tasks go through them. */
export interface Plan {
  readonly tasks: number;
  /** Agents of one host; the last is judged. */
  readonly agents: readonly number[];
  readonly hosts: readonly number[];
  readonly lanes: readonly number[];
  /** Bytes of a task, and how many of them are submitted. */
  readonly bytes: readonly { readonly bytes: number; readonly tasks: number }[];
  /** Tasks that wait, at least; without any the long queue is left out. */
  readonly waiting: number;
}

export function planOf({ quick }: { readonly quick: boolean }): Plan {
  if (quick) {
    // Most of it is starting processes.
    const tasks = 500;
    return {
      tasks,
      agents: [200],
      hosts: [],
      lanes: [],
      bytes: [
        { bytes: 100, tasks },
        { bytes: 1_000, tasks },
      ],
      waiting: 0,
    };
  }
  return {
    tasks: 15_000,
    agents: [1_000, 10_000],
    hosts: [2, 4, 8],
    lanes: [5, 20, 100],
    bytes: [
      { bytes: 100, tasks: 10_000 },
      { bytes: 1_000, tasks: 8_000 },
      { bytes: 10_000, tasks: 3_000 },
      { bytes: 100_000, tasks: 400 },
    ],
    waiting: 1_000_000,
  };
}
