/**
 * The newest nats-server of Debian unstable, from the Debian mirror that this machine is already set up with.
 *
 * apt does the download, with lists, cache and sources of its own in a temporary folder: no root, nothing installed, the
 * system's own lists untouched. The archive's signature is checked with the system's Debian keyring, the package by the
 * hash in the signed list.
 */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { say } from "./log.mjs";
import { outputOf, run } from "./run.mjs";

const PACKAGE = "nats-server";
const SUITE = "unstable";
const KEYRINGS = ["/usr/share/keyrings/debian-archive-keyring.gpg", "/usr/share/keyrings/debian-archive-keyring.pgp"];
/** An 11 MB list and a 5 MB package, on a slow line. */
const UPDATE_TIMEOUT_MS = 300_000;
const DOWNLOAD_TIMEOUT_MS = 300_000;

/**
 * @param {string} workDir an empty folder on the caller's account
 * @returns {Promise<string>} path of the binary, inside `workDir`
 * @throws with the reason if this is no Debian, or nothing could be fetched
 */
export async function fetchFromDebian(workDir) {
  if (process.platform !== "linux") throw new Error("not a Debian-like system");
  const architecture = outputOf("dpkg", ["--print-architecture"])?.trim();
  if (architecture === undefined || outputOf("apt-get", ["--version"]) === undefined) {
    throw new Error("not a Debian-like system (no apt or dpkg)");
  }
  const keyring = KEYRINGS.find((path) => existsSync(path));
  if (keyring === undefined)
    throw new Error("no Debian archive keyring on this system (package debian-archive-keyring)");
  const mirrors = debianMirrors(workDir);
  if (mirrors.length === 0) throw new Error("apt on this machine is set up with no Debian archive");

  let lastFailure = "";
  for (const [i, mirror] of mirrors.entries()) {
    say(`fetching ${PACKAGE} from Debian ${SUITE} with apt (about 16 MB, nothing is installed system-wide)`);
    const apt = privateApt(join(workDir, `apt-${i}`), { mirror, keyring, architecture });
    try {
      return await downloadAndUnpack(apt);
    } catch (error) {
      lastFailure = error instanceof Error ? error.message : String(error);
    }
  }
  throw new Error(lastFailure);
}

/**
 * The Debian archives among this machine's apt sources. Third-party archives and Debian's security archive (which has no
 * unstable suite) are left out.
 * @param {string} workDir
 * @returns {string[]} base URIs, without a trailing slash
 */
function debianMirrors(workDir) {
  const known = outputOf("apt-get", [
    "indextargets",
    "--format",
    "$(ORIGIN)|$(LABEL)|$(COMPONENT)|$(REPO_URI)",
    "Created-By: Packages",
  ]);
  const mirrors = (known ?? "")
    .split("\n")
    .map((line) => line.split("|"))
    .filter(([origin, label, component]) => origin === "Debian" && label === "Debian" && component === "main")
    .map(([, , , uri = ""]) => uri);
  // On a system whose lists were never fetched (a slim container) apt knows no origin: then the sources' addresses tell it.
  if (mirrors.length === 0) {
    const lists = join(workDir, "no-lists");
    mkdirSync(join(lists, "partial"), { recursive: true });
    const planned = outputOf("apt-get", ["update", "--print-uris", "-o", `Dir::State::lists=${lists}`]) ?? "";
    for (const [, base = ""] of planned.matchAll(/^'([^']+)\/dists\/[^']*'/gm)) {
      if (/\/debian\/*$/.test(base)) mirrors.push(base);
    }
  }
  return [...new Set(mirrors.map((uri) => uri.replace(/\/+$/, "")))];
}

/**
 * @typedef {{folder: string, args: string[]}} PrivateApt
 *
 * @param {string} folder
 * @param {{mirror: string, keyring: string, architecture: string}} source
 * @returns {PrivateApt} arguments that keep apt inside `folder`
 */
function privateApt(folder, { mirror, keyring, architecture }) {
  for (const name of ["lists/partial", "cache/archives/partial", "empty", "out"]) {
    mkdirSync(join(folder, name), { recursive: true });
  }
  writeFileSync(
    join(folder, "sources.list"),
    `deb [signed-by=${keyring} arch=${architecture} target=Packages] ${mirror} ${SUITE} main\n`,
  );
  writeFileSync(join(folder, "status"), "");
  // Read after the system's own configuration, so that its proxy settings stay and its hooks do not run.
  writeFileSync(
    join(folder, "apt.conf"),
    `#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Post-Invoke;
Dir::State "${folder}";
Dir::State::lists "${folder}/lists";
Dir::State::status "${folder}/status";
Dir::Cache "${folder}/cache";
Dir::Cache::archives "${folder}/cache/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Etc::sourcelist "${folder}/sources.list";
Dir::Etc::sourceparts "${folder}/empty";
Dir::Etc::preferences "${folder}/empty/none";
Dir::Etc::preferencesparts "${folder}/empty";
Dir::Log "${folder}";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
APT::Default-Release "";
APT::Get::List-Cleanup "false";
${process.getuid?.() === 0 ? '// The unprivileged download account could not enter this folder.\nAPT::Sandbox::User "root";\n' : ""}`,
  );
  return { folder, args: ["-q", "-c", join(folder, "apt.conf")] };
}

/**
 * @param {PrivateApt} apt
 * @returns {Promise<string>}
 */
async function downloadAndUnpack({ folder, args }) {
  const env = { ...process.env, LC_ALL: "C", DEBIAN_FRONTEND: "noninteractive" };
  // Without Error-Mode=any apt calls a list that could not be fetched a warning and exits 0.
  const update = ["update", "-o", "APT::Update::Error-Mode=any"];
  await must("apt-get", [...args, ...update], { env, timeoutMs: UPDATE_TIMEOUT_MS });
  const out = join(folder, "out");
  await must("apt-get", [...args, "download", PACKAGE], { env, cwd: out, timeoutMs: DOWNLOAD_TIMEOUT_MS });
  const deb = readdirSync(out).find((name) => name.endsWith(".deb"));
  if (deb === undefined) throw new Error("apt-get download brought no package");
  await must("dpkg-deb", ["-x", join(out, deb), join(folder, "unpacked")], { env });
  const found = ["usr/sbin", "usr/bin"].map((at) => join(folder, "unpacked", at, PACKAGE)).find((p) => existsSync(p));
  if (found === undefined) throw new Error(`${deb} holds no ${PACKAGE} binary`);
  return found;
}

/**
 * @param {string} command
 * @param {string[]} args
 * @param {import("./run.mjs").RunOptions} options
 */
async function must(command, args, options) {
  const { code, stdout, stderr } = await run(command, args, options);
  if (code === 0) return;
  const lines = `${stderr}\n${stdout}`.split("\n").filter((line) => /^[EW]:/.test(line));
  const step = args.find((arg) => ["update", "download", "-x"].includes(arg)) ?? "";
  throw new Error(`${command} ${step} failed with ${code}: ${lines.slice(0, 2).join(" ") || "no message"}`);
}
