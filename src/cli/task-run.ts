/**
 * Submits a stream of tasks and prints each result as it comes.
 *
 * 1. At most MAX_OPEN tasks are unfinished, and at most MAX_UNSENT_BYTES are on their way into the stream: an input of any
 *    size is read only as fast as it is worked off, and results only as fast as they are read.
 * 2. Every line is either refused (told with its number) or submitted; every submitted one is open until its result is
 *    printed.
 * 3. Whatever ends the run ends `work` at once; counts then tell what is left in the swarm.
 */
import type { Client } from "../client.ts";
import { VgasError } from "../protocols/errors.ts";
import type { TaskResult } from "../protocols/result.ts";
import { jsonLine } from "./json.ts";
import { type Line, readLines, type Source } from "./lines.ts";
import { printable } from "./style.ts";
import { type LineTask, parseTaskLine } from "./task-line.ts";
import type { Terminal } from "./terminal.ts";

/** Enough to keep every agent of a large swarm busy; at some 1 KiB each it is 10 MiB of handles. */
const MAX_OPEN = 10_000;
const MAX_UNSENT_BYTES = 16 * 1024 * 1024;
/** Refused lines that are told one by one. */
const MAX_TOLD = 20;
/** Pause before a stream that was full is tried again, ms. */
const FULL_RETRY_MS = 500;
const FULL: ReadonlySet<string> = new Set(["STREAM_FULL", "LANE_FULL"]);

export interface TaskRunOptions {
  readonly client: Client;
  readonly terminal: Terminal;
  /** Nobody can join the swarm, so a task of a kind that it does not offer is refused instead of waiting for ever. */
  readonly closedSwarm: boolean;
  /** Of lines that name none. */
  readonly kind?: string | undefined;
}

/** Lines and tasks so far. */
export interface RunCounts {
  /** Share of the input that was read, 0..1; undefined where its size is not known. */
  read: number | undefined;
  submitted: number;
  ok: number;
  /** `failed`, `cancelled` or `expired`. */
  failed: number;
  /** Lines that are no task, or that nobody can take. */
  refused: number;
  /** Stored tasks whose result was not printed. */
  open: number;
}

export class TaskRun {
  readonly counts: RunCounts = { read: undefined, submitted: 0, ok: 0, failed: 0, refused: 0, open: 0 };
  readonly #options: TaskRunOptions;
  /** By lane: whether somebody offers it. */
  readonly #offers = new Map<string, Promise<boolean>>();
  #entered = 0;
  #unsentBytes = 0;
  #stopped = false;
  #wake: () => void = () => undefined;
  #fail: (error: unknown) => void = () => undefined;

  constructor(options: TaskRunOptions) {
    this.#options = options;
  }

