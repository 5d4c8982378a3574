import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { isDialable, isOnLink, keyOf, usableInterfaces } from "../../../src/actors/discovery/interfaces.ts";
import { ipv4 } from "./memory-network.ts";

const ORDINARY = ["eth0", "enp3s0", "wlan0", "wlp2s0", "en0", "br0", "bond0", "Ethernet", "Wi-Fi", "eno1.100"];
const LEFT_OUT = [
  ...["docker0", "docker_gwbridge", "br-0123456789ab", "veth1a2b3c", "virbr0", "vnet3", "cni0", "flannel.1", "cali123"],
  ...["tun0", "tap0", "wg0", "utun4", "tailscale0", "ztabcdef", "lxcbr0", "lxdbr0", "podman1", "vmnet8", "vboxnet0"],
  ...["vEthernet (WSL)", "ppp0", "awdl0", "bridge100"],
];

const names = (all: Record<string, ReturnType<typeof ipv4>[]>, asked: readonly string[] = []) =>
  usableInterfaces(all, asked).map(({ name }) => name);

describe("usable interfaces", () => {
  test.each(ORDINARY)("%s is used", (name) => {
    expect(names({ [name]: [ipv4("10.0.0.1")] })).toEqual([name]);
  });

  test.each(LEFT_OUT)("%s is left out, unless it is asked for by name or by address", (name) => {
    const all = { [name]: [ipv4("10.0.0.1")], eth0: [ipv4("10.1.0.1")] };
    expect(names(all)).toEqual(["eth0"]);
    expect(names(all, [name])).toEqual([name]);
    expect(names(all, ["10.0.0.1"])).toEqual([name]);
  });

  test("the loopback is used only if it is asked for", () => {
    const all = { lo: [ipv4("127.0.0.1", "255.0.0.0", true)] };
    expect(names(all)).toEqual([]);
    expect(names(all, ["lo"])).toEqual(["lo"]);
  });

  test("a point-to-point address and an interface without IPv4 are left out", () => {
    const v6 = { ...ipv4("10.0.0.1"), family: "IPv6" as const, address: "fe80::1", scopeid: 2 };
    expect(names({ eth0: [ipv4("10.0.0.1", "255.255.255.255")], eth1: [v6], eth2: [] })).toEqual([]);
  });

  test("a link-local address serves where there is no other", () => {
    const local = ipv4("169.254.3.4", "255.255.0.0");
    expect(usableInterfaces({ eth0: [local] }, [])).toMatchObject([{ address: "169.254.3.4" }]);
    expect(usableInterfaces({ eth0: [local, ipv4("10.0.0.1")] }, [])).toMatchObject([{ address: "10.0.0.1" }]);
  });

  test("an address that is asked for is the one that is sent from", () => {
    const all = { eth0: [ipv4("10.0.0.1"), ipv4("10.0.1.1")] };
    const [first] = usableInterfaces(all, ["10.0.1.1"]);
    expect(first).toMatchObject({ address: "10.0.1.1", addresses: [{ address: "10.0.1.1" }, { address: "10.0.0.1" }] });
    expect(usableInterfaces(all, ["eth7"])).toEqual([]);
  });

  test("a key changes with every address and netmask", () => {
    const key = (...own: ReturnType<typeof ipv4>[]) => usableInterfaces({ eth0: own }, []).map(keyOf);
    const base = key(ipv4("10.0.0.1"));
    expect(key(ipv4("10.0.0.1"))).toEqual(base);
    for (const other of [[ipv4("10.0.0.2")], [ipv4("10.0.0.1", "255.0.0.0")], [ipv4("10.0.0.1"), ipv4("10.0.1.1")]]) {
      expect(key(...other)).not.toEqual(base);
    }
  });
});

describe("addresses", () => {
  const octet = fc.integer({ min: 0, max: 255 });

  test("exactly those with the bits of the netmask in common are on the link", () => {
    fc.assert(
      fc.property(
        fc.tuple(octet, octet, octet, octet),
        fc.integer({ min: 0, max: 32 }),
        fc.nat(31),
        (own, bits, flip) => {
          const number = own.reduce((sum, part) => sum * 256 + part, 0);
          const other = (number ^ (1 << (31 - flip))) >>> 0;
          const netmask = bits === 0 ? 0 : (0xffffffff << (32 - bits)) >>> 0;
          const address = text(number);
          const on = { name: "eth0", address, addresses: [{ address, netmask: text(netmask) }] };
          expect(isOnLink(address, on)).toBe(true);
          expect(isOnLink(text(other), on)).toBe(flip >= bits);
        },
      ),
    );
  });

  test.each([
    ["10.0.0.1", "10.0.0.9", true],
    ["127.0.0.1", "10.0.0.9", false],
    ["127.0.0.1", "127.0.0.1", true],
    ["0.0.0.0", "10.0.0.9", false],
    ["224.0.0.251", "10.0.0.9", false],
    ["255.255.255.255", "10.0.0.9", false],
    ["fe80::1", "10.0.0.9", false],
    ["10.0.0.1\n", "10.0.0.9", false],
  ])("%j announced by %s can be dialled: %s", (address, source, expected) => {
    expect(isDialable(address, source)).toBe(expected);
  });
});

function text(number: number): string {
  return [24, 16, 8, 0].map((shift) => (number >>> shift) & 255).join(".");
}
