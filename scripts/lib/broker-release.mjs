/** The official nats-server release for this platform, its checksum verified. */
import { createHash } from "node:crypto";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { say } from "./log.mjs";
import { run } from "./run.mjs";

const RELEASE = "2.15.1";
const BASE_URL = `https://github.com/nats-io/nats-server/releases/download/v${RELEASE}`;
/** The list of checksums is small: a network that does not deliver it in 5 s has no way to the release. */
const CHECKSUMS_TIMEOUT_MS = 5_000;
/** About 7 MB, on a slow line. */
const ARCHIVE_TIMEOUT_MS = 300_000;

/** @type {Partial<Record<NodeJS.Platform, string>>} */
const SYSTEMS = { linux: "linux", darwin: "darwin", win32: "windows", freebsd: "freebsd" };
/** @type {Record<string, string>} */
const MACHINES = {
  x64: "amd64",
  arm64: "arm64",
  arm: "arm7",
  ia32: "386",
  s390x: "s390x",
  ppc64: "ppc64le",
  riscv64: "riscv64",
};

/**
 * @param {string} workDir an empty folder on the caller's account
 * @param {string} [baseUrl] where the release's files are
 * @returns {Promise<string>} path of the binary, inside `workDir`
 * @throws with the reason if there is no release for this platform, no network, or the checksum does not fit
 */
export async function fetchRelease(workDir, baseUrl = BASE_URL) {
  const system = SYSTEMS[process.platform];
  const machine = MACHINES[process.arch];
  if (system === undefined || machine === undefined) {
    throw new Error(`no official release for ${process.platform} ${process.arch}`);
  }
  const folder = `nats-server-v${RELEASE}-${system}-${machine}`;
  const archive = `${folder}${system === "windows" ? ".zip" : ".tar.gz"}`;

  const checksums = (await get(`${baseUrl}/SHA256SUMS`, CHECKSUMS_TIMEOUT_MS)).toString("utf8");
  const expected = checksums
    .split("\n")
    .map((line) => line.trim().split(/\s+\*?/))
    .find(([, name]) => name === archive)?.[0]
    ?.toLowerCase();
  if (expected === undefined) throw new Error(`the release has no checksum for ${archive}`);

  say(`downloading ${archive}`);
  const bytes = await get(`${baseUrl}/${archive}`, ARCHIVE_TIMEOUT_MS);
  const actual = createHash("sha256").update(bytes).digest("hex");
  if (actual !== expected) throw new Error(`${archive} has SHA-256 ${actual}, the release says ${expected}`);

  const file = join(workDir, archive);
  writeFileSync(file, bytes);
  // The tar of Windows 10 and later reads zip files too.
  const { code, stderr } = await run("tar", ["-xf", file, "-C", workDir]);
  if (code !== 0) throw new Error(`tar failed with ${code}: ${stderr.trim().slice(0, 200)}`);
  const binary = join(workDir, folder, system === "windows" ? "nats-server.exe" : "nats-server");
  if (!existsSync(binary)) throw new Error(`${archive} holds no nats-server`);
  return binary;
}

/**
 * @param {string} url
 * @param {number} timeoutMs
 */
async function get(url, timeoutMs) {
  const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) });
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  return Buffer.from(await response.arrayBuffer());
}
