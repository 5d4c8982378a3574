import { setTimeout as pause } from "node:timers/promises";
import type { Command } from "commander";
import type { Cli } from "../cli.ts";
import { addExamples } from "../examples.ts";
import { addSwarmOptions, duration, type SwarmFlags } from "../options.ts";
import { withSwarm } from "../swarm.ts";
import { TopFeed, type TopView } from "../top/feed.ts";
import { type FrameOptions, frame, plainText, SORTS, scrollEnd } from "../top/frame.ts";
import { type Key, Screen } from "../top/screen.ts";

interface Flags extends SwarmFlags {
  readonly interval?: number;
  readonly once?: boolean;
}

const INTERVAL_MS = 2_000;
/** Each look asks the broker a dozen questions. */
const MIN_INTERVAL_MS = 500;
/** A little more than the second between two heartbeats. */
const FIRST_LOOK_MS = 1_200;

export function addTop(program: Command, cli: Cli): void {
  const command = addSwarmOptions(program.command("top"))
    .summary("watch the swarm: lanes, nodes, rates, what waits, runs long or fails")
    .description(
      "Shows the swarm as it goes on. On a terminal: q quits, p pauses the display, s sorts the lanes by something else, arrows and " +
        "PageUp/PageDown scroll. Into a pipe it prints a snapshot each interval, with --json one object a line.",
    )
    .option("--interval <time>", "how often it looks (default: 2s, at least 500ms)", duration)
    .option("--once", "one snapshot, and end")
    .action(async (flags: Flags) => {
      const shows = process.stdout.isTTY === true && !flags.json && !flags.once && cli.env["TERM"] !== "dumb";
      // A line of the log would stand in the middle of the picture, which says itself what is wrong.
      const asked = shows && flags.logLevel === undefined ? { ...flags, logLevel: "silent" as const } : flags;
      await withSwarm(cli, asked, "observer", async (swarm) => {
        const intervalMs = Math.max(MIN_INTERVAL_MS, flags.interval ?? INTERVAL_MS);
        if (shows) await watch(cli, new LiveTop(swarm, cli, intervalMs));
        else await print(cli, flags, swarm, intervalMs);
      });
    });
  addExamples(command, [
    ["vgas top", "watch until q"],
    ["vgas top --once", "one snapshot as text"],
    ["vgas top --json --interval 10s", "an object every ten seconds"],
  ]);
}

type Viewer = ConstructorParameters<typeof TopFeed>[0];

async function print(cli: Cli, { json, once }: Flags, viewer: Viewer, intervalMs: number): Promise<void> {
  const { terminal, interrupt } = cli;
  const feed = new TopFeed(viewer, () => undefined);
  const ended = AbortSignal.any([interrupt.signal, terminal.readerGone]);
  const wait = (ms: number): Promise<unknown> => pause(ms, undefined, { signal: ended }).catch(() => undefined);
  await feed.start();
  try {
    await wait(FIRST_LOOK_MS);
    while (!ended.aborted) {
      const view = await feed.look();
      if (!terminal.data(json ? JSON.stringify(asJson(view)) : `${plainText(view, terminal.outStyle)}\n`))
        await terminal.drained();
      if (once) return;
      await wait(intervalMs);
    }
    if (interrupt.received !== undefined) cli.exitCode = interrupt.exitCode;
  } finally {
    feed.stop();
  }
}

function asJson({ activity, ...view }: TopView): object {
  const { tasksPerSecond, lanes, nodes, failing } = activity;
  return {
    ...view,
    tasksPerSecond,
    rates: { lanes: Object.fromEntries(lanes), nodes: Object.fromEntries(nodes) },
    failing,
  };
}

async function watch(cli: Cli, top: LiveTop): Promise<void> {
  const { interrupt } = cli;
  await top.run(interrupt.signal);
  if (interrupt.received !== undefined) cli.exitCode = interrupt.exitCode;
}

/** The live view: looks, draws, and obeys keys. */
class LiveTop {
  readonly #feed: TopFeed;
  readonly #screen = new Screen(process.stdout, process.stdin);
  readonly #cli: Cli;
  readonly #intervalMs: number;
  readonly #ended = new AbortController();
  #view: TopView;
  #paused = false;
  #sort = 0;
  #scroll = 0;

  constructor(viewer: Viewer, cli: Cli, intervalMs: number) {
    this.#cli = cli;
    this.#intervalMs = intervalMs;
    this.#feed = new TopFeed(viewer, () => this.#show(this.#feed.known()));
    this.#view = this.#feed.known();
  }

  /** Until it is quit, or `asked` is aborted, or the swarm cannot be looked at. */
  async run(asked: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([this.#ended.signal, asked]);
    const aborted = new Promise<undefined>((resolve) => {
      signal.addEventListener("abort", () => resolve(undefined), { once: true });
    });
    await this.#feed.start();
    this.#screen.open(
      (key) => this.#press(key),
      () => this.#draw(),
    );
    try {
      this.#draw();
      for (let first = true; !signal.aborted; first = false) {
        await pause(first ? FIRST_LOOK_MS : this.#intervalMs, undefined, { signal }).catch(() => undefined);
        if (signal.aborted) break;
        // Who quits need not wait for answers that may not come.
        const view = await Promise.race([this.#feed.look(), aborted]);
        if (view !== undefined) this.#show(view);
      }
    } finally {
      this.#screen.close();
      this.#feed.stop();
    }
  }

  #show(view: TopView): void {
    if (this.#paused) return;
    this.#view = view;
    this.#draw();
  }

  #draw(): void {
    const options = this.#options();
    this.#scroll = Math.min(this.#scroll, scrollEnd(this.#view, options));
    this.#screen.draw(frame(this.#view, { ...options, scroll: this.#scroll }));
  }

  #options(): FrameOptions {
    const { columns, rows } = this.#screen;
    const sort = SORTS[this.#sort % SORTS.length] ?? "rate";
    return { columns, rows, style: this.#cli.terminal.outStyle, sort, scroll: this.#scroll, paused: this.#paused };
  }

  #press(key: Key): void {
    const page = Math.max(1, this.#screen.rows - 5);
    const by: Readonly<Record<string, number>> = {
      ...{ up: -1, down: 1, pageup: -page, pagedown: page },
      ...{ home: Number.NEGATIVE_INFINITY, end: Number.POSITIVE_INFINITY },
    };
    if (key === "quit") this.#ended.abort();
    else if (key === "p") this.#paused = !this.#paused;
    else if (key === "s") this.#sort++;
    else if (by[key] !== undefined) this.#scroll = Math.max(0, this.#scroll + by[key]);
    if (!this.#ended.signal.aborted) this.#draw();
  }
}
