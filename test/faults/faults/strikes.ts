/** What strikes of processes have in common. */
import { setTimeout as pause } from "node:timers/promises";
import { moment } from "../history.ts";
import { between } from "../random.ts";
import type { Member, NodeMember, World } from "../world.ts";

/** Writes down that `fault` struck `member`, and after `work` that it is over. */
export async function struck(world: World, fault: string, member: Member, work: () => Promise<void>): Promise<void> {
  world.record({ type: "struck", at: moment(), fault, process: member.name });
  await work();
  world.record({ type: "healed", at: moment(), fault, process: member.name });
}

/** SIGKILL, a while without it, and its next life. Rejects if it was not alive. */
export async function killAndStart(member: Member, downMs: number): Promise<void> {
  if (!member.alive) throw new Error(`${member.name} was to be killed and does not run`);
  await member.kill();
  await pause(downMs);
  await member.start();
}

/** SIGTERM, and its next life. Rejects if it did not end with 0. */
export async function stopAndStart(member: Member): Promise<void> {
  const code = await member.stop();
  if (code !== 0) throw new Error(`${member.name} was told to stop and ended with ${code}`);
  await member.start();
}

/** SIGSTOP until `work` is over, then SIGCONT. */
export async function paused(member: Member, work: () => Promise<void>): Promise<void> {
  member.signal("SIGSTOP");
  try {
    await work();
  } finally {
    member.signal("SIGCONT");
  }
}

/** Stops a host, so that nothing of it goes on, when what it runs is as wanted. It is to be killed, or sent SIGCONT. */
export async function stoppedAt(
  world: World,
  host: NodeMember,
  wanted: (running: readonly string[]) => boolean,
): Promise<void> {
  await world.until(`${host.name} to run what is wanted`, () => {
    if (!wanted(world.running(host))) return false;
    host.signal("SIGSTOP");
    if (wanted(world.running(host))) return true;
    host.signal("SIGCONT");
    return false;
  });
}

/** Waits until some dispatcher put it out of the rotation, or one that began anew has never heard of it. */
export async function evicted(world: World, { hostId, name }: NodeMember, since: number): Promise<void> {
  await world.until(
    `${name} to be put out of the rotation`,
    () => world.evictions.some(({ host, at }) => host === hostId && at >= since) || !world.inRotation(hostId),
  );
}

/** A time without a member: often short, at times long enough for its heartbeats to be missed. */
export function downTime(random: () => number): number {
  return random() < 0.5 ? between(random, 0, 300) : between(random, 1_000, 4_500);
}

/** Waits until what struck `member` is over: results are stored again, and a host is in the rotation. */
export async function goesOn(world: World, member: NodeMember): Promise<void> {
  const stored = world.results;
  await world.until("results to be stored", () => world.results > stored + 5);
  if (world.hosts.includes(member))
    await world.until(`${member.name} to be in the rotation`, () => world.inRotation(member.hostId));
}
