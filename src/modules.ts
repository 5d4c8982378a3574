/** Loads the agents of user modules: TypeScript or JavaScript, from any folder; `vgas` resolves in them. */
import { existsSync } from "node:fs";
import { dirname, resolve, sep } from "node:path";
import { createJiti, type Jiti } from "jiti";
import { type ResolvedAgent, resolveAgent } from "./actors/agent/resolve.ts";
import { entryFile } from "./entry.ts";
import { VgasError } from "./protocols/errors.ts";

/** A module that waits at its top level for something that never comes would keep the node from starting without a word, ms. */
const LOAD_MS = 60_000;

/** Loads TypeScript and JavaScript from any folder. All loaders share what was loaded. */
export function createLoader(): Jiti {
  return createJiti(import.meta.url, {
    // No cache on disk: its place and names could be guessed, and whoever may write there would run code as us.
    fsCache: false,
    // A module outside this package could not resolve the names; inside it, the same files must be the ones loaded.
    alias: { "vgas/testing": entryFile("testing"), vgas: entryFile("index") },
  });
}

/**
 * The agents that `files` export by default, one or an array each.
 *
 * @throws VgasError CONFIG naming the module and what is wrong with it
 */
export async function loadAgents(
  files: readonly string[],
  defaults: { readonly pool: string; readonly slots: number },
): Promise<readonly ResolvedAgent[]> {
  const jiti = createLoader();
  const agents: ResolvedAgent[] = [];
  for (const file of files) {
    const path = resolve(file);
    if (!existsSync(path)) throw new VgasError("CONFIG", `--module ${file}: there is no such file`);
    let exported: unknown;
    try {
      exported = await within(LOAD_MS, jiti.import(path, { default: true }));
    } catch (error) {
      throw new VgasError(
        "CONFIG",
        `--module ${file} cannot be loaded: ${error instanceof Error ? error.message : String(error)}`,
        {
          cause: error,
        },
      );
    }
    const list = Array.isArray(exported) ? exported : [exported];
    if (list.length === 0) throw new VgasError("CONFIG", `--module ${file} exports no agents`);
    for (const [index, each] of list.entries())
      agents.push(resolveAgent(each, defaults, `--module ${file}`, { file: path, index }));
  }
  return agents;
}

/** Files of users that were loaded, or whose loading has begun. */
export function loadedFiles(): readonly string[] {
  const own = dirname(entryFile("index"));
  return Object.keys(createLoader().cache).filter(
    (file) => !file.includes(`${sep}node_modules${sep}`) && !file.startsWith(own + sep),
  );
}

/** They are read anew when they are loaded the next time. */
export function forgetModules(files: Iterable<string>): void {
  const { cache } = createLoader();
  for (const file of files) delete cache[file];
}

async function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`it has not finished loading after ${ms / 1_000} s`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
