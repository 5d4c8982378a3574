/**
 * Finds a nats-server that is new enough, or brings one.
 *
 * In this order: VGAS_NATS_SERVER; PATH; the cache of this checkout; the official release; Debian. The version is asked of the
 * binary itself, every time. One that is too old is never used, and is named as skipped.
 */
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, renameSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fetchFromDebian } from "./broker-debian.mjs";
import { fetchRelease } from "./broker-release.mjs";
import { compareVersions, isNewEnough, MINIMUM_VERSION, versionOf } from "./broker-version.mjs";
import { paths } from "./checkout.mjs";
import { readJsonIfThere, removeLeftover, unique, writeWhole } from "./files.mjs";
import { reasonOf, SetupError, say } from "./log.mjs";
import { withSetupLock } from "./setup-lock.mjs";

/** @typedef {import("./broker-version.mjs").Broker} Broker */

const BINARY = process.platform === "win32" ? "nats-server.exe" : "nats-server";

/**
 * @returns {Promise<Broker>}
 * @throws {SetupError} with everything that was tried, and what the user can do
 */
export async function ensureBroker() {
  const named = process.env["VGAS_NATS_SERVER"];
  // It is not recorded: the next run may not have the variable, and the run time reads it first on its own.
  if (named !== undefined && named !== "") return demand(named);

  /** @type {string[]} */
  const tried = [];
  const local = findLocal(tried);
  if (local !== undefined) return record(local);
  return withSetupLock(async () => {
    // Another set-up may have brought one while this one waited.
    const brought = newestCached([]);
    return record(brought ?? (await bring(tried)));
  });
}

/**
 * @param {string} path
 * @returns {Broker}
 */
function demand(path) {
  const version = versionOf(path);
  if (version !== undefined && isNewEnough(version)) return { path, version };
  throw new SetupError(
    `VGAS_NATS_SERVER names ${path}, which is ${version === undefined ? "no nats-server that runs here" : `version ${version}`}; ` +
      `vgas needs ${MINIMUM_VERSION} or newer. Unset it, or name a newer one.`,
  );
}

/**
 * @param {string[]} tried
 * @returns {Broker | undefined}
 */
function findLocal(tried) {
  const onPath = (process.env["PATH"] ?? "")
    .split(delimiter)
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, BINARY))
    .find((path) => existsSync(path));
  const fromPath = onPath === undefined ? undefined : usable(onPath, tried);
  if (onPath === undefined) tried.push("PATH: no nats-server there");
  return fromPath ?? newestCached(tried);
}

/**
 * @param {string[]} tried
 * @returns {Broker | undefined}
 */
function newestCached(tried) {
  const versions = existsSync(paths.brokers) ? readdirSync(paths.brokers) : [];
  for (const version of versions.sort((a, b) => compareVersions(b, a))) {
    const path = join(paths.brokers, version, BINARY);
    const found = existsSync(path) ? usable(path, tried) : undefined;
    if (found !== undefined) return found;
  }
  return undefined;
}

/**
 * @param {string} path
 * @param {string[]} tried
 * @returns {Broker | undefined}
 */
function usable(path, tried) {
  const version = versionOf(path);
  if (version !== undefined && isNewEnough(version)) return { path, version };
  const reason =
    version === undefined
      ? `${path} does not run as nats-server`
      : `${path} is version ${version}, older than ${MINIMUM_VERSION}`;
  tried.push(`skipped: ${reason}`);
  say(`skipped: ${reason}`);
  return undefined;
}

/**
 * @param {string[]} tried
 * @returns {Promise<Broker>}
 */
async function bring(tried) {
  say(`no nats-server ${MINIMUM_VERSION} or newer on this machine yet`);
  /** @type {[string, (workDir: string) => Promise<string>][]} */
  const sources = [
    ["official release", fetchRelease],
    ["Debian", fetchFromDebian],
  ];
  for (const [name, fetchInto] of sources) {
    mkdirSync(paths.cache, { recursive: true });
    const workDir = mkdtempSync(join(paths.cache, "fetch-"));
    const clean = () => removeLeftover(workDir);
    process.once("exit", clean);
    try {
      return keep(await fetchInto(workDir));
    } catch (error) {
      tried.push(`${name}: ${reasonOf(error)}`);
      say(`${name}: ${reasonOf(error)}`);
    } finally {
      process.off("exit", clean);
      clean();
    }
  }
  throw new SetupError(helpText(tried));
}

/**
 * Puts a fetched binary into the cache under the version that it reports itself.
 * @param {string} fetched
 * @returns {Broker}
 */
function keep(fetched) {
  chmodSync(fetched, 0o755);
  const version = versionOf(fetched);
  if (version === undefined) throw new Error("the fetched nats-server does not run on this machine");
  if (!isNewEnough(version)) throw new Error(`it has only ${version}, older than ${MINIMUM_VERSION}`);
  const path = join(paths.brokers, version, BINARY);
  mkdirSync(join(paths.brokers, version), { recursive: true });
  // Outside the versions' folders, so that a half copied file is never seen as a broker.
  const temporary = join(paths.cache, `nats-server.${unique()}`);
  copyFileSync(fetched, temporary);
  chmodSync(temporary, 0o755);
  renameSync(temporary, path);
  say(`nats-server ${version} is ready in ${path}`);
  return { path, version };
}

/**
 * @param {Broker} broker
 * @returns {Broker}
 */
function record(broker) {
  const known = readJsonIfThere(paths.brokerRecord);
  if (known?.["path"] !== broker.path || known["version"] !== broker.version) {
    writeWhole(paths.brokerRecord, `${JSON.stringify(broker)}\n`);
  }
  return broker;
}

/** @param {readonly string[]} tried */
function helpText(tried) {
  return [
    `no nats-server ${MINIMUM_VERSION} or newer could be found or fetched. Tried:`,
    ...tried.map((line) => `  - ${line}`),
    "Install one and try again (or set VGAS_NATS_SERVER to its path):",
    "  macOS             brew install nats-server",
    "  Windows           scoop install nats-server    or    choco install nats-server",
    "  Debian, Ubuntu    apt install nats-server    (only from a release that has 2.12 or newer)",
    "  with Go           go install github.com/nats-io/nats-server/v2@latest",
    "  with Docker       docker create --name nats nats:2 && docker cp nats:/nats-server .",
  ].join("\n");
}
