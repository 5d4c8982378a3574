/**
 * Notices that a home runs twice: a copy of it has the same id and credential, and the two would take each other for an earlier
 * life of themselves for ever.
 *
 * 1. Each node hears the heartbeats of its own id. Those of another `run` that go on for nearly a second are of a copy: the last
 *    beat of a life that was killed, and those that were waiting on a connection, come at once.
 * 2. The younger one ends, by `seq`, the seconds that a run has lived: no wall clock decides. Both judge by what the server
 *    hands them, in its order, so that they are off by a beat and no more.
 * 3. Never both: who is as old as the other, give or take that beat, ends at once if its run is the greater one; who seems to be
 *    hardly younger waits until the other one would have. A run that says that it drains is ending already.
 * 4. A node without agents has no heartbeat, so that nobody else can judge: it makes way for one that has. It answers for its id
 *    (`stats`), so that a copy that starts finds it. Two of them that could not find each other at the start go on as two
 *    dispatchers, whose names differ.
 */
import type { Bus } from "../bus/bus.ts";
import { decode, encode } from "../bus/codec/codec.ts";
import type { Clock } from "../protocols/clock.ts";
import { VgasError } from "../protocols/errors.ts";
import { type Heartbeat, type HostStats, heartbeat } from "../protocols/host-messages.ts";
import type { Logger } from "../protocols/logger.ts";
import type { Names } from "../protocols/subjects.ts";
import type { Link } from "./link.ts";

/** A little less than the second between two heartbeats. */
const APART_MS = 900;
/** In seconds lived: up to the first they count as of one age, from the second on nothing can be taken for the other. */
const SAME_AGE = 1;
const CLEARLY_OLDER = 4;
/** What the other one needs to hear us twice, and to say that it drains; and as much again. */
const PATIENCE_MS = 5_000;
/** Runs that are remembered: a copy that somebody starts again and again has many. */
const MAX_RUNS = 8;
const MAX_MACHINE_CHARS = 64;

export interface CopyWatchOptions {
  readonly bus: Bus;
  readonly names: Names;
  readonly link: Pick<Link, "hostId" | "server">;
  readonly run: string;
  /** It has agents, and so a heartbeat; without, this answers for its id. */
  readonly beats: boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Ends the node. */
  readonly fail: (error: VgasError) => void;
}

/** Another run that was heard. */
interface Sighting {
  readonly firstAt: number;
  told: boolean;
}

/**
 * Ends the node with HOME_COPIED if it is the younger one of two with its id. To be called before its heartbeat starts. Returns
 * what stops the watch.
 *
 * @throws VgasError PERMISSION_DENIED if the credential does not open the heartbeats of the node's own id
 */
export async function watchForCopies(options: CopyWatchOptions): Promise<() => void> {
  const { bus, names, link, run, beats } = options;
  // Nobody else has a credential for the id of the broker's owner.
  if (link.server !== undefined) return () => undefined;
  const { hostId } = link;
  const watch = new CopyWatch(options);
  const subscriptions = [await bus.subscribe(names.heartbeat(hostId), ({ data }) => watch.hear(data))];
  if (!beats) {
    const stats: HostStats = { v: 1, host: hostId, run, lanes: [], running: [], abandoned: 0 };
    subscriptions.push(
      await bus.subscribe(names.host(hostId, "stats"), (message) => void bus.respond(message, encode(stats))),
    );
  }
  return () => {
    for (const subscription of subscriptions) subscription.unsubscribe();
  };
}

class CopyWatch {
  readonly #options: CopyWatchOptions;
  readonly #others = new Map<string, Sighting>();
  /** Seconds that this run has lived, by its newest heartbeat that came back; none has come yet, or it has none. */
  #age = Number.NEGATIVE_INFINITY;
  #ended = false;

  constructor(options: CopyWatchOptions) {
    this.#options = options;
  }

  hear(data: Uint8Array): void {
    const { link, run, clock } = this.#options;
    const beat = parse(data);
    if (beat === undefined || beat.host !== link.hostId || this.#ended) return;
    if (beat.run === run) this.#age = beat.seq;
    else if (beat.draining) this.#others.delete(beat.run);
    else {
      const sighting = this.#sighting(beat.run);
      this.#judge(beat, sighting, clock.monotonic() - sighting.firstAt);
    }
  }

  #sighting(run: string): Sighting {
    const known = this.#others.get(run);
    if (known) return known;
    const [oldest] = this.#others.keys();
    if (oldest !== undefined && this.#others.size >= MAX_RUNS) this.#others.delete(oldest);
    const sighting = { firstAt: this.#options.clock.monotonic(), told: false };
    this.#others.set(run, sighting);
    return sighting;
  }

  #judge(beat: Heartbeat, sighting: Sighting, heardForMs: number): void {
    if (heardForMs < APART_MS) return;
    const older = beat.seq - this.#age;
    const sameAge = Math.abs(older) <= SAME_AGE;
    if (sameAge ? this.#options.run > beat.run : older >= CLEARLY_OLDER) this.#makeWay(beat);
    else if (!sameAge && older > 0) {
      if (heardForMs >= PATIENCE_MS) this.#makeWay(beat);
    } else if (!sighting.told) {
      sighting.told = true;
      const { link, logger } = this.#options;
      const fields = { host: link.hostId, machine: machineOf(beat), pid: beat.pid };
      logger.warn(
        fields,
        "another node runs with this node's id, from a copy of its home; it is the younger one and is to end",
      );
    }
  }

  #makeWay(beat: Heartbeat): void {
    this.#ended = true;
    const { link, fail } = this.#options;
    fail(copied(link.hostId, `on ${machineOf(beat)}, pid ${beat.pid}`));
  }
}

/** The node whose id is used by another one that runs; `where` that one is, if it is known. */
export function copied(hostId: string, where?: string): VgasError {
  const other = where === undefined ? "already" : `already (${where})`;
  const message = `a node with the id ${hostId} runs ${other}: this home, or the file of its connection, is a copy of that node's`;
  return new VgasError("HOME_COPIED", `${message}; give this node an empty --home and let it join anew`);
}

/** It names itself: nothing in it may reach a terminal that is more than text. */
function machineOf({ machine }: Heartbeat): string {
  return machine.replaceAll(/[^\x20-\x7e]/g, "?").slice(0, MAX_MACHINE_CHARS);
}

/** Undefined for bytes that are none: the dispatchers say so. */
function parse(data: Uint8Array): Heartbeat | undefined {
  try {
    return heartbeat.parse(decode(data));
  } catch {
    return undefined;
  }
}
