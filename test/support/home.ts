/** Temporary homes, processes that run one, and the NATS server's answer to what a credential tries. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { connect, type NatsConnection, nkeyAuthenticator } from "@nats-io/transport-node";
import { onTestFinished } from "vitest";
import { type Home, openHome } from "../../src/bus/home/home.ts";
import { type NatsServer, type NatsServerOptions, startNatsServer } from "../../src/bus/nats-server/server.ts";
import { type ProgramName, programCommand } from "./programs.ts";

/** A directory that is gone after the test, unless the test failed. Its name holds a space, as many homes do. */
export async function temporaryDirectory(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "vgas test-"));
  onTestFinished(async ({ task }) => {
    if (task.result?.state !== "fail") await rm(dir, { recursive: true, force: true });
  });
  return dir;
}

export async function temporaryHome(prefix?: string): Promise<Home> {
  const home = await openHome(await temporaryDirectory(), prefix === undefined ? {} : { prefix });
  onTestFinished(() => home.release());
  return home;
}

/** Starts the broker of `home` on a free port; the test stops it at its end. */
export async function startBroker(home: Home, options: Partial<NatsServerOptions> = {}): Promise<NatsServer> {
  await home.lock();
  const server = await startNatsServer({
    home,
    port: 0,
    durability: "process",
    onExit: (error) => {
      throw error;
    },
    ...options,
  });
  onTestFinished(() => server.stop());
  return server;
}

/** Connects as that user; no reconnect, so what the server cuts stays cut. */
export async function connectAs(
  url: string,
  credential: { seed: Uint8Array; inboxPrefix: string },
): Promise<NatsConnection> {
  const connection = await connect({
    servers: url,
    authenticator: nkeyAuthenticator(credential.seed),
    inboxPrefix: credential.inboxPrefix,
    reconnect: false,
  });
  onTestFinished(() => connection.close());
  return connection;
}

export interface Fixture {
  readonly child: ChildProcess;
  /** Every line it prints, parsed. */
  readonly lines: AsyncIterator<unknown>;
}

/** Runs a program in a process of its own; it is killed at the end of the test. */
export function runFixture(name: ProgramName, ...args: readonly string[]): Fixture {
  const [file, ...rest] = programCommand(name, ...args);
  const child = spawn(file, rest, { stdio: ["pipe", "pipe", "inherit"] });
  onTestFinished(() => kill(child));
  return { child, lines: parsed(child) };
}

/** The next line that the fixture prints. */
export async function nextLine(fixture: Fixture): Promise<Record<string, unknown>> {
  const { value, done } = await fixture.lines.next();
  if (done === true) throw new Error("the fixture ended without a further line");
  return value as Record<string, unknown>;
}

/** `kill -9`, and waits until it is dead. */
export async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

async function* parsed(child: ChildProcess): AsyncGenerator<unknown> {
  if (child.stdout === null) return;
  for await (const line of createInterface({ input: child.stdout })) yield JSON.parse(line);
}
