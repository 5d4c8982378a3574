import { expect, test } from "vitest";
import type { Cli } from "../../src/cli/cli.ts";
import { createProgram } from "../../src/cli/program.ts";
import { Terminal } from "../../src/cli/terminal.ts";
import { ENVIRONMENT, resolveConfig } from "../../src/config.ts";
import { readSource } from "./documents.ts";

const FILES = ["deploy/vgas.service", "deploy/vgas.env", "deploy/Dockerfile", "deploy/compose.yaml"];

test("deploy/ names no variable that does not exist", () => {
  const known = [...Object.values(ENVIRONMENT), "VGAS_NATS_SERVER"];
  for (const file of FILES)
    for (const [name] of readSource(file).matchAll(/\bVGAS_[A-Z_]+/g)) expect(known, file).toContain(name);
});

test("what deploy/ starts is a command with flags that there are", () => {
  const terminal = new Terminal(process.stdout, process.stderr, {});
  const program = createProgram({ terminal, env: {}, exitCode: 0 } as unknown as Cli);
  const started = [
    ...[...readSource("deploy/compose.yaml").matchAll(/command: \[(.*)\]/g)].map(([, words = ""]) => words.split(", ")),
    ...[...readSource("deploy/vgas.service").matchAll(/^ExecStart=\S+ (.*)$/gm)].map(([, words = ""]) =>
      words.split(" "),
    ),
    ...[...readSource("deploy/Dockerfile").matchAll(/^CMD \["(.*)"\]$/gm)].map(([, words = ""]) => words.split('", "')),
  ];
  expect(started.map(([name]) => name)).toEqual(["up", "join", "up", "up"]);
  for (const [name, ...words] of started) {
    const options = program.commands.find((command) => command.name() === name)?.options.map(({ long }) => long);
    expect(options).toEqual(expect.arrayContaining(words.filter((word) => word.startsWith("--"))));
  }
  const [, unlock = ""] = /VGAS_VAULT_UNLOCK=(\S+)/.exec(readSource("deploy/vgas.service")) ?? [];
  expect(resolveConfig({ vaultUnlock: unlock }, {}).vaultUnlock).toMatch(/^systemd/);
});

test("the example of an environment is a configuration, also with what is commented out", () => {
  const lines = [...readSource("deploy/vgas.env").matchAll(/^#?(VGAS_\w+)=(.*)$/gm)];
  const env = Object.fromEntries(lines.map(([, name = "", value = ""]) => [name, value]));
  expect(resolveConfig({}, env)).toMatchObject({ lan: true, durability: "power", graceMs: 30_000 });
});

test("whoever stops the service waits longer than a node drains", () => {
  const { graceMs } = resolveConfig({}, {});
  const seconds = (pattern: RegExp, file: string): number => Number(pattern.exec(readSource(file))?.[1]);
  expect(seconds(/^TimeoutStopSec=(\d+)$/m, "deploy/vgas.service") * 1_000).toBeGreaterThan(graceMs);
  expect(seconds(/stop_grace_period: (\d+)s/, "deploy/compose.yaml") * 1_000).toBeGreaterThan(graceMs);
});
