/**
 * Where things are in this checkout.
 *
 * What set-up brings lives in `.cache/` of the checkout: unlike `node_modules/.cache` it survives `npm ci`, and unlike a folder
 * in the user's home it goes away with the checkout and two checkouts never wait for, or break, each other.
 */
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

export const paths = Object.freeze({
  lockfile: join(root, "package-lock.json"),
  nodeModules: join(root, "node_modules"),
  dist: join(root, "dist"),
  src: join(root, "src"),
  cache: join(root, ".cache"),
  /** Holds `<version>/nats-server`. */
  brokers: join(root, ".cache", "nats-server"),
  /** `{path, version}` of the broker that set-up chose; src/bus reads it at run time. */
  brokerRecord: join(root, ".cache", "nats-server.json"),
  setupLock: join(root, ".cache", "setup.lock"),
});
