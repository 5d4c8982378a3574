/** Says in a file when each execution begins. `hold` tasks last until the file of their round is there, but only the first time. */
import { appendFileSync, existsSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { defineAgent } from "vgas";

interface Order {
  readonly begins: string;
  /** Holds the first execution until it exists. */
  readonly until?: string;
  readonly ms?: number;
}

export default defineAgent<Order>({
  kind: "hold",
  instances: 4,
  slots: 8,
  async run({ id, input }, { attempt, host, signal }) {
    appendFileSync(input.begins, `${id} ${attempt} ${host} ${Date.now()}\n`);
    if (input.ms !== undefined) await pause(input.ms, undefined, { signal });
    while (attempt === 1 && input.until !== undefined && !existsSync(input.until))
      await pause(50, undefined, { signal });
  },
});
