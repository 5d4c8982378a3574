/**
 * How far one peer has come. Events with a state's name are told by who dials it; the others come from the network, where anybody
 * can forge them: a goodbye ends nothing that has got beyond being seen, and silence ends nothing that has joined.
 *
 * - `seen`: it is announced. `dialing`: a connection is being tried. `joining`: it has answered, and we prove or wait.
 * - `joined`: we are in one swarm; whether it lives is the heartbeat's business.
 * - `rejected`: it or we said no; it stays so until it announces something else, or is tried again.
 * - `lost`: it said goodbye or fell silent; the next announcement makes it seen.
 */
import { setup, transition } from "xstate";
import type { PeerState } from "../../protocols/discovery.ts";

export type PeerEvent = {
  readonly type:
    | "SEEN"
    | "DIALING"
    | "JOINING"
    | "JOINED"
    | "REJECTED"
    | "LOST"
    | "ANNOUNCED"
    | "CHANGED"
    | "GOODBYE"
    | "EXPIRED";
};

const TOLD = { DIALING: "dialing", JOINING: "joining", JOINED: "joined", REJECTED: "rejected", LOST: "lost" } as const;

export const peerMachine = setup({ types: { events: {} as PeerEvent } }).createMachine({
  id: "peer",
  initial: "seen",
  states: {
    seen: { on: { ...TOLD, GOODBYE: "lost", EXPIRED: "lost" } },
    dialing: { on: { ...TOLD, SEEN: "seen", EXPIRED: "lost" } },
    joining: { on: { ...TOLD, SEEN: "seen", EXPIRED: "lost" } },
    joined: { on: { ...TOLD, SEEN: "seen" } },
    rejected: { on: { ...TOLD, SEEN: "seen", CHANGED: "seen", GOODBYE: "lost", EXPIRED: "lost" } },
    lost: { on: { ...TOLD, ANNOUNCED: "seen", CHANGED: "seen" } },
  },
});

/** What somebody who dials says of a peer, as an event of its chart. */
export function told(state: PeerState): PeerEvent {
  return { type: state.toUpperCase() as Uppercase<PeerState> };
}

/** What the chart said; it is asked once per arrow, because announcements are many. */
const known = new Map<string, PeerState>();

export function nextPeerState(state: PeerState, event: PeerEvent): PeerState {
  const arrow = `${state} ${event.type}`;
  let next = known.get(arrow);
  if (next === undefined) {
    const [after] = transition(peerMachine, peerMachine.resolveState({ value: state }), event);
    next = after.value;
    known.set(arrow, next);
  }
  return next;
}
