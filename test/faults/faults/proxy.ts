/** Faults of the connection between one member and the broker, made by the proxy between them. */
import { setTimeout as pause } from "node:timers/promises";
import type { TcpProxy } from "../../support/proxy.ts";
import type { Fault } from "../fault.ts";
import { moment } from "../history.ts";
import { between, oneOf } from "../random.ts";
import type { NodeMember, World } from "../world.ts";
import { goesOn, struck } from "./strikes.ts";

const WORLDS = ["server"] as const;
const DELAY_MS = 300;
const MAX_PIECE_BYTES = 60;

type Work = (proxy: TcpProxy) => Promise<void>;

function proxyOf(world: World, name: string): TcpProxy {
  const proxy = world.proxies.get(name);
  if (proxy === undefined) throw new Error(`there is no proxy before ${name}`);
  return proxy;
}

/** Does `work` to the connections of a dispatcher, of a host, or at times of the client; waits until all is well again. */
async function toOne(fault: string, world: World, random: () => number, work: Work): Promise<void> {
  if (random() < 0.15) {
    world.record({ type: "struck", at: moment(), fault, process: "client" });
    await work(proxyOf(world, "client"));
    world.record({ type: "healed", at: moment(), fault, process: "client" });
    return;
  }
  await world.take([...world.dispatchers, ...world.hosts], random, (member) =>
    struck(world, fault, member, async () => {
      await work(proxyOf(world, member.name));
      await goesOn(world, member);
    }),
  );
}

/** Everything comes later, both ways. */
const delay: Fault = {
  name: "proxy-delay",
  worlds: WORLDS,
  reaches: [],
  strike: (world, random) =>
    toOne("proxy-delay", world, random, async (proxy) => {
      const before = proxy.struck.delayed;
      proxy.toServer.delayMs = DELAY_MS;
      proxy.toClient.delayMs = DELAY_MS;
      await pause(between(random, 1_000, 3_000));
      await world.until("something to be delayed", () => proxy.struck.delayed > before);
      proxy.heal();
    }),
};

/** Everything comes in small pieces, many of one byte. */
const split: Fault = {
  name: "proxy-split",
  worlds: WORLDS,
  reaches: [],
  strike: (world, random) =>
    toOne("proxy-split", world, random, async (proxy) => {
      const before = proxy.struck.pieces;
      const piece = (): number => (random() < 0.2 ? 1 : between(random, 1, MAX_PIECE_BYTES));
      proxy.toServer.piece = piece;
      proxy.toClient.piece = piece;
      await pause(between(random, 500, 2_000));
      await world.until("something to be split", () => proxy.struck.pieces > before + 50);
      proxy.heal();
    }),
};

/**
 * What goes one way is lost while the connection stands, at times until pings find that out, for a host and at times for a dispatcher
 * as well.
 */
function drop(name: string, direction: "toServer" | "toClient", reaches: Fault["reaches"]): Fault {
  return {
    name,
    worlds: WORLDS,
    reaches,
    strike: async (world, random) => {
      const lost = async (member: NodeMember, noticed: boolean, ms: number): Promise<void> => {
        const proxy = proxyOf(world, member.name);
        const before = { ...proxy.struck };
        proxy[direction].drop = true;
        await world.until(`${name} to lose something`, () => proxy.struck.dropped > before.dropped);
        if (noticed) await world.until(`${name} to be noticed`, () => proxy.struck.noticed > before.noticed);
        await pause(ms);
        proxy.heal();
        await goesOn(world, member);
      };
      const strike = (members: readonly NodeMember[]): Promise<void> => {
        // Two pings without an answer take up to 15 s.
        const noticed = random() < 0.35;
        const ms = noticed ? between(random, 0, 1_000) : between(random, 3_500, 8_000);
        return world.take(members, random, (member) => struck(world, name, member, () => lost(member, noticed, ms)));
      };
      await Promise.all(random() < 0.3 ? [strike(world.hosts), strike(world.dispatchers)] : [strike(world.hosts)]);
    },
  };
}

/** Its connections are reset, once or a few times in a row. */
const reset: Fault = {
  name: "proxy-reset",
  worlds: WORLDS,
  reaches: [],
  strike: (world, random) =>
    toOne("proxy-reset", world, random, async (proxy) => {
      for (let left = oneOf(random, [1, 1, 2, 3]); left > 0; left--) {
        const before = proxy.struck.resets;
        await world.until("something to reset", () => proxy.connections > 0);
        proxy.reset();
        if (proxy.struck.resets === before) throw new Error("nothing was reset");
        await pause(between(random, 0, 600));
      }
    }),
};

export const PROXY_FAULTS: readonly Fault[] = [
  delay,
  split,
  drop("proxy-drop-in", "toServer", ["host.evicted"]),
  drop("proxy-drop-out", "toClient", ["result.second"]),
  reset,
];
