import { Argument, type Command } from "commander";
import type { Cli } from "../cli.ts";
import { completionScript, SHELLS, type Shell } from "../completion.ts";
import { addExamples } from "../examples.ts";

export function addCompletion(program: Command, cli: Cli): void {
  const command = program
    .command("completion")
    .summary("print a completion script for your shell")
    .description("Prints what lets a shell complete commands, flags, and values that are one of a few.")
    .addArgument(new Argument("<shell>", "which shell").choices(SHELLS))
    .action((shell: Shell) => void cli.terminal.data(completionScript(program, shell)));
  addExamples(command, [
    ["source <(vgas completion bash)", "for this shell; the same line in ~/.bashrc for all"],
    ["vgas completion zsh > ~/.vgas.zsh", "then source it in ~/.zshrc, after compinit"],
    ["vgas completion fish > ~/.config/fish/completions/vgas.fish"],
  ]);
}
