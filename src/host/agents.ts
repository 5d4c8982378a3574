/** The agents of a node: the built-in ones, those that the caller gives, and those of modules. */
import { builtinAgents } from "../actors/agent/builtin.ts";
import type { AgentDefinition } from "../actors/agent/definition.ts";
import { type ResolvedAgent, resolveAgent } from "../actors/agent/resolve.ts";
import type { Config } from "../config.ts";
import { loadAgents } from "../modules.ts";
import { VgasError } from "../protocols/errors.ts";

/** @throws VgasError CONFIG for a module that cannot be loaded, a definition that cannot be used, a kind offered twice */
export async function resolveAgents(
  config: Config,
  extra: readonly AgentDefinition[],
): Promise<readonly ResolvedAgent[]> {
  if (!config.roles.includes("agents")) return [];
  const builtin = config.agents > 0 ? [resolveAgent(builtinAgents(config.agents), config, "the built-in agents")] : [];
  const given = extra.map((agent, i) => resolveAgent(agent, config, `agent ${i}`));
  const agents = [...builtin, ...given, ...(await loadAgents(config.modules, config))];
  refuseTwice(agents);
  return agents;
}

/** Two behaviours for one kind would take its tasks in turns. @throws VgasError CONFIG naming both */
function refuseTwice(agents: readonly ResolvedAgent[]): void {
  const seen = new Map<string, string>();
  for (const { pool, kinds, source } of agents) {
    for (const kind of kinds) {
      const other = seen.get(`${pool}.${kind}`);
      if (other !== undefined)
        throw new VgasError(
          "CONFIG",
          `kind ${kind} in pool ${pool} is offered by ${other} and by ${source}: give one of them another kind or pool`,
        );
      seen.set(`${pool}.${kind}`, source);
    }
  }
}
