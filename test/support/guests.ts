/** A nats-server with the accounts of a swarm that has guests: as `vgas up` runs it, without its node. */
import { createUser } from "@nats-io/nkeys";
import type { Bus } from "../../src/bus/bus.ts";
import { renderAccounts } from "../../src/bus/credentials/accounts-file.ts";
import { Names } from "../../src/protocols/subjects.ts";
import { type TestNats, useNats } from "./nats.ts";

/** Users with the names of their roles, and the guests. */
export interface GuestSwarm {
  readonly nats: TestNats;
  readonly names: Names;
  bus(user: string): Promise<Bus>;
  seedOf(user: string): Uint8Array;
}

/** Registers the server with the test file, as `useNats` does. */
export function useGuestSwarm(guests: readonly string[]): GuestSwarm {
  const names = new Names();
  const keys = new Map(["system", "client", ...guests].map((user) => [user, createUser()]));
  const users = [...keys].map(([user, key]) => ({
    user,
    role: user === "system" || user === "client" ? (user as "system" | "client") : ("guest" as const),
    publicKey: key.getPublicKey(),
  }));
  const nats = useNats({ config: renderAccounts(users, createUser().getPublicKey(), names) });
  const seedOf = (user: string): Uint8Array => {
    const key = keys.get(user);
    if (key === undefined) throw new Error(`there is no user ${user}`);
    return key.getSeed();
  };
  return { nats, names, seedOf, bus: (user) => nats.bus({ user, seed: seedOf(user) }) };
}
