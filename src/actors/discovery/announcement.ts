/** The records by which a node announces itself on one interface. */
import type { Service } from "bonjour-service";
import { formatText, SERVICE, type SelfDescription } from "../../protocols/discovery.ts";
import type { LocalInterface } from "./interfaces.ts";

/** The class, which is loaded only when it is needed. */
export type ServiceClass = typeof Service;

/** How long our records hold. A node that was killed is forgotten after it, also by other implementations. */
export const ANNOUNCED_TTL_S = 120;

/**
 * What bonjour-service would announce, but with the addresses of this interface alone, where it takes those of all, and with one TTL,
 * where it announces the pointer to a service for eight hours.
 */
export function announcementOf(
  ServiceType: ServiceClass,
  self: SelfDescription,
  on: LocalInterface,
  ttlS: number,
): ReturnType<Service["records"]> {
  const { hostId, httpPort } = self;
  const host = `${hostId}.local`;
  const config = { name: hostId, type: SERVICE, port: httpPort, host, txt: formatText(self) };
  const service = new ServiceType(config, nothing, nothing);
  const records = service.records().filter(({ type }) => type !== "A" && type !== "AAAA");
  const addresses = on.addresses.map(({ address }) => ({ name: host, type: "A" as const, ttl: ttlS, data: address }));
  return [...records, ...addresses].map((record) => ({ ...record, ttl: ttlS }));
}

function nothing(): void {
  // The service is never started by bonjour-service: it would announce what its own `records` says.
}
