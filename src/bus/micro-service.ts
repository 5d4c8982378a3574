/** Makes a node visible to the tools of NATS: answers the discovery requests of micro services. */
import {
  SERVICE_VERBS,
  type ServiceIdentity,
  type ServiceTotals,
  serviceAnswer,
  serviceSubjects,
} from "../protocols/micro-service.ts";
import type { Bus, Subscription } from "./bus.ts";
import { encodeJson } from "./codec/json.ts";

/**
 * Answers until `stop` is called. `totals` is asked at each `$SRV.STATS`.
 *
 * @throws VgasError PERMISSION_DENIED if the credential does not open `$SRV`
 */
export async function serveDiscovery(
  bus: Bus,
  identity: ServiceIdentity,
  totals: () => ServiceTotals,
): Promise<{ stop(): void }> {
  const subscriptions: Subscription[] = [];
  for (const verb of SERVICE_VERBS) {
    for (const subject of serviceSubjects(verb, identity.id)) {
      const answer = (): Uint8Array => encodeJson(serviceAnswer(verb, identity, totals()));
      subscriptions.push(await bus.subscribe(subject, (message) => void bus.respond(message, answer())));
    }
  }
  return {
    stop: () => {
      for (const subscription of subscriptions) subscription.unsubscribe();
    },
  };
}
