/** Which addresses a brokered call may be connected to. */
import { BlockList, isIP } from "node:net";

/**
 * `public`: anybody's. `private`: of this machine or of a private network, for keys that allow it.
 * `forbidden`: never, whatever a key allows: link-local (where clouds hand out credentials of the machine) and the addresses elsewhere
 * that are known to do that, multicast, unspecified, reserved and documentation addresses, and forms that carry an IPv4 address through
 * a translator.
 */
export type AddressClass = "public" | "private" | "forbidden";

const PRIVATE = listOf(
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["172.16.0.0", 12],
  ["192.168.0.0", 16],
  ["::1", 128],
  ["fc00::", 7],
);

const FORBIDDEN = listOf(
  ["0.0.0.0", 8],
  ["169.254.0.0", 16],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 4],
  ["240.0.0.0", 4],
  // Protocol assignments (Teredo, ORCHID), documentation, 6to4.
  ["2001::", 23],
  ["2001:db8::", 32],
  ["2002::", 16],
  ["3fff::", 20],
);

/** Services of clouds for their machines, credentials among them, that are not link-local. */
const METADATA = listOf(
  // Alibaba.
  ["100.100.100.200", 32],
  ["fd00:100::100:200", 128],
  // Amazon: metadata, identities of pods, names, time.
  ["fd00:ec2::", 32],
  // Azure.
  ["168.63.129.16", 32],
  // Google.
  ["fd20:ce::254", 128],
  // Linode.
  ["fd00:a9fe:a9fe::1", 128],
  // Oracle.
  ["fd00:c1::a9fe:a9fe", 128],
  // Scaleway.
  ["fd00:42::42", 128],
);

/** All that is given out of IPv6 for use in the internet lies in here. */
const GLOBAL_UNICAST = listOf(["2000::", 3]);

/** IPv4 addresses in IPv6 form, `::ffff:a.b.c.d`: the lists above look at the IPv4 address in these by themselves. */
const MAPPED = listOf(["::ffff:0:0", 96]);

/** What is no address at all is forbidden. */
export function classify(address: string): AddressClass {
  const version = isIP(address);
  // A zone (`fe80::1%eth0`) names an interface of this machine.
  if (version === 0 || address.includes("%")) return "forbidden";
  const family = version === 4 ? "ipv4" : "ipv6";
  if (FORBIDDEN.check(address, family) || METADATA.check(address, family)) return "forbidden";
  if (PRIVATE.check(address, family)) return "private";
  if (version === 4) return "public";
  return MAPPED.check(address, family) || GLOBAL_UNICAST.check(address, family) ? "public" : "forbidden";
}

function listOf(...subnets: readonly (readonly [network: string, prefix: number])[]): BlockList {
  const list = new BlockList();
  for (const [network, prefix] of subnets) list.addSubnet(network, prefix, isIP(network) === 4 ? "ipv4" : "ipv6");
  return list;
}
