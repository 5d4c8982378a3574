/**
 * Whether the processes of the soak hold as little at the end as they did when they were warm. Pure.
 *
 * Both moments are quiet: no task waits or runs, no fault strikes, and every process has collected its garbage. A process that was
 * started again is held against what its first life held: it is the same program.
 */
import type { Sample } from "./probes.ts";

export interface Watched {
  readonly name: string;
  readonly role: "dispatcher" | "host" | "client" | "broker";
  readonly lives: number;
  readonly warm: Sample;
  readonly end: Sample;
}

/**
 * Code that is compiled later, and tables that grow by doubling, are no leak; both are bounded. What is lost for each of a million
 * tasks, or for each of hundreds of faults, is more than this: 10 bytes a task, or 20 KiB a fault.
 */
const HEAP = { factor: 1.25, bytes: 4 * 2 ** 20 } as const;
/** Buffers of sockets and of msgpackr are taken in large pieces. */
const EXTERNAL = { factor: 1.25, bytes: 8 * 2 ** 20 } as const;
/** A connection is there or not: none more. The second is one that is just being closed. */
const SOCKETS = 1;
const FILES = 2;
/** Timers of what goes on by itself: heartbeats, look-ups, pings, pulls. They come and go by a few. */
const TIMERS = 6;
/** Threads of libuv and of V8 are started on demand, four of each at most. */
const THREADS = 4;

/** What is more than it may be, a sentence each. */
export function leaks(watched: readonly Watched[]): readonly string[] {
  const found = watched.flatMap((member) => (member.role === "broker" ? [] : ofProcess(member)));
  const brokers = watched.filter(({ role }) => role === "broker");
  const [warm, end] = (["warm", "end"] as const).map((when) =>
    brokers.reduce((sum, each) => sum + each[when].sockets, 0),
  );
  // Who is connected to which broker changes with each fault; how many are, in all, does not.
  if (end !== undefined && warm !== undefined && end > warm + SOCKETS)
    found.push(`the brokers have ${end} sockets in all, ${warm} when they were warm`);
  return found;
}

function ofProcess({ name, warm, end }: Watched): readonly string[] {
  const found: string[] = [];
  const judge = (
    what: string,
    at: keyof Sample,
    limit: (warm: number) => number,
    show: (n: number) => string,
  ): void => {
    const [before, after] = [warm[at], end[at]];
    if (before === undefined || after === undefined || after <= limit(before)) return;
    found.push(
      `${name} has ${show(after)} ${what}, ${show(before)} when it was warm: more than ${show(limit(before))}`,
    );
  };
  judge("of heap", "heap", (n) => n * HEAP.factor + HEAP.bytes, mebibytes);
  judge("of buffers", "external", (n) => n * EXTERNAL.factor + EXTERNAL.bytes, mebibytes);
  judge("sockets", "sockets", (n) => n + SOCKETS, String);
  judge("files", "files", (n) => n + FILES, String);
  judge("timers", "timers", (n) => n + TIMERS, String);
  judge("threads", "threads", (n) => n + THREADS, String);
  return found;
}

export function mebibytes(bytes: number): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`;
}
