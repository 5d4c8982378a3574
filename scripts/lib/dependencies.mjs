/**
 * Dependencies exactly as package-lock.json says.
 *
 * A stamp inside node_modules names the lock file and the Node major they were installed for. npm works in a folder aside,
 * and the finished node_modules takes the place of the old one by a rename: an interrupted installation leaves what was
 * there before, and an npm that outlives a killed set-up writes where nobody looks.
 */
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, renameSync } from "node:fs";
import { join } from "node:path";
import { paths, root } from "./checkout.mjs";
import { hashFiles, readIfThere, readJsonIfThere, removeLeftover, writeWhole } from "./files.mjs";
import { reasonOf, SetupError, say } from "./log.mjs";
import { nodeMajor } from "./node-version.mjs";
import { run } from "./run.mjs";
import { withSetupLock } from "./setup-lock.mjs";

const STAMP_NAME = ".vgas-setup.json";
const STAMP = join(paths.nodeModules, STAMP_NAME);

/** @throws {SetupError} if npm fails */
export async function ensureDependencies() {
  if (isInstalled()) return;
  await withSetupLock(async () => {
    if (isInstalled()) return;
    if (!existsSync(paths.lockfile)) throw new SetupError("package-lock.json is missing: this is no complete checkout");
    say("installing dependencies (npm ci)");
    await install();
    say("dependencies are installed");
  });
}

async function install() {
  const aside = mkdtempSync(join(paths.cache, "install-"));
  const clean = () => removeLeftover(aside);
  process.once("exit", clean);
  try {
    for (const name of ["package.json", "package-lock.json", ".npmrc"]) {
      if (existsSync(join(root, name))) copyFileSync(join(root, name), join(aside, name));
    }
    const [command, args] = npm();
    // npm takes the nearest package.json, the one aside; --prefix would also make it overlook the machine's npm settings.
    // Without the explicit includes, NODE_ENV=production would leave out what build and tests need.
    const options = ["--include=dev", "--include=optional", "--no-audit", "--no-fund"];
    const { code } = await run(command, [...args, "ci", ...options], { cwd: aside, show: true });
    if (code !== 0) throw new SetupError(`npm ci failed with exit code ${code}; its messages are above`);
    const fresh = join(aside, "node_modules");
    mkdirSync(fresh, { recursive: true });
    writeWhole(join(fresh, STAMP_NAME), stampText());
    if (existsSync(paths.nodeModules)) renameSync(paths.nodeModules, join(aside, "old"));
    renameSync(fresh, paths.nodeModules);
  } finally {
    process.off("exit", clean);
    clean();
  }
}

function isInstalled() {
  const stamp = readIfThere(STAMP);
  if (stamp === stampText()) return true;
  // Another Node major may need other native add-ons; without a stamp somebody ran npm themselves, which is as good.
  if (stamp !== undefined && readJsonIfThere(STAMP)?.["nodeMajor"] !== nodeMajor) return false;
  if (!npmInstalledTheLock()) return false;
  try {
    writeWhole(STAMP, stampText());
  } catch (error) {
    // A read-only checkout, or another user's: the look above is enough, only slower next time.
    say(`dependencies are complete, but their stamp cannot be written: ${reasonOf(error)}`);
  }
  return true;
}

/** npm writes `node_modules/.package-lock.json` when it has finished: what is really there, with versions and hashes. */
function npmInstalledTheLock() {
  const wanted = packagesIn(paths.lockfile);
  const there = packagesIn(join(paths.nodeModules, ".package-lock.json"));
  if (wanted === undefined || there === undefined) return false;
  for (const [path, entry] of Object.entries(wanted)) {
    if (path === "") continue;
    const found = there[path];
    // Optional ones for other platforms are in the lock, and rightly not installed.
    if (found === undefined && (entry.optional === true || entry.devOptional === true || entry.peer === true)) continue;
    if (found?.version !== entry.version || found?.integrity !== entry.integrity) return false;
  }
  return Object.keys(there).every((path) => Object.hasOwn(wanted, path));
}

/**
 * @param {string} lockfile
 * @returns {Record<string, {version?: string, integrity?: string, optional?: boolean, devOptional?: boolean, peer?: boolean}> | undefined}
 */
function packagesIn(lockfile) {
  const packages = readJsonIfThere(lockfile)?.["packages"];
  return typeof packages === "object" && packages !== null ? /** @type {any} */ (packages) : undefined;
}

function stampText() {
  return `${JSON.stringify({ lock: hashFiles([paths.lockfile]), nodeMajor })}\n`;
}

/** @returns {[string, string[]]} the npm that runs us, or the one on PATH */
function npm() {
  const own = process.env["npm_execpath"];
  if (own?.endsWith("npm-cli.js")) return [process.execPath, [own]];
  return [process.platform === "win32" ? "npm.cmd" : "npm", []];
}
