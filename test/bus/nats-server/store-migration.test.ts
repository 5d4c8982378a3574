import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { expect, onTestFinished, test } from "vitest";
import type { Home } from "../../../src/bus/home/home.ts";
import { locateNatsServer } from "../../../src/bus/nats-server/locate.ts";
import { brokersOf } from "../../../src/bus/nats-server/orphans.ts";
import { connectAs, kill, startBroker, temporaryHome } from "../../support/home.ts";
import { freePort } from "../../support/nats.ts";
import { rejection } from "../../support/wait.ts";

const STREAM = "VGAS_TASKS";
const TASKS = 50;

function accountDir(home: Home, account: string): string {
  return join(home.layout.nats.store, "jetstream", account);
}

/** Fills the home's store as a broker of before did, which had no accounts: tasks, of which some are acknowledged. */
async function storeOfBefore(home: Home): Promise<void> {
  const port = await freePort();
  const conf = join(home.dir, "before.conf");
  const jetstreamBlock = `jetstream { store_dir: ${JSON.stringify(home.layout.nats.store)}, max_file_store: 16TB }`;
  await writeFile(conf, `listen: "127.0.0.1:${port}"\n${jetstreamBlock}\n`);
  const server = spawn((await locateNatsServer()).path, ["-c", conf], { stdio: ["ignore", "ignore", "pipe"] });
  onTestFinished(() => kill(server));
  let log = "";
  while (!log.includes("Server is ready")) log += String((await once(server.stderr, "data"))[0]);
  const connection = await connect({ servers: `127.0.0.1:${port}`, reconnect: false });
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: STREAM, subjects: ["vgas.tasks.*.*"], retention: "workqueue" });
  await manager.consumers.add(STREAM, { durable_name: "lane", ack_policy: "explicit" });
  for (let task = 0; task < TASKS; task++)
    await jetstream(connection).publish("vgas.tasks.default.echo", `task ${task}`);
  const consumer = await jetstream(connection).consumers.get(STREAM, "lane");
  for (let task = 0; task < 10; task++) await (await consumer.next())?.ackAck();
  await connection.close();
  const gone = once(server, "exit");
  server.kill("SIGTERM");
  await gone;
  expect(await readdir(join(accountDir(home, "$G"), "streams"))).toEqual([STREAM]);
}

/** The tasks that wait, read by the broker that runs now. */
async function waiting(home: Home, url: string): Promise<{ tasks: string[]; pending: number }> {
  const connection = await connectAs(url, await home.credentials.read("system"));
  const manager = await jetstreamManager(connection);
  const { state } = await manager.streams.info(STREAM);
  const tasks: string[] = [];
  for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
    tasks.push((await manager.streams.getMessage(STREAM, { seq }))?.string() ?? "");
  }
  return { tasks, pending: (await manager.consumers.info(STREAM, "lane")).num_pending };
}

const left = Array.from({ length: TASKS - 10 }, (_, task) => `task ${task + 10}`);

test("what a broker of before stored is there after the update, with what was acknowledged, and stays", async () => {
  const home = await temporaryHome();
  await storeOfBefore(home);
  // As a process that was killed while an account without streams was there leaves it.
  await mkdir(join(accountDir(home, "SWARM"), "streams"), { recursive: true });
  const server = await startBroker(home);
  expect(await waiting(home, server.url)).toEqual({ tasks: left, pending: TASKS - 10 });
  expect(existsSync(join(accountDir(home, "$G"), "streams"))).toBe(false);
  await server.stop();
  const again = await startBroker(home);
  expect(await waiting(home, again.url)).toEqual({ tasks: left, pending: TASKS - 10 });
});

test("where both accounts hold streams nothing is started and nothing is touched, until one is moved away", async () => {
  const home = await temporaryHome();
  await storeOfBefore(home);
  await cp(accountDir(home, "$G"), accountDir(home, "SWARM"), { recursive: true });
  const error = await rejection(startBroker(home));
  expect(error).toMatchObject({ code: "CONFIG", message: expect.stringContaining("both hold streams") });
  expect(await brokersOf(home.layout)).toEqual([]);
  for (const account of ["$G", "SWARM"]) {
    expect(await readdir(join(accountDir(home, account), "streams"))).toEqual([STREAM]);
  }
  await rm(accountDir(home, "SWARM"), { recursive: true });
  const server = await startBroker(home);
  expect((await waiting(home, server.url)).tasks).toEqual(left);
});
