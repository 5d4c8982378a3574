/** Asks an actor of the swarm over a client's connection. */
import { readReply, writeMessage } from "../actors/runtime/wire.ts";
import type { Bus } from "../bus/bus.ts";
import { ACTOR_HEADERS } from "../protocols/actor-messages.ts";
import type { Names } from "../protocols/subjects.ts";

export interface AskOptions {
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** Its name, and its host if each host has one of that name. */
export interface Address {
  readonly name: string;
  readonly hostId?: string;
}

/**
 * What the actor answers; unchecked.
 *
 * @throws VgasError what the actor refuses with; UNDELIVERABLE if nobody has that mailbox, PERMISSION_DENIED, TIMEOUT, ABORTED
 */
export async function askActor(
  bus: Bus,
  names: Names,
  { name, hostId }: Address,
  message: { readonly type: string },
  { timeoutMs, signal }: AskOptions,
): Promise<unknown> {
  const headers = { [ACTOR_HEADERS.timeoutMs]: String(Math.ceil(timeoutMs)) };
  const options = { timeoutMs, headers, ...(signal && { signal }) };
  const { data } = await bus.request(
    `${name}.${message.type}`,
    names.actor(name, hostId),
    writeMessage(message),
    options,
  );
  return readReply(data);
}
