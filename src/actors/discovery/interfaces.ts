/** Which network interfaces discovery uses. Pure. */
import { isIPv4 } from "node:net";
import type { NetworkInterfaceInfo } from "node:os";

/** As `os.networkInterfaces` tells them. */
export type AllInterfaces = Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>;

export interface AddressOnLink {
  readonly address: string;
  readonly netmask: string;
}

export interface LocalInterface {
  readonly name: string;
  /** What we send from. */
  readonly address: string;
  /** All IPv4 addresses of the interface, the one that we send from first. */
  readonly addresses: readonly AddressOnLink[];
}

/**
 * Interfaces of containers, virtual machines and tunnels: who is at their other end is on this machine, or on no link of ours.
 * A bridge with a name of the administrator's own (`br0`) is an ordinary interface.
 */
const LEFT_OUT = new RegExp(
  `^(?:${[
    ...[
      "docker",
      "docker_gwbridge",
      "br-[0-9a-f]{6,}",
      "veth",
      "virbr",
      "vnet",
      "vmnet",
      "vboxnet",
      "lxc",
      "lxd",
      "incus",
    ],
    ...[
      "podman",
      "cni",
      "flannel",
      "cali",
      "cilium",
      "weave",
      "kube-",
      "nodelocaldns",
      "nerdctl",
      "vethernet",
      "bridge\\d{3}",
    ],
    ...[
      "tun",
      "tap",
      "wg",
      "utun",
      "tailscale",
      "zt",
      "ipsec",
      "ppp",
      "gif",
      "stf",
      "sit",
      "gre",
      "ip6tnl",
      "nordlynx",
    ],
    ...["awdl", "llw", "anpi", "ifb", "dummy"],
  ].join("|")})`,
  "i",
);

/** One host alone on a link: there is nobody to discover. */
const POINT_TO_POINT = "255.255.255.255";

/**
 * Every interface with an IPv4 address on a real link; with `asked` (names or addresses) exactly those that were asked for, whatever
 * they are. A link-local address (169.254/16) is used where the interface has no other.
 */
export function usableInterfaces(all: AllInterfaces, asked: readonly string[]): readonly LocalInterface[] {
  return Object.entries(all).flatMap(([name, infos = []]) => {
    const own = infos.filter(({ family, address }) => family === "IPv4" && isIPv4(address));
    const wanted = asked.length > 0 ? askedFor(name, own, asked) : ordinary(name, own);
    const [first] = [...wanted].sort((a, b) => Number(isLinkLocal(a.address)) - Number(isLinkLocal(b.address)));
    if (first === undefined) return [];
    const rest = own.filter((info) => info !== first);
    const addresses = [first, ...rest].map(({ address, netmask }) => ({ address, netmask }));
    return [{ name, address: first.address, addresses }];
  });
}

function askedFor(name: string, own: readonly NetworkInterfaceInfo[], asked: readonly string[]) {
  return asked.includes(name) ? own : own.filter(({ address }) => asked.includes(address));
}

function ordinary(name: string, own: readonly NetworkInterfaceInfo[]) {
  if (LEFT_OUT.test(name)) return [];
  return own.filter(({ internal, netmask }) => !internal && netmask !== POINT_TO_POINT);
}

/** Differs as soon as anything does by which we send, receive or announce. */
export function keyOf({ name, addresses }: LocalInterface): string {
  return [name, ...addresses.map(({ address, netmask }) => `${address}/${netmask}`)].join(" ");
}

/** True if `address` is a neighbour on this interface's link. RFC 6762, 11: nobody else is listened to. */
export function isOnLink(address: string, { addresses }: LocalInterface): boolean {
  const other = toNumber(address);
  return addresses.some((own) => {
    const mask = toNumber(own.netmask);
    return (other & mask) >>> 0 === (toNumber(own.address) & mask) >>> 0;
  });
}

/** True for an IPv4 address at which another machine, or this one on `source`'s own terms, can be dialled. */
export function isDialable(address: string, source: string): boolean {
  if (!isIPv4(address)) return false;
  const first = Number(address.split(".", 1)[0]);
  return first !== 0 && first < 224 && (first !== 127 || source.startsWith("127."));
}

function isLinkLocal(address: string): boolean {
  return address.startsWith("169.254.");
}

function toNumber(address: string): number {
  return address.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
}
