/**
 * Completion scripts for shells, made from the tree of commands: names of commands, flags, and values that are one of a few. What
 * only the swarm knows (kinds, nodes, ids) is not completed; other values are completed as files.
 */
import type { Command, Option } from "commander";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

interface Node {
  /** Names from the program on: `dead list`; "" for the program. */
  readonly path: string;
  readonly commands: readonly { readonly name: string; readonly summary: string }[];
  readonly options: readonly Option[];
}

export function completionScript(program: Command, shell: Shell): string {
  const nodes = nodesOf(program, []);
  return { bash, zsh, fish }[shell](program.name(), nodes);
}

function nodesOf(command: Command, path: readonly string[]): Node[] {
  const help = command.createHelp();
  const commands = help
    .visibleCommands(command)
    .map((each) => ({ name: each.name(), summary: each.summary() || each.description() }));
  const node: Node = { path: path.join(" "), commands, options: help.visibleOptions(command) };
  return [node, ...command.commands.flatMap((each) => nodesOf(each, [...path, each.name()]))];
}

function flags({ long, short }: Option): readonly string[] {
  return [long, short].filter((each) => each != null);
}

function takesValue({ required, optional }: Option): boolean {
  return required || optional;
}

/** A word for any of the three shells. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

function bash(name: string, nodes: readonly Node[]): string {
  const words = nodes.map(({ path, commands, options }) => {
    const all = [...commands.map((each) => each.name), ...options.flatMap(flags)];
    return `    ${quoted(path)}) words=${quoted(all.join(" "))};;`;
  });
  return `# bash completion of ${name}: source it, or put it into ~/.local/share/bash-completion/completions/${name}
_${name}() {
  local word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} path='' words='' i
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$path\${path:+ }\${COMP_WORDS[i]}" in
${nodes
  .filter(({ path }) => path !== "")
  .map(({ path }) => `      ${quoted(path)}) path=${quoted(path)};;`)
  .join("\n")}
    esac
  done
  COMPREPLY=()
  case "$path $before" in
${choiceCases(nodes, (key, values) => `    ${quoted(key)}) COMPREPLY=($(compgen -W ${quoted(values.join(" "))} -- "$word")); return;;`)}
${valueCases(nodes, (key) => `    ${quoted(key)}) COMPREPLY=($(compgen -f -- "$word")); return;;`)}
  esac
  case "$path" in
${words.join("\n")}
  esac
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _${name} ${name}`;
}

function choiceCases(nodes: readonly Node[], line: (key: string, values: readonly string[]) => string): string {
  return nodes
    .flatMap(({ path, options }) =>
      options.flatMap((option) =>
        option.argChoices === undefined
          ? []
          : flags(option).map((flag) => line(`${path} ${flag}`, option.argChoices ?? [])),
      ),
    )
    .join("\n");
}

function valueCases(nodes: readonly Node[], line: (key: string) => string): string {
  return nodes
    .flatMap(({ path, options }) =>
      options.flatMap((option) =>
        option.argChoices === undefined && takesValue(option)
          ? flags(option).map((flag) => line(`${path} ${flag}`))
          : [],
      ),
    )
    .join("\n");
}

/** zsh runs the bash function: its completion system knows how. */
function zsh(name: string, nodes: readonly Node[]): string {
  return `#compdef ${name}
# zsh completion of ${name}: source it after compinit
autoload -U +X bashcompinit && bashcompinit
${bash(name, nodes).split("\n").slice(1).join("\n")}`;
}

function fish(name: string, nodes: readonly Node[]): string {
  const lines = nodes.flatMap(({ path, commands, options }) => {
    const at = `complete -c ${name} -n ${quoted(`__${name}_at ${quoted(path)}`)}`;
    return [
      ...commands.map((each) => `${at} -f -a ${quoted(each.name)} -d ${quoted(each.summary)}`),
      ...options.map((option) => {
        const long = option.long == null ? "" : ` -l ${option.long.slice(2)}`;
        const short = option.short == null ? "" : ` -s ${option.short.slice(1)}`;
        const values = option.argChoices === undefined ? "" : ` -x -a ${quoted(option.argChoices.join(" "))}`;
        const value = values === "" && takesValue(option) ? " -r" : values;
        return `${at}${long}${short}${value} -d ${quoted(option.description)}`;
      }),
    ];
  });
  const paths = nodes.filter(({ path }) => path !== "").map(({ path }) => quoted(path));
  return `# fish completion of ${name}: put it into ~/.config/fish/completions/${name}.fish
function __${name}_at
  set -l path ''
  for word in (commandline -opc)[2..]
    set -l next (string trim -- "$path $word")
    contains -- $next ${paths.join(" ")}; and set path $next
  end
  test "$path" = "$argv[1]"
end
${lines.join("\n")}`;
}
