/**
 * The world and its faults as the soak has them.
 *
 * 1. The last dispatcher and the last host are hidden from whatever would end them, so that two processes live as long as the world
 *    does. What only stops them for a while strikes them too.
 * 2. A strike waits for its member as long as others have it: there are fewer members than faults.
 * 3. No node starts while all brokers are away: it would end with NO_SWARM, as it is to, and somebody would have to start it again.
 */
import type { Fault } from "../faults/fault.ts";
import { isOfCluster } from "../faults/grounds/cluster.ts";
import type { Member, World } from "../faults/world.ts";
import { Gate } from "./gate.ts";

/** Faults that take all brokers at once. */
const TOTAL: readonly string[] = ["all-restart"];
/** Faults that end no node. */
const HARMLESS: readonly string[] = ["host-pause", "dispatcher-pause"];

/** What `World.take` rejects with when it has waited for long. */
const NOBODY_FREE = "a member that nothing strikes";
const MOST_WAITS = 10;

/** The same faults, to be struck with in `world`. */
export function sparing(world: World, faults: readonly Fault[]): readonly Fault[] {
  const gate = new Gate();
  const gated = <M extends Member>(members: readonly M[]): readonly M[] =>
    members.map((member) => {
      const start: Member["start"] = (environment) => gate.together(() => member.start(environment));
      return instead(member, { start } as Partial<M>);
    });
  const [dispatchers, hosts] = [gated(world.dispatchers), gated(world.hosts)];
  const take: World["take"] = async (members, random, work) => {
    for (let wait = 1; ; wait++) {
      try {
        return await world.take(members, random, work);
      } catch (error) {
        if (wait === MOST_WAITS || !String(error).endsWith(NOBODY_FREE)) throw error;
      }
    }
  };
  const whole = instead(world, { dispatchers, hosts, take });
  const spared = instead(world, { dispatchers: dispatchers.slice(0, -1), hosts: hosts.slice(0, -1), take });
  return faults.map((fault) => {
    const strike: Fault["strike"] = (_, random) => fault.strike(HARMLESS.includes(fault.name) ? whole : spared, random);
    return {
      ...fault,
      strike: TOTAL.includes(fault.name) ? (struck, random) => gate.alone(() => strike(struck, random)) : strike,
    };
  });
}

/** After a strike that failed half-way: what it ended is started, what it cut off is joined again. Never rejects. */
export async function mend(world: World): Promise<void> {
  for (const broker of world.brokers) if (isOfCluster(broker)) broker.routes.heal();
  for (const members of [world.brokers, world.dispatchers, world.hosts])
    await Promise.all(members.map((member) => (member.alive ? undefined : member.start().catch(() => undefined))));
}

/** `target` with some of its properties replaced. */
function instead<T extends object>(target: T, replaced: Partial<T>): T {
  return new Proxy(target, {
    get: (_, name) => {
      if (name in replaced) return Reflect.get(replaced, name);
      const value: unknown = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}
