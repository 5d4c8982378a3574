/** `up` and `join`: the processes that are nodes. */
import { once } from "node:events";
import { existsSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { expect, test } from "vitest";
import { eventually, until } from "../support/wait.ts";
import { vgas } from "./in-process.ts";
import { FIXTURES, type Running, start, temporary } from "./support.ts";

interface Ready {
  readonly event: string;
  readonly url: string;
  readonly http: string;
  readonly hostId: string;
}

function up(home: string, ...flags: readonly string[]): Running {
  return start(["up", "--home", home, "--nats-port", "0", "--http-port", "0", ...flags]);
}

test("up tells that it is ready once, as JSON, has its home to itself, and serves until SIGTERM, then exits with 0", async () => {
  const home = temporary();
  const node = up(home, "--json");
  const ready = JSON.parse(await node.line(0)) as Ready;
  expect(ready).toEqual({
    event: "ready",
    url: expect.stringMatching(/^nats:\/\/127\.0\.0\.1:\d+$/),
    http: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
    hostId: expect.stringMatching(/^n[a-z2-7]{9}$/),
  });
  const second = await up(home).end;
  expect(second.err).toContain(`process ${node.child.pid} runs a node on ${home}`);
  expect([second.code, second.out]).toEqual([78, ""]);
  expect(await (await fetch(`${ready.http}/readyz`)).json()).toMatchObject({ status: "ready" });
  node.child.kill("SIGTERM");
  const { code, out, err } = await node.end;
  expect(err).toContain("SIGTERM: draining");
  expect(out.trim().split("\n")).toHaveLength(1);
  expect(code).toBe(0);
});

test("up without --json says it for people, without colour where that is no terminal", async () => {
  const node = up(temporary());
  expect(await node.line(0)).toMatch(
    /^ready nats:\/\/127\.0\.0\.1:\d+ {2}http:\/\/127\.0\.0\.1:\d+ {2}node n[a-z2-7]{9}$/,
  );
  node.child.kill("SIGINT");
  const { code, err } = await node.end;
  expect(err).not.toContain("\x1b");
  expect(code).toBe(0);
});

test("P8: the first SIGTERM lets a task finish on a node that is not ready any more, and its result is there after the next start", async () => {
  const home = temporary();
  const [started, go] = [join(home, "started"), join(home, "go")];
  const module = ["--module", join(FIXTURES, "agents.ts")];
  const node = up(home, "--json", ...module);
  const { http } = JSON.parse(await node.line(0)) as Ready;
  const submitted = await vgas(["submit", "hold", JSON.stringify({ started, go }), "--home", home]);
  await until(() => existsSync(started));
  node.child.kill("SIGTERM");
  const stopping = await eventually(async () => {
    const answer = await fetch(`${http}/readyz`);
    return answer.status === 503 ? ((await answer.json()) as object) : undefined;
  }, "the node to be not ready");
  expect(stopping).toMatchObject({ bus: "stopping" });
  writeFileSync(go, "");
  expect((await node.end).code).toBe(0);
  const again = up(home);
  await again.line(0);
  const result = await vgas(["results", submitted.out.trim(), "--home", home]);
  expect(JSON.parse(result.out)).toMatchObject({ status: "ok", output: "held", attempt: 1 });
});

test.each([
  { signal: "SIGINT", exitCode: 130 },
  { signal: "SIGTERM", exitCode: 143 },
] as const)("the second $signal ends a node at once with $exitCode", async ({ signal, exitCode }) => {
  const home = temporary();
  const started = join(home, "started");
  const node = up(home, "--module", join(FIXTURES, "agents.ts"));
  await node.line(0);
  await vgas(["submit", "hold", JSON.stringify({ started, go: join(home, "never") }), "--home", home]);
  await until(() => existsSync(started));
  node.child.kill(signal);
  await node.said("draining");
  node.child.kill(signal);
  expect((await node.end).code).toBe(exitCode);
});

test("a port that is taken and a module that cannot be loaded end up with 78 and leave nothing running", async () => {
  const taken = createServer().listen(0, "127.0.0.1");
  await once(taken, "listening");
  const { port } = taken.address() as AddressInfo;
  const home = temporary();
  const http = await start(["up", "--home", home, "--nats-port", "0", "--http-port", String(port)]).end;
  taken.close();
  expect(http.err).toContain(`HTTP port ${port} is taken`);
  expect(http.code).toBe(78);
  // Found before a broker was started for nothing.
  expect(existsSync(join(home, "nats", "nats-server.log"))).toBe(false);
  const module = await up(home, "--module", join(home, "none.ts")).end;
  expect(module.err).toContain("there is no such file");
  expect(module.code).toBe(78);
});

test("two behaviours for one kind are refused by the names of both", async () => {
  const agents = join(FIXTURES, "agents.ts");
  const twice = await up(temporary(), "--module", agents, "--module", agents).end;
  expect(twice.err).toContain(`is offered by --module ${agents} and by --module ${agents}`);
  expect(twice.code).toBe(78);
});

test("join attaches by what connection printed, its agents are seen, and what is no node's is refused", async () => {
  const home = temporary();
  const first = up(home, "--agents", "0", "--roles", "dispatcher", "--json");
  const { url } = JSON.parse(await first.line(0)) as Ready;
  const described = await vgas(["connection", "--role", "worker", "--inline", "--home", home]);
  const second = start(["join", "--connection", "-", "--home", join(home, "joined"), "--json", "--agents", "3"], {
    stdin: described.out,
  });
  const ready = JSON.parse(await second.line(0)) as Ready;
  expect(ready.url).toBe(url);
  const { inboxPrefix } = JSON.parse(described.out) as { inboxPrefix: string };
  expect(inboxPrefix).toBe(`_INBOX.${ready.hostId}`);
  const nodes = await eventually(async () => {
    const { out } = await vgas(["nodes", "--json", "--home", home]);
    return out.includes('"up"') ? out : undefined;
  }, "the node to be heard");
  expect(JSON.parse(nodes)).toMatchObject({ host: ready.hostId, state: "up", agents: 3, roles: ["agents"] });
  const result = await vgas(["submit", "echo", "7", "--wait", "--home", home]);
  expect(JSON.parse(result.out)).toMatchObject({ status: "ok", output: 7, host: ready.hostId });
  second.child.kill("SIGTERM");
  expect((await second.end).code).toBe(0);
  // A credential that is no node's, and text that is no connection.
  const client = await vgas(["connection", "--inline", "--home", home]);
  const attach = (stdin: string, to: string) =>
    start(["join", "--connection", "-", "--home", join(home, to)], { stdin }).end;
  const [byClient, byNonsense] = await Promise.all([attach(client.out, "client"), attach("{}", "nonsense")]);
  expect(byClient.err).toContain("a node needs one of its own: `vgas connection --role worker`");
  expect(byNonsense.err).toContain("nkeySeed");
  expect([byClient.code, byNonsense.code]).toEqual([78, 78]);
});
