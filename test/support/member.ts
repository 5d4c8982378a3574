/** Homes that a swarm has let in, without its door. */
import { createUser } from "@nats-io/nkeys";
import { ensureAuthority } from "../../src/bus/certificates/authority.ts";
import type { Home } from "../../src/bus/home/home.ts";
import { type Membership, writeMembership } from "../../src/bus/home/membership.ts";
import type { Role } from "../../src/protocols/roles.ts";
import { inboxPrefix } from "../../src/protocols/subjects.ts";
import { temporaryHome } from "./home.ts";

export interface Admitted {
  readonly member: Home;
  readonly made: Membership;
}

/** A home that the swarm of `home` let in as `user`; where that swarm is it has from `where`. */
export async function memberOf(
  home: Home,
  where: Pick<Membership, "urls"> & Partial<Membership>,
  role: Role,
  user: string,
): Promise<Admitted> {
  const member = await temporaryHome();
  const pair = createUser();
  await home.credentials.register({ user, role, publicKey: pair.getPublicKey() });
  const { swarmId, pin, caPem: ca, serverName } = await ensureAuthority(home.layout);
  const made: Membership = {
    ...{ swarmId, pin, ca, serverName, user, role, prefix: "own", doors: [] },
    ...where,
    seed: pair.getSeed().slice(),
    inboxPrefix: inboxPrefix(user),
  };
  await writeMembership(member.layout, made);
  return { member, made };
}
