/**
 * Faults at named places (src/failpoints): a member is killed or stopped exactly where a step of a task's way begins or has ended, or
 * what it asked for is done and it never learns so.
 *
 * Two strike at once, before and after the same step, so that a course is not only waiting for starts.
 */
import { existsSync, readFileSync } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import type { Failpoint } from "../../../src/failpoints/failpoints.ts";
import type { Fault } from "../fault.ts";
import { moment } from "../history.ts";
import { between, oneOf } from "../random.ts";
import type { NodeMember, World } from "../world.ts";
import { downTime, evicted, struck } from "./strikes.ts";

const WORLDS = ["server", "node", "cluster"] as const;
/** Where results go in batches without forced writes. */
const SINGLE = ["server", "node"] as const;
const BATCHES = ["batch.sent", "batch.stored"] as const;
/** Batches are of sixteen and more then: this load seldom brings so many results at once. */
const FORCED = process.env["VGAS_DURABILITY"] === "power";

/** Passages before it strikes, at most: the load brings so many of each step within a second. */
const MOST_PASSAGES = 20;
/** Elements that leave their array are rarer, and so are batches. */
const MOST_RARE = 3;
const RARE: readonly Failpoint[] = ["move.recorded", "task.moved", ...BATCHES];
/** Longer than `ack_wait`, so that what a dispatcher had in hand is with another when it goes on. */
const LOST_MS = 11_000;

type Who = "dispatchers" | "hosts";

/** How often the next life is given the order with its start, so that it may strike before it is ready. */
const YOUNG = 0.2;

/** The member, or its next life, strikes at the `passage`-th time that it comes to `place`. Resolves with the pid of that life. */
async function arm(
  member: NodeMember,
  place: Failpoint,
  action: "kill" | "stop",
  passage: number,
  random: () => number,
): Promise<number> {
  const order = `${place}=${action}@${passage}`;
  if (random() >= YOUNG) return await member.order(order);
  await member.kill();
  const starting = member.start({ VGAS_FAILPOINTS: order }).catch(() => undefined);
  const { pid } = member;
  const stood = (async () => {
    while (member.pid === pid && member.alive && !isStopped(pid)) await pause(25);
  })();
  await Promise.race([starting, stood]);
  return pid;
}

/** Linux says T of a process that a signal stopped. */
function isStopped(pid: number): boolean {
  const file = `/proc/${pid}/stat`;
  try {
    return existsSync(file) && /\) T /.test(readFileSync(file, "utf8"));
  } catch {
    return false;
  }
}

/** Kills one of `who` at `place`; the world, or we, start it again. */
async function killAt(world: World, who: Who, place: Failpoint, fault: string, random: () => number): Promise<void> {
  await world.take(world[who], random, async (member) => {
    const passage = between(random, 1, RARE.includes(place) ? MOST_RARE : MOST_PASSAGES);
    await struck(world, fault, member, async () => {
      let pid: number;
      let passed: number;
      do {
        const before = world.passed(place, member);
        pid = await arm(member, place, "kill", passage, random);
        await world.until(`${member.name} to die at ${place}`, () => member.pid !== pid || !member.alive);
        passed = world.passed(place, member) - before;
        // In a mixture the swarm may just be away when a life begins: the next one is given the order.
      } while (passed < passage && member.foundNoBroker(pid) && (await started(member)));
      if (passed < passage)
        throw new Error(`${member.name} ended after ${passed} passages of ${place}, not ${passage}`);
      await started(member);
    });
  });
}

/** It runs again; a start that is under way already may be that of a life that dies before it is ready. */
async function started(member: NodeMember): Promise<true> {
  await member.start().catch(() => member.start());
  return true;
}

function killFault(
  name: string,
  who: Who,
  places: readonly [Failpoint, Failpoint],
  reaches: readonly Failpoint[],
  worlds: Fault["worlds"] = WORLDS,
): Fault {
  const fault = `kill-at-${name}`;
  return {
    name: fault,
    worlds,
    reaches: [...places, ...reaches],
    strike: async (world, random) => {
      // One random row each, so that neither hangs on how fast the other is.
      const rows = places.map(() => {
        const row = Array.from({ length: 8 }, random);
        return () => row.shift() ?? random();
      });
      await Promise.all(places.map((place, i) => killAt(world, who, place, fault, rows[i] ?? random)));
    },
  };
}

