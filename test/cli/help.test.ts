/** Help and completion of every command, from the tree of commands. */
import { execFileSync } from "node:child_process";
import type { Command } from "commander";
import { expect, test } from "vitest";
import type { Cli } from "../../src/cli/cli.ts";
import { completionScript } from "../../src/cli/completion.ts";
import { createProgram } from "../../src/cli/program.ts";
import { Style } from "../../src/cli/style.ts";
import { vgas } from "./in-process.ts";

/** All that help asks of one. */
const terminal = { outColumns: undefined, errColumns: 80, outStyle: new Style(false), errStyle: new Style(false) };
const program = (): Command => createProgram({ terminal, interrupt: {}, env: {} } as Cli);

function all(command: Command, path: readonly string[] = []): { path: string; command: Command }[] {
  return [{ path: path.join(" "), command }, ...command.commands.flatMap((each) => all(each, [...path, each.name()]))];
}

/** Lines of a command's help that show how it is called. */
function examplesOf(command: Command): readonly string[] {
  let help = "";
  command.configureOutput({
    writeOut: (text) => {
      help += text;
    },
  });
  command.outputHelp();
  const [, examples = ""] = help.split("\nExamples:\n");
  return examples.split("\n").flatMap((line) => (/^ {2}\S/.test(line) ? (/vgas (.*)/.exec(line)?.[1] ?? []) : []));
}

/** The arguments of an example, as a shell would hand them over. */
function argumentsOf(example: string): string[] {
  const [line = ""] = example.split(/ {2,}| [<>|] |\)/);
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, word]) => quoted ?? word ?? "");
}

test.each(all(program()))(
  "the help of vgas $path has examples, and each of them can be parsed",
  async ({ path, command }) => {
    const examples = examplesOf(command);
    expect(examples).not.toEqual([]);
    const shown: string[] = [];
    for (const example of examples) {
      const fresh = program();
      const ran: string[] = [];
      for (const each of all(fresh)) {
        each.command.exitOverride();
        if (each.command.commands.length === 0) each.command.action(() => void ran.push(each.path));
      }
      await fresh.parseAsync(argumentsOf(example), { from: "user" });
      expect(ran, example).toHaveLength(1);
      shown.push(...ran);
    }
    // One with commands of its own shows some of those; another one may show what comes before and after it.
    if (command.commands.length === 0) expect(shown).toContain(path);
  },
);

test.each([
  ["vgas de", ["dead"]],
  ["vgas dead re", ["replay"]],
  ["vgas dead list --reason inv", ["invalid"]],
  ["vgas submit echo --prio", ["--priority"]],
  ["vgas submit --home dead --priority l", ["low"]],
  ["vgas vault audit ver", ["verify"]],
  ["vgas nothing-here --xyz", []],
])("bash completes %s", (line, expected) => {
  const words = line.split(" ");
  const script = `${completionScript(program(), "bash")}
COMP_WORDS=(${words.map((word) => `'${word}'`).join(" ")}); COMP_CWORD=${words.length - 1}
_vgas; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const out = execFileSync("bash", ["-c", script], { encoding: "utf8" });
  expect(out.split("\n").filter((each) => each !== "")).toEqual(expected);
});

test("completion prints a script for each shell, and refuses another", async () => {
  expect((await vgas(["completion", "zsh"])).out).toMatch(/^#compdef vgas\n/);
  expect((await vgas(["completion", "fish"])).out).toContain(
    "complete -c vgas -n '__vgas_at '\\''dead'\\''' -f -a 'replay'",
  );
  const { code, err } = await vgas(["completion", "tcsh"]);
  expect(err).toContain("Allowed choices are bash, zsh, fish");
  expect(code).toBe(2);
});
