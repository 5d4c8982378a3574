/**
 * `--watch`: modules are loaded again when one of their files changes. Owns the watches of folders and which files are meant.
 *
 * 1. Tasks that run finish with the code that they began with; the next ones get the new.
 * 2. Modules that cannot be loaded, or that offer something else than at the start, change nothing: the log says why. What a node
 *    offers stands in its heartbeats and in rosters under the number of its agents, and so stays as it is for the node's life.
 */
import { type FSWatcher, watch } from "node:fs";
import { basename, dirname } from "node:path";
import type { ResolvedAgent } from "../actors/agent/resolve.ts";
import { forgetModules, loadAgents, loadedFiles } from "../modules.ts";
import type { Clock, Timer } from "../protocols/clock.ts";
import type { Logger } from "../protocols/logger.ts";

/** Editors write a file in several steps, and several files at once. */
const SETTLE_MS = 100;

/** An agent whose code can be replaced. */
export type ReloadableAgent = { -readonly [Field in keyof ResolvedAgent]: ResolvedAgent[Field] };

export interface ReloadingOptions {
  readonly modules: readonly string[];
  readonly defaults: { readonly pool: string; readonly slots: number };
  /** Those that the node has. */
  readonly agents: readonly ReloadableAgent[];
  /** That module is another from now on. */
  readonly changed: (file: string) => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class Reloading {
  readonly #options: ReloadingOptions;
  readonly #watches = new Map<string, FSWatcher>();
  readonly #files = new Set<string>();
  #timer: Timer | undefined;
  #loading: Promise<void> = Promise.resolve();

  constructor(options: ReloadingOptions) {
    this.#options = options;
  }

  start(): void {
    this.#watchFiles();
  }

  /** Resolves when what was being loaded is loaded. */
  async stop(): Promise<void> {
    this.#options.clock.clear(this.#timer);
    for (const each of this.#watches.values()) each.close();
    await this.#loading;
  }

  #watchFiles(): void {
    // What was watched once stays so: a module that was broken may be mended in a file that it no longer gets to.
    for (const file of loadedFiles()) this.#files.add(file);
    for (const file of this.#files) {
      const folder = dirname(file);
      if (this.#watches.has(folder)) continue;
      this.#watchFolder(folder);
    }
  }

  #watchFolder(folder: string): void {
    const fail = (error: Error): void =>
      this.#options.logger.warn({ folder, error: error.message }, "a folder of modules cannot be watched");
    try {
      // The folder and not the file: editors put another file in its place.
      const watching = watch(folder, { persistent: false }, (_, name) => this.#onChange(folder, name));
      watching.on("error", fail);
      this.#watches.set(folder, watching);
    } catch (error) {
      // One that is gone had a file that is no longer used.
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") fail(error as Error);
    }
  }

  #onChange(folder: string, name: string | null): void {
    const meant = [...this.#files].some((file) => dirname(file) === folder && (!name || basename(file) === name));
    if (!meant) return;
    const { clock } = this.#options;
    clock.clear(this.#timer);
    this.#timer = clock.setTimeout(() => {
      this.#loading = this.#loading.then(() => this.#reload());
    }, SETTLE_MS);
  }

  async #reload(): Promise<void> {
    const { modules, defaults, logger } = this.#options;
    forgetModules(this.#files);
    let loaded: readonly ResolvedAgent[];
    try {
      loaded = await loadAgents(modules, defaults);
    } catch (error) {
      logger.error({ error: String(error) }, "a changed module cannot be loaded; the node goes on with the old code");
      return;
    } finally {
      this.#watchFiles();
    }
    this.#replace(loaded);
  }

  #replace(loaded: readonly ResolvedAgent[]): void {
    const { agents, changed, logger } = this.#options;
    const before = agents.filter(({ module }) => module !== undefined);
    const other = differences(before, loaded);
    if (other !== undefined) {
      logger.warn(
        { change: other },
        "what the modules offer has changed: restart the node; until then it goes on with the old code",
      );
      return;
    }
    for (const [place, agent] of before.entries()) {
      const { run, backoff } = loaded[place] as ResolvedAgent;
      Object.assign(agent, { run, backoff });
    }
    for (const file of new Set(before.flatMap(({ module }) => module?.file ?? []))) changed(file);
    logger.info({ modules: this.#options.modules }, "the modules were loaded again");
  }
}

const OFFERED = ["pool", "kinds", "instances", "slots", "providers", "limits"] as const;

/** What of the agents is not as it was, if anything; in words. */
function differences(before: readonly ResolvedAgent[], after: readonly ResolvedAgent[]): string | undefined {
  if (before.length !== after.length) return `${after.length} agents instead of ${before.length}`;
  for (const [place, agent] of before.entries()) {
    const next = after[place] as ResolvedAgent;
    const field = OFFERED.find((each) => JSON.stringify(agent[each]) !== JSON.stringify(next[each]));
    if (field) return `${field} of ${agent.source}, which was ${JSON.stringify(agent[field])}`;
    if ((agent.isolated === undefined) !== (next.isolated === undefined)) return `isolation of ${agent.source}`;
  }
  return undefined;
}
