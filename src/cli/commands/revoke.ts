import type { Command } from "commander";
import { PendingStore } from "../../admission/pending-store.ts";
import type { Home } from "../../bus/home/home.ts";
import { VgasError } from "../../protocols/errors.ts";
import { addHomeFlags, type HomeFlags, openMastersHome } from "../admission-home.ts";
import type { Cli } from "../cli.ts";

export function addRevoke(program: Command, cli: Cli): void {
  addHomeFlags(program.command("revoke"))
    .summary("cut a node or client off for good, or refuse one that asks")
    .description(
      "Takes the credential of a node, client or guest back: it is cut at once, its tasks run elsewhere, and it is never let in " +
        "again under that id. One that asks to be let in is refused.",
    )
    .argument("<node>", "its id, as `vgas nodes` and `vgas token list` show it")
    .action(async (node: string, flags: HomeFlags) => {
      const home = await openMastersHome(cli, flags);
      // First what could let it in again.
      const refused = await refusePending(home, node);
      const cut = await revokeCredential(home, node);
      if (!refused && !cut) {
        throw new VgasError(
          "NOT_FOUND",
          `nobody is in the swarm as ${node}, and nobody asks as ${node}: \`vgas nodes\` shows who is in it`,
        );
      }
      if (flags.json) cli.terminal.data(JSON.stringify({ node, revoked: cut, refused }));
      else cli.terminal.note(cut ? `${node} is cut off, and is not let in again.` : `${node} is refused.`);
    });
}

async function refusePending({ layout }: Home, node: string): Promise<boolean> {
  return await orNothing(() => new PendingStore(layout).decide(node, "refused"));
}

async function revokeCredential({ credentials }: Home, node: string): Promise<boolean> {
  return await orNothing(() => credentials.revoke(node));
}

/** False if there is no such thing. */
async function orNothing(work: () => Promise<unknown>): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (error) {
    if (error instanceof VgasError && error.code === "NOT_FOUND") return false;
    throw error;
  }
}
