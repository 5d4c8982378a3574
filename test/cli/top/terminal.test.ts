/** `vgas top` on a terminal and into a pipe, over one swarm. */
import { spawnSync } from "node:child_process";
import { beforeAll, expect, test } from "vitest";
import { TestSwarm } from "../../support/swarm.ts";
import { eventually } from "../../support/wait.ts";
import { vgas } from "../in-process.ts";
import { type OnTerminal, onTerminal } from "../vault/pseudo-terminal.ts";

const swarm = new TestSwarm();
const home = ["--home", swarm.home];
const [ENTER, LEAVE] = ["\x1b[?1049h", "\x1b[?1049l"];

beforeAll(async () => {
  await swarm.up("--agents", "2");
});

test("takes the screen, obeys keys, and gives the terminal back when it is quit", async () => {
  const top = onTerminal(["top", "--interval", "500ms", ...home]);
  await top.sees(ENTER);
  await top.sees("default.echo");
  top.type("s");
  await top.sees("sort: waiting");
  top.type("p");
  await top.sees("PAUSED");
  top.type("q");
  const { code, settings } = await top.end;
  expect(code).toBe(0);
  expect(settings).toMatch(/ icanon/);
  expect(settings).toMatch(/ echo /);
  const shown = top.shown();
  expect(shown.indexOf(LEAVE)).toBeGreaterThan(shown.indexOf(ENTER));
  expect(shown.lastIndexOf("\x1b[?25h")).toBeGreaterThan(shown.lastIndexOf("\x1b[?25l"));
});

function resize(top: OnTerminal, columns: number, rows: number): void {
  const { stdout: tty } = spawnSync("ps", ["-o", "tty=", "-p", String(top.pid())], { encoding: "utf8" });
  const set = `stty cols ${columns} rows ${rows} < /dev/${tty.trim()}`;
  expect(spawnSync("sh", ["-c", set]).status).toBe(0);
}

test("follows the size of its terminal at once, and goes on when the broker is back", async () => {
  const top = onTerminal(["top", "--interval", "500ms", ...home]);
  await top.sees("default.echo");
  // While it is paused nothing else draws.
  top.type("p");
  await top.sees("PAUSED");
  resize(top, 120, 31);
  await top.sees("\x1b[31;1H");
  resize(top, 39, 31);
  await top.sees("this is 39x31");
  resize(top, 80, 24);
  await top.sees("PAUSED");
  top.type("p");
  // As long as it is paused it would not show that it is cut off, and that may be over by the next look.
  await top.sees("p pause");
  process.kill(swarm.brokerPid() as number, "SIGKILL");
  await top.sees("cut off from NATS");
  await top.sees("\x1b[32mok");
  top.type("\x03");
  expect((await top.end).code).toBe(0);
});

test("gives the terminal back when it is told to end", async () => {
  const top = onTerminal(["top", ...home]);
  await top.sees("default.echo");
  process.kill(top.pid(), "SIGTERM");
  const { code, settings } = await top.end;
  expect(code).toBe(143);
  expect(settings).toMatch(/ icanon/);
  expect(top.shown()).toContain(LEAVE);
});

test("prints a snapshot where it is no terminal, and an object with --json", async () => {
  // One look at a node that is not heard in time calls the swarm degraded.
  const text = await eventually(async () => {
    const told = await vgas(["top", "--once", ...home]);
    return told.out.startsWith("vgas top  ok ") ? told : undefined;
  }, "a snapshot of a swarm that is well");
  expect(text).toMatchObject({ code: 0, err: "" });
  expect(text.out).toMatch(/^default\.echo +2 +0 +0/m);
  expect(text.out).not.toContain("\x1b");
  const json = await eventually(async () => {
    const { out } = await vgas(["top", "--once", "--json", ...home]);
    return out.includes('"health":"ok"') ? out : undefined;
  }, "the same as an object");
  expect(JSON.parse(json)).toMatchObject({
    state: { health: "ok", lanes: [{ kind: "echo", agents: 2 }, { kind: "sleep" }] },
    nodes: [{ state: "up", slots: 32 }],
    tasksPerSecond: 0,
    failing: [],
  });
});

test("says what is wrong with a flag, and that there is no swarm", async () => {
  expect(await vgas(["top", "--interval", "soon", ...home])).toMatchObject({ code: 2, out: "" });
  expect(await vgas(["top", "--once", "--home", `${swarm.dir}/none`])).toMatchObject({ code: 69, out: "" });
});
