import type { Command } from "commander";
import { PendingStore } from "../../admission/pending-store.ts";
import { TokenStore, tokenState } from "../../admission/token-store.ts";
import { readUser } from "../../bus/credentials/user-records.ts";
import type { Home } from "../../bus/home/home.ts";
import { VgasError } from "../../protocols/errors.ts";
import { isSharedRole } from "../../protocols/roles.ts";
import { isToken } from "../../protocols/tokens.ts";
import { addHomeFlags, type HomeFlags, openMastersHome } from "../admission-home.ts";
import type { Cli } from "../cli.ts";
import { refuseLine } from "../token-input.ts";

export function addRevoke(program: Command, cli: Cli): void {
  addHomeFlags(program.command("revoke"))
    .summary("cut a node or client off for good, or refuse one that asks")
    .description(
      "Takes the credential of a node, client or guest back: it is cut at once, its tasks run elsewhere, and it is never let in " +
        "again under that id. One that asks to be let in is refused. It says so if the token that let it in is still good.",
    )
    .argument("<node>", "its id, as `vgas nodes` and `vgas token list` show it")
    .action(async (node: string, flags: HomeFlags) => {
      refuseLine(node, "give the node's id, not a token: `vgas token revoke ID` ends a token");
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
      const token = cut ? await usableToken(home, node) : undefined;
      if (flags.json) {
        cli.terminal.data(JSON.stringify({ node, revoked: cut, refused, ...(token && { usableToken: token }) }));
        return;
      }
      if (!cut) cli.terminal.note(`${node} is refused.`);
      else if (isSharedRole(node))
        cli.terminal.note(`${node} is cut off; who reads this home next gets a new key for it.`);
      else cli.terminal.note(`${node} is cut off, and is not let in again.`);
      if (token !== undefined) {
        const how = `if it is not to come back under another id: \`vgas token revoke ${token}\``;
        cli.terminal.note(`The token that let it in is still good; ${how}.`);
      }
    });
}

/** Id of the token that let `node` in, if it can let in more. */
async function usableToken({ layout }: Home, node: string): Promise<string | undefined> {
  const id = isToken(node) ? (await readUser(layout.credentials, node))?.tokenId : undefined;
  const record = id === undefined ? undefined : await new TokenStore(layout).read(id);
  return record && tokenState(record, Date.now()) === "usable" ? id : undefined;
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
