/**
 * Agents of a world of faults: they write down what they do before they do it, into a file of their process in VGAS_FAULTS_DIR,
 * and obey orders in the input.
 */
import { appendFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { defineAgent, TaskError } from "vgas";
import { type Began, type Ended, moment } from "./history.ts";

export interface Order {
  /** How long it runs. */
  readonly ms?: number;
  /** It fails, as one that may be tried again, before this attempt. */
  readonly failUntil?: number;
  /** It fails for good. */
  readonly fail?: boolean;
  /** Blocks the event loop for so many ms, before attempt `blockUntil`. */
  readonly block?: number;
  readonly blockUntil?: number;
}

const FILE = join(process.env["VGAS_FAULTS_DIR"] ?? ".", `ran-${process.pid}-${Date.now()}.jsonl`);

function write(entry: Began | Ended): void {
  appendFileSync(FILE, `${JSON.stringify(entry)}\n`);
}

const WORKED = {
  instances: 4,
  slots: 4,
  async run(
    { id, pool, kind, input }: { id: string; pool: string; kind: string; input: Order | null },
    ctx: { signal: AbortSignal; attempt: number; agent: string; host: string; readonly ticket: number },
  ): Promise<{ attempt: number }> {
    const { attempt, agent, host, ticket } = ctx;
    const who = { id, attempt, agent, host, pid: process.pid };
    write({ type: "began", at: moment(), pool, kind, ticket, ...who });
    let threw = true;
    try {
      if (input?.block !== undefined && attempt < (input.blockUntil ?? Number.POSITIVE_INFINITY)) block(input.block);
      if (input?.ms !== undefined) await pause(input.ms, undefined, { signal: ctx.signal });
      if (input?.fail === true) throw new TaskError("ORDERED", "as ordered", { retryable: false });
      if (attempt < (input?.failUntil ?? 0)) throw new TaskError("ORDERED", "as ordered", { retryable: true });
      threw = false;
      return { attempt };
    } finally {
      write({ type: "ended", at: moment(), ...who, threw });
    }
  },
} as const;

function block(ms: number): void {
  const until = moment() + ms;
  while (moment() < until);
}

export default [
  defineAgent<Order | null>({ kind: "work", backoff: { initialMs: 100, factor: 1 }, ...WORKED }),
  defineAgent<Order | null>({ kind: "other", ...WORKED }),
];
