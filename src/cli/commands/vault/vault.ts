import type { Command } from "commander";
import type { Cli } from "../../cli.ts";
import { addAudit } from "./audit.ts";
import { addDelete, addRotate, addStore } from "./keys.ts";
import { addInit, addRekey, addSeal, addUnseal, addVaultStatus } from "./lifecycle.ts";
import { addList, addShow } from "./look.ts";
import { addUsage } from "./usage.ts";

const EXAMPLES = `
Examples:
  vgas vault init                              make the vault; asks for a passphrase
  vgas vault store openai < key.txt            store a key
  vgas vault store openai --update --no-lease --budget cost=20/day
  vgas vault usage --by provider,kind          what was used, and what it cost
  vgas vault audit verify                      whether the trail is whole

Secrets come from a file, standard input or a prompt, never from a flag.`;

export function addVault(program: Command, cli: Cli): void {
  const vault = program
    .command("vault")
    .summary("keys of providers, that agents use and nobody sees")
    .description("Keeps keys of providers such as OpenAI and Anthropic for the agents of the swarm.")
    .addHelpText("after", EXAMPLES);
  for (const add of [addInit, addUnseal, addSeal, addVaultStatus]) add(vault, cli);
  for (const add of [addStore, addList, addShow, addRotate, addDelete, addRekey]) add(vault, cli);
  for (const add of [addUsage, addAudit]) add(vault, cli);
}