/** A dispatcher stands still at a step of its own, and a host at one of its own: what they have is done elsewhere meanwhile. */
const DISPATCHER_STEPS = ["pull.after", "swap.before", "swap.after", "burst.before", "burst.after"] as const;
const HOST_STEPS = [
  "receipt.before",
  "receipt.after",
  "run.before",
  "result.before",
  "result.after",
  "ack.before",
] as const;

const stopAt: Fault = {
  name: "stop-at-step",
  worlds: WORLDS,
  reaches: ["task.redelivered", "host.evicted", "task.reassigned"],
  strike: async (world, random) => {
    const [place, hostPlace] = [oneOf(random, DISPATCHER_STEPS), oneOf(random, HOST_STEPS)];
    const forMs = random() < 0.4 ? LOST_MS : downTime(random);
    await Promise.all([
      standStill(world, "dispatchers", place, random, async () => void (await pause(forMs))),
      standStill(world, "hosts", hostPlace, random, (host, since) => evicted(world, host, since)),
    ]);
  },
};

async function standStill(
  world: World,
  who: Who,
  place: Failpoint,
  random: () => number,
  meanwhile: (member: NodeMember, since: number) => Promise<void>,
): Promise<void> {
  await world.take(world[who], random, async (member) => {
    await struck(world, "stop-at-step", member, async () => {
      const pid = await arm(member, place, "stop", between(random, 1, MOST_PASSAGES), random);
      await world.until(`${member.name} to stand still at ${place}`, () => isStopped(pid));
      const since = moment();
      try {
        await meanwhile(member, since);
      } finally {
        member.signal("SIGCONT");
      }
      await world.until(`${member.name} to go on`, () => !isStopped(pid));
    });
  });
}

/** An answer is lost now and then, all the time; `shows` is passed when one was, and was dealt with. */
function lossFault(
  name: string,
  order: string,
  shows: Failpoint,
  reaches: readonly Failpoint[],
  worlds: Fault["worlds"] = WORLDS,
): Fault {
  return {
    name,
    worlds,
    reaches: [...reaches, shows],
    environment: { VGAS_FAILPOINTS: order },
    strike: async (world) => {
      const before = world.passed(shows);
      world.record({ type: "struck", at: moment(), fault: name });
      await world.until(`${shows} to be passed`, () => world.passed(shows) > before);
      world.record({ type: "healed", at: moment(), fault: name });
    },
  };
}

export const FAILPOINT_FAULTS: readonly Fault[] = [
  killFault("pull", "dispatchers", ["pull.before", "pull.after"], ["task.redelivered"]),
  killFault("swap", "dispatchers", ["swap.before", "swap.after"], ["task.redelivered"]),
  killFault("burst", "dispatchers", ["burst.before", "burst.after"], ["task.redelivered"]),
  killFault("move", "dispatchers", ["move.recorded", "task.moved"], ["task.redelivered"]),
  killFault("receipt", "hosts", ["receipt.before", "receipt.after"], ["host.evicted", "burst.recalled"]),
  killFault("run", "hosts", ["run.before", "run.after"], ["host.evicted", "task.reassigned", "task.exhausted"]),
  killFault("result", "hosts", ["result.before", "result.after"], ["host.evicted", "task.reassigned"]),
  killFault("ack", "hosts", ["ack.before", "ack.after"], ["host.evicted", "task.reassigned"]),
  ...(FORCED ? [] : [killFault("batch", "hosts", BATCHES, ["host.evicted", "task.reassigned"], SINGLE)]),
  stopAt,
  lossFault("lose-swap", "swap.answer=lose@3+7", "swap.recovered", ["swap.answer"]),
  // Each costs its sender the time that an answer may take.
  lossFault("lose-publish", "publish.answer=lose@50+149", "result.second", ["publish.answer"]),
  lossFault("lose-batch", "batch.answer=lose@1+3", "result.second", ["batch.answer"], SINGLE),
  lossFault("lose-receipt", "receipt.answer=lose@2+5", "burst.recalled", ["receipt.answer"]),
];
