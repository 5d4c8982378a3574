/** Finds what npm has installed below a folder: scoped packages and packages within packages too. */
import { access, readdir, realpath } from "node:fs/promises";
import { join, relative } from "node:path";

export interface InstalledPackage {
  /** Absolute path of the package's folder. */
  readonly folder: string;
  /** The same below the project, with slashes: `node_modules/@scope/name`. */
  readonly location: string;
}

/** Every package below `<project>/node_modules`, ordered by location. A package that several names link to comes once. */
export async function findPackages(project: string): Promise<readonly InstalledPackage[]> {
  const found = new Map<string, InstalledPackage>();
  const open = [join(project, "node_modules")];
  for (let dir = open.pop(); dir !== undefined; dir = open.pop()) {
    for (const folder of await packageFolders(dir)) {
      const real = await realpath(folder).catch(() => undefined);
      if (real === undefined || found.has(real)) continue;
      found.set(real, { folder: real, location: relative(project, folder).replaceAll("\\", "/") });
      open.push(join(folder, "node_modules"));
    }
  }
  return [...found.values()].sort((a, b) => (a.location < b.location ? -1 : 1));
}

/** Folders with a package.json, of whatever content, right below a node_modules or below a scope in it. */
async function packageFolders(nodeModules: string): Promise<readonly string[]> {
  const folders: string[] = [];
  for (const name of await namesIn(nodeModules)) {
    const candidates = name.startsWith("@")
      ? (await namesIn(join(nodeModules, name))).map((inner) => join(nodeModules, name, inner))
      : [join(nodeModules, name)];
    for (const folder of candidates) if (await exists(join(folder, "package.json"))) folders.push(folder);
  }
  return folders;
}

async function namesIn(dir: string): Promise<readonly string[]> {
  const names = await readdir(dir).catch(() => []);
  return names.filter((name) => !name.startsWith("."));
}

async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}
