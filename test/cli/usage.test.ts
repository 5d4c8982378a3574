import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { vgas as inProcess } from "./in-process.ts";
import { BIN, temporary, vgas } from "./support.ts";

test.each([
  { args: [], message: "no command was given", hint: "vgas --help" },
  { args: ["pu"], message: "unknown command 'pu'", hint: "Did you mean up?" },
  { args: ["up", "--agnets", "3"], message: "unknown option '--agnets'", hint: "Did you mean --agents?" },
  { args: ["up", "--agents", "many"], message: "argument 'many' is invalid", hint: "vgas up --help" },
  { args: ["up", "--grace", "soon"], message: "a time such as 30s", hint: "vgas up --help" },
  { args: ["submit"], message: "missing required argument 'kind'", hint: "vgas submit --help" },
  { args: ["connection", "--role", "king"], message: "argument 'king' is invalid", hint: "client, observer" },
  { args: ["join", "--no-mdns"], message: "give --connection FILE", hint: "vgas connection --role worker" },
])("refuses $args with exit code 2 and a hint", async ({ args, message, hint }) => {
  const { code, out, err } = await inProcess(args);
  expect(err).toContain(message);
  expect(err).toContain(hint);
  expect(out).toBe("");
  expect(code).toBe(2);
});

test.each([
  { args: ["up", "--agents", "-1"], message: "agents" },
  { args: ["up", "--http-port", "70000"], message: "70000" },
  { args: ["up", "--roles", "king"], message: "king" },
  { args: ["up", "--nats", "http://x"], message: "nats://HOST:PORT" },
])("refuses the values of $args with exit code 78", async ({ args, message }) => {
  const { code, out, err } = await inProcess([...args, "--home", temporary()]);
  expect(err).toContain(message);
  expect(err).toContain("the command line");
  expect(out).toBe("");
  expect(code).toBe(78);
});

test("an environment variable is named when it is wrong", async () => {
  const { code, err } = await vgas(["up", "--home", temporary()], { env: { VGAS_AGENTS: "many" } });
  expect(err).toContain('VGAS_AGENTS must be a number, got "many"');
  expect(code).toBe(78);
});

test("with --json an error is one JSON object on standard error", async () => {
  const { code, out, err } = await vgas(["status", "--json", "--home", join(temporary(), "none")]);
  expect(JSON.parse(err)).toEqual({
    error: { code: "NO_SWARM", message: expect.stringContaining("no swarm on the home") },
  });
  expect(out).toBe("");
  expect(code).toBe(69);
});

test("help and version are data, and exit with 0", async () => {
  const help = await vgas(["--help"]);
  expect(help).toMatchObject({ code: 0, err: "" });
  for (const name of ["up", "join", "run", "submit", "results", "status", "nodes", "fairness", "connection", "vault"]) {
    expect(help.out).toMatch(new RegExp(`^  ${name} `, "m"));
  }
  expect(Math.max(...help.out.split("\n").map((line) => line.length))).toBeLessThanOrEqual(80);
  expect(await vgas(["--version"])).toEqual({ code: 0, out: "0.1.0\n", err: "" });
});

test("the launcher says what to do where nothing is built", () => {
  const dir = temporary();
  mkdirSync(join(dir, "bin"));
  copyFileSync(BIN, join(dir, "bin", "vgas.mjs"));
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(dir, "bin", "vgas.mjs"), "up"], {
    encoding: "utf8",
  });
  expect(stderr).toContain("npm run setup");
  expect(stdout).toBe("");
  expect(status).toBe(1);
});
