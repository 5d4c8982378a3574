/** Watches what the processes of the soak hold, and the most that they held. */
import type { Member, World } from "../faults/world.ts";
import type { Watched } from "./criteria.ts";
import { type Probes, type Sample, seen } from "./probes.ts";

interface Seat {
  readonly name: string;
  readonly role: Watched["role"];
  readonly pid: () => number;
}

export class Watch {
  readonly #probes: Probes;
  readonly #seats: readonly Seat[];
  readonly #peaks = new Map<string, number>();

  constructor(world: World, load: { readonly pid: number }, probes: Probes) {
    this.#probes = probes;
    const seats = (role: Seat["role"], members: readonly Member[]): Seat[] =>
      members.map((member) => ({ name: member.name, role, pid: () => member.pid }));
    this.#seats = [
      ...seats("dispatcher", world.dispatchers),
      ...seats("host", world.hosts),
      { name: "load", role: "client", pid: () => load.pid },
      ...seats("broker", world.brokers),
    ];
  }

  /** The most memory that a process of this name was seen to take; bytes. */
  peak(name: string): number {
    return this.#peaks.get(name) ?? 0;
  }

  /** Looks at all processes that run now, without disturbing them. Returns the memory that they take together; bytes. */
  look(): number {
    let sum = 0;
    for (const { name, pid } of this.#seats) {
      try {
        const { rss } = seen(pid());
        this.#peaks.set(name, Math.max(rss, this.peak(name)));
        sum += rss;
      } catch {
        // It is down just now.
      }
    }
    return sum;
  }

  /** What all of them hold after a garbage collection. @throws if one does not answer */
  async hold(): Promise<ReadonlyMap<string, Sample>> {
    this.look();
    return new Map(
      await Promise.all(
        this.#seats.map(
          async ({ name, role, pid }): Promise<[string, Sample]> => [
            name,
            role === "broker" ? seen(pid()) : await this.#probes.held(pid()),
          ],
        ),
      ),
    );
  }

  compare(
    warm: ReadonlyMap<string, Sample>,
    end: ReadonlyMap<string, Sample>,
    lives: (name: string) => number,
  ): readonly Watched[] {
    return this.#seats.flatMap(({ name, role }) => {
      const [before, after] = [warm.get(name), end.get(name)];
      return before && after ? [{ name, role, lives: lives(name), warm: before, end: after }] : [];
    });
  }
}
