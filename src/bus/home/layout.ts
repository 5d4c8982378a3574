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
  /** The vault's file, its trail and its price table. */
  readonly vault: string;
  readonly nats: {
    readonly dir: string;
    readonly config: string;
    readonly users: string;
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
  return {
    dir,
    node: join(dir, "node.json"),
    lock: join(dir, "lock"),
    credentials: join(dir, "credentials"),
    credentialsLock: join(dir, "credentials", "lock"),
    vault: join(dir, "vault"),
    nats: {
      dir: nats,
      config: join(nats, "nats-server.conf"),
      users: join(nats, "users.conf"),
      store: join(nats, "store"),
      log: join(nats, "nats-server.log"),
      stderr: join(nats, "nats-server.stderr"),
      record: join(nats, "broker.json"),
    },
  };
}
