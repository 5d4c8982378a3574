import type { Heartbeat } from "../../src/protocols/host-messages.ts";

/** The heartbeat of an idle host with one agent for `echo`; `fields` replace what a test is about. */
export function heartbeatOf(fields: Partial<Heartbeat> = {}): Heartbeat {
  return {
    ...{ v: 1, host: "h", run: "r", seq: 0, at: 0, pid: 1, machine: "m", roles: [] },
    ...{ lagMs: 0, stalled: false, draining: false, started: 0, finished: 0, failed: 0 },
    groups: [{ pool: "default", kinds: ["echo"], first: 0, count: 1, slots: 1 }],
    running: [0],
    ...fields,
  };
}