  /**
   * Resolves with true when every result is printed, with false when `signal` fires before.
   *
   * @throws VgasError what ends a submission other than a task that is wrong
   */
  async work(source: Source, signal: AbortSignal): Promise<boolean> {
    const ended = new Promise<false>((resolve, reject) => {
      this.#fail = reject;
      if (signal.aborted) resolve(false);
      else signal.addEventListener("abort", () => resolve(false), { once: true });
    });
    try {
      return await Promise.race([this.#workOff(source).then(() => true), ended]);
    } finally {
      this.#stopped = true;
      this.#wake();
    }
  }

  async #workOff(source: Source): Promise<void> {
    for await (const line of readLines(this.#counted(source))) {
      if (this.#stopped) return;
      const task = await this.#accept(line);
      if (task === undefined) continue;
      const size = line.bytes?.length ?? 0;
      await this.#until(() => this.#entered < MAX_OPEN && this.#unsentBytes < MAX_UNSENT_BYTES);
      if (this.#stopped) return;
      this.#entered++;
      this.#unsentBytes += size;
      void this.#finish(line.number, task, size);
    }
    await this.#until(() => this.#entered === 0);
  }

  /** The task of a line, unless it is refused or blank. */
  async #accept(line: Line): Promise<LineTask | undefined> {
    try {
      const task = parseTaskLine(line, this.#options.kind);
      if (task === undefined || !this.#options.closedSwarm || (await this.#offered(task))) return task;
      const lane = `kind ${task.kind} in pool ${task.pool ?? this.#options.client.pool}`;
      this.#refuse(line.number, `nobody offers ${lane}; give --module FILE with an agent for it`);
    } catch (error) {
      if (!(error instanceof VgasError) || !isTasksFault(error)) throw error;
      this.#refuse(line.number, error.message);
    }
    return undefined;
  }

  /** Submits one task and prints its result. Never rejects. */
  async #finish(line: number, task: LineTask, size: number): Promise<void> {
    const { client, terminal, closedSwarm } = this.#options;
    let unsent = true;
    const sent = (): void => {
      if (!unsent) return;
      unsent = false;
      this.#unsentBytes -= size;
      this.#wake();
    };
    try {
      if (!closedSwarm) void this.#tellIfUnoffered(task);
      const handle = await this.#submit(client, task);
      this.counts.submitted++;
      this.counts.open++;
      sent();
      const result = await handle.result();
      if (this.#stopped) return;
      this.#count(result);
      if (!terminal.data(jsonLine(result))) await terminal.drained();
    } catch (error) {
      if (this.#stopped) return;
      if (error instanceof VgasError && isTasksFault(error)) this.#refuse(line, error.message);
      else this.#fail(error);
    } finally {
      sent();
      this.#entered--;
      this.#wake();
    }
  }

  /** A full stream or lane is waited for: what it holds is being worked off. */
  async #submit(client: Client, { kind, pool, input, options }: LineTask): ReturnType<Client["submit"]> {
    for (;;) {
      try {
        return await client.submit(kind, input, { ...options, ...(pool !== undefined && { pool }) });
      } catch (error) {
        if (!(error instanceof VgasError) || !FULL.has(error.code) || this.#stopped) throw error;
        await new Promise<void>((resolve) => setTimeout(resolve, FULL_RETRY_MS));
      }
    }
  }

  #count({ status }: TaskResult): void {
    this.counts.open--;
    if (status === "ok") this.counts.ok++;
    else this.counts.failed++;
  }

  #refuse(line: number, why: string): void {
    const told = ++this.counts.refused;
    if (told <= MAX_TOLD) this.#options.terminal.note(`line ${line}: ${printable(why)}`);
    if (told === MAX_TOLD) this.#options.terminal.note("Further lines that are refused are only counted.");
  }

  async #tellIfUnoffered(task: LineTask): Promise<void> {
    const pool = task.pool ?? this.#options.client.pool;
    const known = this.#offers.size;
    const offered = this.#offered(task);
    if (this.#offers.size === known) return;
    // What cannot be asked is not told: the tasks are submitted all the same.
    if (await offered.catch(() => true)) return;
    if (!this.#stopped) {
      this.#options.terminal.note(
        `Nobody offers kind ${task.kind} in pool ${pool} now: its tasks wait until somebody does.`,
      );
    }
  }

  /** Asked once for each lane. */
  #offered({ kind, pool = this.#options.client.pool }: LineTask): Promise<boolean> {
    const lane = `${pool}.${kind}`;
    const asked = this.#offers.get(lane) ?? this.#options.client.offered(pool, kind);
    this.#offers.set(lane, asked);
    return asked;
  }

  async *#counted({ chunks, totalBytes }: Source): AsyncGenerator<Uint8Array, void, undefined> {
    let bytes = 0;
    for await (const chunk of chunks) {
      bytes += chunk.length;
      if (totalBytes !== undefined && totalBytes > 0) this.counts.read = Math.min(1, bytes / totalBytes);
      yield chunk;
    }
  }

  async #until(ready: () => boolean): Promise<void> {
    while (!ready() && !this.#stopped) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

/** Whether the error is about this one task, so that the others can go on. */
function isTasksFault({ code }: VgasError): boolean {
  return code === "INVALID" || code === "TOO_LARGE";
}
