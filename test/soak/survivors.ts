/**
 * The world and its faults as the soak has them.
 *
 * 1. The last dispatcher and the last host are hidden from whatever would end them, so that two processes live as long as the world
 *    does. What only stops them for a while strikes them too.
 * 2. No node starts while all brokers are away: it would end with NO_SWARM, as it is to, and somebody would have to start it again.
 */
import type { Fault } from "../faults/fault.ts";
import type { Member, World } from "../faults/world.ts";
import { Gate } from "./gate.ts";

/** Faults that take all brokers at once. */
const TOTAL: readonly string[] = ["all-restart"];
/** Faults that end no node. */
const HARMLESS: readonly string[] = ["host-pause", "dispatcher-pause"];

/** The same faults, to be struck with in `world`. */
export function sparing(world: World, faults: readonly Fault[]): readonly Fault[] {
  const gate = new Gate();
  const gated = <M extends Member>(members: readonly M[]): readonly M[] =>
    members.map((member) => {
      const start: Member["start"] = (environment) => gate.together(() => member.start(environment));
      return instead(member, { start } as Partial<M>);
    });
  const [dispatchers, hosts] = [gated(world.dispatchers), gated(world.hosts)];
  const whole = instead(world, { dispatchers, hosts });
  const spared = instead(world, { dispatchers: dispatchers.slice(0, -1), hosts: hosts.slice(0, -1) });
  return faults.map((fault) => {
    const strike: Fault["strike"] = (_, random) => fault.strike(HARMLESS.includes(fault.name) ? whole : spared, random);
    return {
      ...fault,
      strike: TOTAL.includes(fault.name) ? (struck, random) => gate.alone(() => strike(struck, random)) : strike,
    };
  });
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
