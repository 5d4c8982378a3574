/**
 * The accounts of the embedded server. All of the swarm is in one; each guest is in one of its own, where nothing is stored and
 * nobody else is, and reaches the swarm by these exports and imports only.
 *
 * 1. A guest's publish arrives under `<prefix>.guests.<guest>.…`, which it cannot choose: the name in it is proof of who sent it.
 * 2. A reply subject that a guest names stays in its account: the swarm's side sees one that the server made. So nothing that
 *    it names there makes the server write anywhere.
 * 3. What is published to its inbox and to `<prefix>.guests.<guest>.results.…` is all that comes back.
 */
import { guestRead } from "./roles.ts";
import { inboxPrefix, type Names } from "./subjects.ts";

/** Account of everybody who is trusted with the queue. */
export const SWARM_ACCOUNT = "SWARM";

/** `g` and base32: of one length, so that no guest's name is the beginning of another's. */
const GUEST_NAME = /^g[a-z2-7]{9}$/;

export interface Export {
  /** A service is asked, a stream is heard. */
  readonly kind: "service" | "stream";
  /** With wildcards. */
  readonly subject: string;
}

export interface Import extends Export {
  /** What it is called in the guest's account. */
  readonly to: string;
}

const ANY = "*";

export function isGuestName(user: string): boolean {
  return GUEST_NAME.test(user);
}

export function guestAccount(guest: string): string {
  return `GUEST_${guest}`;
}

/** What the swarm's account offers the guests' accounts. Only those that its own configuration names can import it. */
export function swarmExports(names: Names): readonly Export[] {
  return imports(ANY, names).map(({ kind, subject }) => ({ kind, subject }));
}

/** What the account of `guest` takes from the swarm's. */
export function guestImports(guest: string, names: Names): readonly Import[] {
  return imports(guest, names);
}

function imports(guest: string, names: Names): readonly Import[] {
  const inbox = `${inboxPrefix(guest)}.>`;
  return [
    { kind: "service", subject: names.guest(guest, "tasks", ANY, ANY), to: names.task(ANY, ANY) },
    { kind: "service", subject: names.guest(guest, "read", ANY, ANY), to: guestRead(names) },
    { kind: "stream", subject: names.guest(guest, "results", ANY, ANY), to: names.result(ANY, ANY) },
    { kind: "stream", subject: inbox, to: inbox },
  ];
}
