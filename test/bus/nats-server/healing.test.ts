import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { jetstream, jetstreamManager, StorageType } from "@nats-io/jetstream";
import { expect, it, onTestFinished, test } from "vitest";
import { type Home, openHome } from "../../../src/bus/home/home.ts";
import { locateNatsServer } from "../../../src/bus/nats-server/locate.ts";
import { brokersOf } from "../../../src/bus/nats-server/orphans.ts";
import { brokerArguments } from "../../../src/bus/nats-server/process.ts";
import { RestartBudget } from "../../../src/bus/nats-server/restart-budget.ts";
import type { NatsServer } from "../../../src/bus/nats-server/server.ts";
import { WATCH_TIMING } from "../../../src/bus/nats-server/watch.ts";
import type { VgasError } from "../../../src/protocols/errors.ts";
import { connectAs, startBroker, temporaryHome } from "../../support/home.ts";
import { freePort } from "../../support/nats.ts";
import { describeWith } from "../../support/require.ts";
import { SmallDisk, smallDiskMissing } from "../../support/small-disk.ts";
import { eventually, until } from "../../support/wait.ts";

/** Looks as the real one does, but more often. */
const watching = { ...WATCH_TIMING, periodMs: 100 };
/** Fast enough for a test. On a machine that is very busy it takes one that works for hung too, so only while one hangs. */
const hasty = { periodMs: 100, timeoutMs: 500, hangMs: 800 };

function restarted(server: NatsServer): Promise<void> {
  return new Promise((resolve) => {
    const forget = server.onRestart(() => {
      forget();
      resolve();
    });
  });
}

async function pids(home: Home): Promise<number[]> {
  return (await brokersOf(home.layout)).map(({ pid }) => pid);
}

async function connected(home: Home, server: NatsServer) {
  return await connectAs(server.url, await home.credentials.read("system"));
}

test("a broker that hangs is ended, and the next one has its port and its store", async () => {
  const home = await temporaryHome();
  const timing = { ...watching };
  const server = await startBroker(home, { watching: timing });
  const manager = await jetstreamManager(await connected(home, server));
  await manager.streams.add({ name: "KEPT", subjects: ["kept"] });
  const { pid, url } = server;
  const again = restarted(server);
  Object.assign(timing, hasty);
  server.onRestart(() => Object.assign(timing, watching));
  process.kill(pid ?? 0, "SIGSTOP");
  await again;
  expect(server.url).toBe(url);
  expect(server.restarts).toBeGreaterThanOrEqual(1);
  expect(await pids(home)).toEqual([server.pid]);
  expect(server.pid).not.toBe(pid);
  const { streams } = await jetstreamManager(await connected(home, server));
  expect((await streams.info("KEPT")).config.name).toBe("KEPT");
});

test("a broker whose JetStream was switched off is started again with it", async () => {
  const home = await temporaryHome();
  const server = await startBroker(home, { watching });
  const text = await readFile(home.layout.nats.config, "utf8");
  const again = restarted(server);
  await writeFile(home.layout.nats.config, text.replace(/^jetstream \{/m, "jetstream {\n  enabled: false"));
  server.reload();
  await again;
  expect(await pids(home)).toEqual([server.pid]);
  expect((await connected(home, server)).info).toMatchObject({ jetstream: true });
});

test("no broker is started beside another one on the same store: the node gives up instead", async () => {
  const home = await temporaryHome();
  const exits: VgasError[] = [];
  let tell: () => void = () => undefined;
  const exited = new Promise<void>((resolve) => {
    tell = resolve;
  });
  const server = await startBroker(home, {
    restarts: new RestartBudget(2, 60_000),
    onExit: (error) => {
      exits.push(error);
      tell();
    },
  });
  const environment = (await readFile(`/proc/${server.pid}/environ`, "utf8")).split("\0");
  const second = spawn((await locateNatsServer()).path, brokerArguments(home.layout.nats.config), {
    env: {
      ...Object.fromEntries(environment.filter((each) => each.includes("=")).map((each) => each.split(/=(.*)/s))),
      VGAS_PORT: String(await freePort()),
    },
    stdio: "ignore",
  });
  onTestFinished(() => void second.kill("SIGKILL"));
  await once(second, "spawn");
  await eventually(async () => (await pids(home)).length === 2 || undefined, "the second broker to run");
  process.kill(server.pid ?? 0, "SIGKILL");
  await exited;
  expect(exits).toMatchObject([{ code: "BROKER_FAILED", message: expect.stringContaining("a second broker") }]);
  expect(await pids(home)).toEqual([second.pid]);
});

describeWith("mount", smallDiskMissing())("a broker on a small disk", () => {
  async function onSmallDisk() {
    const disk = new SmallDisk(32 * 2 ** 20);
    const home = await openHome(`${disk.dir}/home`);
    onTestFinished(() => home.release());
    const server = await startBroker(home, { watching });
    const connection = await connected(home, server);
    const manager = await jetstreamManager(connection);
    for (const name of ["ONE", "TWO"])
      await manager.streams.add({ name, subjects: [name.toLowerCase()], storage: StorageType.File });
    return {
      disk,
      home,
      server,
      publish: (timeout = 60_000) => jetstream(connection).publish("one", "x".repeat(10_000), { timeout }),
    };
  }

  async function count(home: Home, server: NatsServer): Promise<number> {
    const manager = await jetstreamManager(await connected(home, server));
    return (await manager.streams.info("ONE")).state.messages;
  }

  it("says that the disk is full, and stores again by itself when there is room, all that it acknowledged", async () => {
    const { disk, home, server, publish } = await onSmallDisk();
    for (let i = 0; i < 20; i++) await publish();
    disk.fill();
    let refused = 0;
    while (refused < 3) await publish(500).catch(() => refused++);
    await until(() => server.trouble?.includes("does not store what it is sent") === true);
    expect(server.trouble).toMatch(/does not store what it is sent.*no space is left on that disk: free some/);
    expect(server.restarts).toBe(0);
    const again = restarted(server);
    await disk.empty();
    await again;
    expect(server.trouble).toBeUndefined();
    expect(await pids(home)).toEqual([server.pid]);
    expect(await count(home, server)).toBeGreaterThanOrEqual(20);
    const after = jetstream(await connected(home, server));
    await after.publish("one", "y");
    await after.publish("two", "y");
  });

  it("is not started while its store is full or read-only, says so, and is when it can be written", async () => {
    const { disk, home, server, publish } = await onSmallDisk();
    for (let i = 0; i < 20; i++) await publish();
    disk.fill();
    process.kill(server.pid ?? 0, "SIGKILL");
    await until(() => server.trouble?.includes("cannot be started again") === true);
    expect(server.trouble).toContain("no space is left on that disk");
    disk.readOnly = true;
    await until(() => server.trouble?.includes("read-only") === true);
    expect(await pids(home)).toEqual([]);
    const again = restarted(server);
    disk.readOnly = false;
    await disk.empty();
    await again;
    expect(server.trouble).toBeUndefined();
    expect(await count(home, server)).toBe(20);
  });
});
