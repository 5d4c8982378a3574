import { join } from "node:path";

/**
 * Where everything in a home is. All directories are 0700, so what the broker writes itself (log, store) is private too;
 * files of vgas are 0600.
 */
export interface HomeLayout {
  readonly dir: string;
  /** The node's id and prefix. */
  readonly node: string;
  /** Generations of the home's lock. */
  readonly lock: string;
  /** `<user>.nk` (seed) and `<user>.json` (role, public key). */
  readonly credentials: string;
  /** Generations of the lock that issuers of credentials take in turn. */
  readonly credentialsLock: string;
  /** The certificate authority of the swarm that this home's node leads, and its server's certificate. */
  readonly authority: {
    readonly dir: string;
    /** Id of the swarm. */
    readonly swarm: string;
    readonly caCertificate: string;
    readonly caKey: string;
    /** The server's certificate, followed by the authority's. */
    readonly serverCertificate: string;
    readonly serverKey: string;
  };
  /** Who may be let in: `tokens/<id>.json` and `pending/<hostId>.json`. */
  readonly admission: {
    readonly dir: string;
    readonly tokens: string;
    readonly pending: string;
  };
  /** What this home is in a swarm that another node leads: credential and certificate authority. */
  readonly membership: {
    readonly dir: string;
    readonly record: string;
    readonly seed: string;
    readonly caCertificate: string;
  };
  /** The vault's file, its trail and its price table. */
  readonly vault: string;
  readonly nats: {
    readonly dir: string;
    readonly config: string;
    /** Accounts, users and what they may do: generated. */
    readonly accounts: string;
    /** The `tls` block, or nothing: generated. */
    readonly tls: string;
    readonly store: string;
    readonly log: string;
    /** What the server says before it has opened its log, and the trace of a crash. */
    readonly stderr: string;
    /** Which process is the broker, and where it listens. */
    readonly record: string;
  };
}

/** `dir` is absolute and free of symbolic links: it is part of the broker's command line, by which it is found again. */
export function layoutOf(dir: string): HomeLayout {
  const nats = join(dir, "nats");
  const authority = join(dir, "authority");
  const admission = join(dir, "admission");
  const membership = join(dir, "membership");
  return {
    dir,
    node: join(dir, "node.json"),
    lock: join(dir, "lock"),
    credentials: join(dir, "credentials"),
    credentialsLock: join(dir, "credentials", "lock"),
    authority: {
      dir: authority,
      swarm: join(authority, "swarm.json"),
      caCertificate: join(authority, "ca.crt"),
      caKey: join(authority, "ca.key"),
      serverCertificate: join(authority, "server.crt"),
      serverKey: join(authority, "server.key"),
    },
    admission: { dir: admission, tokens: join(admission, "tokens"), pending: join(admission, "pending") },
    membership: {
      dir: membership,
      record: join(membership, "membership.json"),
      seed: join(membership, "node.nk"),
      caCertificate: join(membership, "ca.crt"),
    },
    vault: join(dir, "vault"),
    nats: {
      dir: nats,
      config: join(nats, "nats-server.conf"),
      accounts: join(nats, "accounts.conf"),
      tls: join(nats, "tls.conf"),
      store: join(nats, "store"),
      log: join(nats, "nats-server.log"),
      stderr: join(nats, "nats-server.stderr"),
      record: join(nats, "broker.json"),
    },
  };
}
