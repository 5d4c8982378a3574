/** Tells whoever waits at a terminal how joining a swarm goes. */
import type { EnrolEvent } from "../admission/enrol-event.ts";
import { printable } from "./style.ts";
import type { Terminal } from "./terminal.ts";

/** Says each thing once: what is tried again for hours would be told for hours. */
export function teller(terminal: Terminal): (text: string) => void {
  const told = new Set<string>();
  return (text) => {
    if (!told.has(text)) terminal.note(`vgas: ${text}`);
    told.add(text);
  };
}

export function enrolText(event: EnrolEvent): string {
  const where = printable("where" in event ? event.where : "");
  switch (event.type) {
    case "pending":
      return (
        `waiting to be let in. Fingerprint ${event.fingerprint}; if the swarm's side shows just that for ${event.user}, there: ` +
        `vgas approve ${event.user} --fingerprint ${event.fingerprint}`
      );
    case "rejected":
      return `not let in by ${where}: ${printable(event.why)}`;
    case "joined":
      return `joined the swarm ${event.swarmId} as ${event.user}, ${event.role}; the credential is in the home`;
    default:
      return `${event.type} ${where}`;
  }
}
