/** What this machine has to have: Node, a home, nats-server, ports, and certificates that are still good. */
import { X509Certificate } from "node:crypto";
import { createSocket } from "node:dgram";
import { constants, type Stats } from "node:fs";
import { access, readFile, stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import { errnoOf } from "../../bus/home/files.ts";
import type { HomeLayout } from "../../bus/home/layout.ts";
import { locateNatsServer } from "../../bus/nats-server/locate.ts";
import { requirePort } from "../../bus/nats-server/port.ts";
import { isAtLeast } from "../../bus/versions.ts";
import { type Check, failed, ok, warning } from "./check.ts";

const MINIMUM_NODE = "20.19.0";
const MDNS_PORT = 5_353;
const DAY_MS = 24 * 3_600_000;
const RENEW_WITHIN_MS = 30 * DAY_MS;
/** A swarm without backlog stays far below; below it the broker may have to refuse tasks any moment. */
const SCARCE_BYTES = 2 ** 30;
const TOO_FEW_BYTES = 64 * 2 ** 20;

export function checkNode(version = process.versions.node): Check {
  return isAtLeast(version, MINIMUM_NODE)
    ? ok("node", version)
    : failed("node", `${version} is older than ${MINIMUM_NODE}`, "install a current one: https://nodejs.org");
}

export async function checkHome(dir: string): Promise<readonly Check[]> {
  const status = await stat(dir).catch((error: unknown) => errnoOf(error) ?? String(error));
  if (status === "ENOENT") return await newHome(dir);
  if (typeof status === "string")
    return [failed("home", `${dir} cannot be looked at: ${status}`, "give another --home")];
  return [modeOf(dir, status), await roomOf(dir)];
}

async function newHome(dir: string): Promise<readonly Check[]> {
  let parent = dirname(dir);
  while (parent !== dirname(parent) && (await isAbsent(parent))) parent = dirname(parent);
  const refused = await access(parent, constants.W_OK | constants.X_OK).then(
    () => undefined,
    (error: unknown) => errnoOf(error) ?? String(error),
  );
  if (refused !== undefined)
    return [failed("home", `${dir} cannot be made in ${parent}: ${refused}`, "give a --home that you may write to")];
  return [ok("home", `${dir} is not there yet and will be made`), await roomOf(parent)];
}

async function isAbsent(path: string): Promise<boolean> {
  return await access(path).then(
    () => false,
    () => true,
  );
}

function modeOf(dir: string, status: Stats): Check {
  if (!status.isDirectory()) return failed("home", `${dir} is no directory`, "give another --home");
  if (process.getuid !== undefined && status.uid !== process.getuid())
    return failed("home", `${dir} belongs to another user`, "run vgas as that user, or give another --home");
  const mode = status.mode & 0o777;
  if ((mode & 0o077) !== 0) {
    return failed("home", `${dir} is open to others (mode ${mode.toString(8)})`, `chmod 700 ${JSON.stringify(dir)}`);
  }
  return ok("home", `${dir} is private`);
}

async function roomOf(dir: string): Promise<Check> {
  const { bavail, bsize } = await statfs(dir);
  const bytes = bavail * bsize;
  const message = `${(bytes / 2 ** 30).toFixed(1)} GiB free for ${dir}`;
  const remedy = "make room: without it the broker refuses tasks and results";
  if (bytes < TOO_FEW_BYTES) return failed("disk", message, remedy);
  return bytes < SCARCE_BYTES ? warning("disk", message, remedy) : ok("disk", message);
}

/** `needed`: this node would run a broker of its own. */
export async function checkServerBinary(needed: boolean): Promise<Check> {
  try {
    const { path, version } = await locateNatsServer();
    return ok("nats-server", `${version} (${path})`);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const remedy = "run `npm run setup`, or set VGAS_NATS_SERVER to the path of one";
    return needed
      ? failed("nats-server", message, remedy)
      : warning("nats-server", `${message}. It is not needed to join, or with --nats`, remedy);
  }
}

/** `flag` is how another port is given. */
export async function checkPort(check: string, host: string, port: number, flag: string): Promise<Check> {
  if (port === 0) return ok(check, "a free one will be picked");
  return await requirePort(host, port, flag).then(
    () => ok(check, `${port} is free`),
    (error: unknown) => failed(check, error instanceof Error ? error.message : String(error), `give ${flag} N, or 0`),
  );
}

/** Shared, as every mDNS responder of the machine has it. */
export async function checkMdns(port = MDNS_PORT): Promise<Check> {
  const refused = await new Promise<string | undefined>((resolve) => {
    const socket = createSocket({ type: "udp4", reuseAddr: true });
    socket.once("error", (error) => resolve(errnoOf(error) ?? error.message));
    socket.bind(port, () => socket.close(() => resolve(undefined)));
  });
  if (refused === undefined) return ok("mdns", `UDP port ${port} can be shared`);
  return warning(
    "mdns",
    `UDP port ${port} cannot be opened: ${refused}`,
    "stop what holds it alone, or do without mDNS: --no-mdns, and --peer HOST:PORT where nodes join",
  );
}

/** The server's certificate, where this home's node leads a swarm on a network; undefined without one. */
export async function checkServerCertificate(layout: HomeLayout, nowMs: number): Promise<Check | undefined> {
  const pem = await readFile(layout.authority.serverCertificate, "utf8").catch(() => undefined);
  return pem === undefined
    ? undefined
    : checkCertificate("certificate", pem, nowMs, "start the node again with `vgas up --lan`: it renews it");
}

/** The first certificate of `pem`. */
export function checkCertificate(check: string, pem: string, nowMs: number, remedy: string): Check {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(pem);
  } catch (error) {
    return failed(check, `it cannot be read: ${error instanceof Error ? error.message : String(error)}`, remedy);
  }
  const [from, to] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)];
  const until = new Date(to).toISOString().slice(0, 10);
  if (nowMs < from) return failed(check, `it is not valid before ${certificate.validFrom}`, "set the machine's clock");
  if (nowMs >= to) return failed(check, `it ended on ${until}`, remedy);
  const message = `valid until ${until}, ${Math.floor((to - nowMs) / DAY_MS)} days`;
  return to - nowMs < RENEW_WITHIN_MS ? warning(check, message, remedy) : ok(check, message);
}
