/** The whole command line: one line per command. */
import { Command } from "commander";
import { packageVersion } from "../version.ts";
import type { Cli } from "./cli.ts";
import { addApprove } from "./commands/approve.ts";
import { addBackup } from "./commands/backup.ts";
import { addBatch } from "./commands/batch.ts";
import { addCancel } from "./commands/cancel.ts";
import { addCompletion } from "./commands/completion.ts";
import { addConnect } from "./commands/connect.ts";
import { addConnection } from "./commands/connection.ts";
import { addDead } from "./commands/dead/dead.ts";
import { addDoctor } from "./commands/doctor.ts";
import { addDrain } from "./commands/drain.ts";
import { addFairness } from "./commands/fairness.ts";
import { addJoin } from "./commands/join.ts";
import { addNew } from "./commands/new.ts";
import { addNodes } from "./commands/nodes.ts";
import { addPause } from "./commands/pause.ts";
import { addPermissions } from "./commands/permissions.ts";
import { addRestore } from "./commands/restore.ts";
import { addResults } from "./commands/results.ts";
import { addResume } from "./commands/resume.ts";
import { addRevoke } from "./commands/revoke.ts";
import { addRun } from "./commands/run.ts";
import { addStatus } from "./commands/status.ts";
import { addSubmit } from "./commands/submit.ts";
import { addTask } from "./commands/task.ts";
import { addTasks } from "./commands/tasks.ts";
import { addTest } from "./commands/test.ts";
import { addToken } from "./commands/token.ts";
import { addTop } from "./commands/top.ts";
import { addUp } from "./commands/up.ts";
import { addVault } from "./commands/vault/vault.ts";
import { addHelpExamples } from "./help-examples.ts";

const EXAMPLES = `
Examples:
  vgas up                                 start a swarm on this machine
  vgas submit echo '{"hello":1}' --wait   run one task and print its result
  vgas run tasks.jsonl                    run every line of a file
  vgas status                             see how the swarm is doing
  vgas up --lan                           let machines of the network join
  vgas token create > token               there: vgas join --token-file token

Flags beat the environment, which beats config.json in the home, which beats
the defaults. vgas COMMAND --help tells more.`;

/** Width of help where it is not shown on a terminal. */
const HELP_COLUMNS = 80;

/** Names of the command that `args` begin with, for its help: `vault store`. Undefined if they begin with none. */
export function commandOf(program: Command, args: readonly string[]): string | undefined {
  const names: string[] = [];
  let command: Command | undefined = program;
  for (const arg of args) {
    command = command.commands.find((each) => each.name() === arg);
    if (command === undefined) break;
    names.push(arg);
  }
  return names.length === 0 ? undefined : names.join(" ");
}

export function createProgram(cli: Cli): Command {
  const program = new Command("vgas")
    .description("An actor runtime on NATS: publish tasks, subscribe to results.")
    .version(packageVersion(), "-V, --version", "print the version")
    .helpOption("-h, --help", "show this help")
    .addHelpText("after", EXAMPLES)
    .showSuggestionAfterError()
    .exitOverride()
    .configureHelp({ sortOptions: false, showGlobalOptions: false })
    .configureOutput({
      writeOut: (text) => void cli.terminal.data(text.trimEnd()),
      // Told by reportFailure, together with what to do; the help that stands for a missing command is told as it is.
      outputError: () => undefined,
      writeErr: (text) => cli.terminal.note(text.trimEnd()),
      getOutHelpWidth: () => cli.terminal.outColumns ?? HELP_COLUMNS,
      getErrHelpWidth: () => cli.terminal.errColumns,
      getOutHasColors: () => cli.terminal.outStyle.enabled,
      getErrHasColors: () => cli.terminal.errStyle.enabled,
    });
  addUp(program, cli);
  addJoin(program, cli);
  for (const add of [addRun, addSubmit, addResults, addStatus, addTop, addNodes, addFairness]) add(program, cli);
  for (const add of [addToken, addApprove, addRevoke, addConnect, addConnection]) add(program, cli);
  for (const add of [addTask, addCancel, addBatch, addTasks, addDead, addPause, addResume, addDrain]) add(program, cli);
  addVault(program, cli);
  for (const add of [addDoctor, addPermissions, addBackup, addRestore, addCompletion]) add(program, cli);
  for (const add of [addNew, addTest]) add(program, cli);
  addHelpExamples(program);
  return program;
}
