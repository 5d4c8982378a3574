/** What a fault is: it strikes a world, shows that it did, and is over when `strike` resolves. */
import type { Failpoint } from "../../src/failpoints/failpoints.ts";
import type { World, WorldKind } from "./world.ts";

export interface Fault {
  /** As `--only` takes it. */
  readonly name: string;
  /** Where it can strike. */
  readonly worlds: readonly WorldKind[];
  /** Places that the processes of the world must have passed when it has struck as often as a course lets it. */
  readonly reaches: readonly Failpoint[];
  /** Environment of the world's nodes that it needs from their start. */
  readonly environment?: Readonly<Record<string, string>>;
  /** Why this machine cannot do it; undefined if it can. */
  readonly missing?: () => string | undefined;
  /**
   * Strikes once and heals. Rejects if it did not strike: the process was not killed, nothing was dropped, nothing was full.
   * `random` gives numbers from 0 to 1, the same for the same seed.
   */
  strike(world: World, random: () => number): Promise<void>;
}
