/** The ways between one server of a cluster and the others. */
import type { TcpProxy } from "../../support/proxy.ts";

export class Routes {
  readonly #ways: readonly TcpProxy[];

  constructor(ways: readonly TcpProxy[]) {
    this.#ways = ways;
  }

  /** Bytes that were lost on them so far. */
  get lost(): number {
    return this.#ways.reduce((sum, { struck }) => sum + struck.dropped, 0);
  }

  /** From now on everything on them is lost. `told`: the connections end, else both ends have to find out by themselves. */
  cut(told: boolean): void {
    for (const way of this.#ways) {
      way.toServer.drop = true;
      way.toClient.drop = true;
      if (told) way.reset();
    }
  }

  heal(): void {
    for (const way of this.#ways) way.heal();
  }
}
