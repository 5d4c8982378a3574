import { isatty } from "node:tty";
import type { Command } from "commander";
import { type PendingRecord, PendingStore } from "../../admission/pending-store.ts";
import { addHomeFlags, type HomeFlags, openMastersHome } from "../admission-home.ts";
import type { Cli } from "../cli.ts";
import { EXIT, UsageError } from "../failure.ts";
import { Prompt } from "../prompt.ts";
import { printable } from "../style.ts";
import { renderTable } from "../table.ts";
import { refuseLine } from "../token-input.ts";
import { time } from "./vault/text.ts";

interface Flags extends HomeFlags {
  readonly fingerprint?: string;
}

const EXAMPLES = `
Examples:
  vgas approve                                       who asks to be let in
  vgas approve n3k5m7abcd --fingerprint k3xm-9dqp    let it in if that is its fingerprint
  vgas approve n3k5m7abcd                            shows its fingerprint, and asks

The machine that asks shows its fingerprint too. If they differ, it is another
machine, or somebody is in between: do not approve it.`;

export function addApprove(program: Command, cli: Cli): void {
  addHomeFlags(program.command("approve"))
    .summary("let a node in that asks without a token, or show who asks")
    .description(
      "Lets a node into the swarm of this home that asks without a token. Without NODE it shows who asks; without --fingerprint it " +
        "asks whether the one that it shows is right, where there is a terminal.",
    )
    .argument("[node]", "its id")
    .option("--fingerprint <text>", "only if it has this one: what the machine itself shows")
    .addHelpText("after", EXAMPLES)
    .action(async (node: string | undefined, flags: Flags) => {
      const wrong = "give the node's id and its fingerprint, not a token: `vgas approve` shows them";
      for (const each of [node, flags.fingerprint]) if (each !== undefined) refuseLine(each, wrong);
      const home = await openMastersHome(cli, flags);
      const store = new PendingStore(home.layout);
      if (node === undefined) {
        if (flags.fingerprint !== undefined) {
          throw new UsageError("--fingerprint is of a node", "Name it: `vgas approve NODE --fingerprint F`.");
        }
        show(cli, flags, await store.list());
        return;
      }
      const fingerprint = flags.fingerprint ?? (await looked(cli, await store.find(node)));
      if (fingerprint === false) {
        cli.terminal.note("Nothing was approved.");
        cli.exitCode = EXIT.failure;
        return;
      }
      const approved = await store.decide(node, "approved", fingerprint);
      if (flags.json) cli.terminal.data(JSON.stringify(described(approved)));
      else {
        const { user, machine, address } = approved;
        cli.terminal.note(
          `Approved ${user}, ${printable(machine)} at ${address}, fingerprint ${approved.fingerprint}.`,
        );
        if (fingerprint === undefined)
          cli.terminal.note(`If the machine shows another fingerprint, take it back at once: \`vgas revoke ${user}\`.`);
      }
    });
}

const [STDIN, STDERR] = [0, 2] as const;

/** The fingerprint that somebody at a terminal looked at; false if it is not right; undefined where nobody can be asked. */
async function looked({ interrupt }: Cli, record: PendingRecord | undefined): Promise<string | false | undefined> {
  if (record === undefined || !isatty(STDIN) || !isatty(STDERR)) return undefined;
  const prompt = Prompt.open({ signal: interrupt.signal, interrupt: () => process.emit("SIGINT") });
  if (prompt === undefined) return undefined;
  const { user, machine, address, fingerprint } = record;
  try {
    const who = `${user}, ${printable(machine)} at ${address}, has the fingerprint ${fingerprint}.`;
    const yes = await prompt.yes(`${who}\nDoes that machine itself show the same, and is it to be let in?`);
    return yes ? fingerprint : false;
  } finally {
    prompt.close();
  }
}

function described({ user, state, machine, address, fingerprint, firstSeen, lastSeen }: PendingRecord): object {
  return { node: user, state, machine, address, fingerprint, firstSeen, lastSeen };
}

function show({ terminal }: Cli, { json }: Flags, records: readonly PendingRecord[]): void {
  if (json) {
    for (const record of records) terminal.data(JSON.stringify(described(record)));
    return;
  }
  if (records.length === 0) {
    terminal.note("Nobody asks to be let in.");
    return;
  }
  terminal.data(
    renderTable(
      [
        { title: "NODE" },
        { title: "FINGERPRINT" },
        { title: "STATE" },
        { title: "MACHINE", shorten: true },
        { title: "ADDRESS" },
        { title: "SINCE", leaveOut: 1 },
      ],
      records.map(({ user, fingerprint, state, machine, address, firstSeen }) => [
        user,
        fingerprint,
        state,
        machine,
        address,
        time(firstSeen),
      ]),
      { style: terminal.outStyle, width: terminal.outColumns },
    ),
  );
}
