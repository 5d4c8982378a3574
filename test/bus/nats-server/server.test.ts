import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, rm, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/transport-node";
import { describe, expect, it, onTestFinished } from "vitest";
import type { Home } from "../../../src/bus/home/home.ts";
import { identify, liveness } from "../../../src/bus/home/process-identity.ts";
import { liveBroker, readBrokerRecord } from "../../../src/bus/nats-server/broker-record.ts";
import { locateNatsServer } from "../../../src/bus/nats-server/locate.ts";
import { brokersOf } from "../../../src/bus/nats-server/orphans.ts";
import { RestartBudget } from "../../../src/bus/nats-server/restart-budget.ts";
import type { NatsServer } from "../../../src/bus/nats-server/server.ts";
import type { VgasError } from "../../../src/protocols/errors.ts";
import { connectAs, kill, nextLine, runFixture, startBroker, temporaryHome } from "../../support/home.ts";
import { freePort } from "../../support/nats.ts";
import { eventually } from "../../support/wait.ts";

async function systemConnection(home: Home, url: string): Promise<NatsConnection> {
  return await connectAs(url, await home.credentials.read("system"));
}

/** Kills the broker and waits for the one that follows it. */
async function crash(server: NatsServer): Promise<void> {
  const restarted = new Promise<void>((resolve) => {
    const forget = server.onRestart(() => {
      forget();
      resolve();
    });
  });
  process.kill(server.pid ?? 0, "SIGKILL");
  await restarted;
}

/** Pids of the brokers on that home. */
async function pids(home: Home): Promise<number[]> {
  return (await brokersOf(home.layout)).map(({ pid }) => pid);
}

/** A broker whose node was killed with -9. Whatever is left of it ends with the test. */
async function orphan(home: Home, ...args: readonly string[]): Promise<{ pid: number; port: number; url: string }> {
  const fixture = runFixture("broker", home.dir, ...args);
  const started = (await nextLine(fixture)) as { pid: number; port: number; url: string };
  onTestFinished(async () => {
    for (const pid of await pids(home)) process.kill(pid, "SIGKILL");
  });
  await kill(fixture.child);
  expect(await pids(home)).toEqual([started.pid]);
  return started;
}

describe("the broker of a home", () => {
  it("starts on a free port with its store, log and record in the home, and stops clean", async () => {
    const home = await temporaryHome();
    const server = await startBroker(home);
    const connection = await systemConnection(home, server.url);
    expect(connection.info).toMatchObject({ server_name: home.hostId, jetstream: true, auth_required: true });
    expect(await liveBroker(home.layout)).toMatchObject({ url: server.url, port: server.port, ready: true });
    expect((await stat(home.layout.nats.record)).mode & 0o777).toBe(0o600);
    const identity = await identify(server.pid ?? 0);
    if (identity === undefined) throw new Error("the broker was not found");
    await Promise.all([server.stop(), server.stop()]);
    expect(await liveness(identity)).toBe("dead");
    expect(await readBrokerRecord(home.layout)).toBeUndefined();
    expect(await readFile(home.layout.nats.log, "utf8")).toMatch(/Server Exiting/);
  });

  it("listens on loopback only", async () => {
    const home = await temporaryHome();
    const { port } = await startBroker(home);
    const log = await readFile(home.layout.nats.log, "utf8");
    expect(log.match(/Listening for .*/g)).toEqual([`Listening for client connections on 127.0.0.1:${port}`]);
  });

  it("lets two homes run side by side, and keeps what is stored over a stop", async () => {
    const [one, two] = [await temporaryHome(), await temporaryHome()];
    const [first, second] = [await startBroker(one), await startBroker(two)];
    expect(first.port).not.toBe(second.port);
    const manager = await jetstreamManager(await systemConnection(one, first.url));
    await manager.streams.add({ name: "KEPT", subjects: ["kept"] });
    await first.stop();
    const again = await startBroker(one);
    expect(
      (await (await jetstreamManager(await systemConnection(one, again.url))).streams.info("KEPT")).config.name,
    ).toBe("KEPT");
  });

  it("is refused without the home's lock", async () => {
    const home = await temporaryHome();
    const { startNatsServer } = await import("../../../src/bus/nats-server/server.ts");
    const start = startNatsServer({ home, port: 0, durability: "process", onExit: () => undefined });
    await expect(start).rejects.toMatchObject({ code: "INTERNAL" });
  });

  it("says which port is taken, and leaves nothing behind", async () => {
    const taken = createServer().listen(0, "127.0.0.1");
    onTestFinished(() => void taken.close());
    await once(taken, "listening");
    const address = taken.address();
    const port = typeof address === "object" ? (address?.port ?? 0) : 0;
    const home = await temporaryHome();
    await expect(startBroker(home, { port })).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining(`port ${port}`),
    });
    expect(await pids(home)).toEqual([]);
  });

  it("says why it cannot start, in the words of its log", async () => {
    const home = await temporaryHome();
    await rm(home.layout.nats.store, { recursive: true });
    await writeFile(home.layout.nats.store, "a file where the store should be");
    const error = await startBroker(home).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "BROKER_FAILED" });
    expect(String(error)).toMatch(/JetStream|storage directory/i);
    expect(String(error)).toContain(home.layout.nats.log);
    expect(await pids(home)).toEqual([]);
  });

  it("comes back on the same port with every acknowledged message after kill -9", async () => {
    const home = await temporaryHome();
    const server = await startBroker(home);
    const before = { pid: server.pid, url: server.url };
    const connection = await systemConnection(home, server.url);
    await (await jetstreamManager(connection)).streams.add({ name: "KEPT", subjects: ["kept"] });
    const acks = Array.from({ length: 200 }, () => jetstream(connection).publish("kept", "x"));
    await Promise.all(acks);
    await crash(server);
    expect(server.url).toBe(before.url);
    expect(server.pid).not.toBe(before.pid);
    const manager = await jetstreamManager(await systemConnection(home, server.url));
    expect((await manager.streams.info("KEPT")).state.messages).toBe(acks.length);
    expect(await liveBroker(home.layout)).toMatchObject({ ready: true, process: { pid: server.pid } });
  });

  it("is given up, once, when it ends too often", async () => {
    const home = await temporaryHome();
    const exits: VgasError[] = [];
    let tell: (() => void) | undefined;
    const exited = new Promise<void>((resolve) => {
      tell = resolve;
    });
    const server = await startBroker(home, {
      restarts: new RestartBudget(2, 60_000),
      onExit: (error) => {
        exits.push(error);
        tell?.();
      },
    });
    await crash(server);
    await crash(server);
    process.kill(server.pid ?? 0, "SIGKILL");
    await exited;
    expect(exits).toMatchObject([{ code: "BROKER_FAILED", message: expect.stringContaining("more than 2 times") }]);
    expect(await pids(home)).toEqual([]);
    await server.stop();
    expect(exits).toHaveLength(1);
  });

  it("ends what it finds half started when it is stopped", async () => {
    const home = await temporaryHome();
    const server = await startBroker(home);
    process.kill(server.pid ?? 0, "SIGKILL");
    await server.stop();
    expect(await pids(home)).toEqual([]);
  });
});

describe("a broker whose node was killed with -9", () => {
  it("is adopted if it is what a new one would be: same process, same port, clients stay connected", async () => {
    const home = await temporaryHome();
    const left = await orphan(home);
    const client = await connectAs(left.url, await home.credentials.read("client"));
    const server = await startBroker(home);
    expect(server).toMatchObject({ adopted: true, pid: left.pid, port: left.port, url: left.url });
    await client.flush();
    await connectAs(server.url, await home.credentials.issueNode("worker"));
    expect(await pids(home)).toEqual([left.pid]);
    await server.stop();
    expect(await pids(home)).toEqual([]);
  });

  it("is restarted after its adoption as any other", async () => {
    const home = await temporaryHome();
    const left = await orphan(home);
    const server = await startBroker(home);
    expect(server.adopted).toBe(true);
    await crash(server);
    expect(server.url).toBe(left.url);
    await systemConnection(home, server.url);
    expect(await pids(home)).toEqual([server.pid]);
  });

  it("is stopped if its configuration is another, before the next one opens the store", async () => {
    const home = await temporaryHome();
    const left = await orphan(home, "0", "power");
    const server = await startBroker(home);
    expect(server.adopted).toBe(false);
    expect(await pids(home)).toEqual([server.pid]);
    expect(server.pid).not.toBe(left.pid);
    // It takes connections before it writes that it is ready.
    const order = await eventually(async () => {
      const said = (await readFile(home.layout.nats.log, "utf8")).match(/Server Exiting|Server is ready/g);
      return said !== null && said.length >= 3 ? said : undefined;
    }, "the next one to say that it is ready");
    expect(order).toEqual(["Server is ready", "Server Exiting", "Server is ready"]);
  });

  it("is stopped if nothing is recorded of it", async () => {
    const home = await temporaryHome();
    const left = await orphan(home);
    await rm(home.layout.nats.record);
    const server = await startBroker(home);
    expect(server.adopted).toBe(false);
    expect(await pids(home)).toEqual([server.pid]);
    expect(server.pid).not.toBe(left.pid);
  });

  it("is stopped if it does not listen on the port that is asked for", async () => {
    const home = await temporaryHome();
    await orphan(home);
    const port = await freePort();
    const server = await startBroker(home, { port });
    expect(server).toMatchObject({ adopted: false, port });
    expect(await pids(home)).toEqual([server.pid]);
  });

  it("is stopped if it hangs", async () => {
    const home = await temporaryHome();
    const left = await orphan(home);
    process.kill(left.pid, "SIGSTOP");
    const server = await startBroker(home);
    expect(server.adopted).toBe(false);
    expect(await pids(home)).toEqual([server.pid]);
  });

  it("is not mistaken for another process that has the home's configuration open", async () => {
    const home = await temporaryHome();
    const args = ["-e", "setInterval(() => {}, 1e9)", "--", "-c", home.layout.nats.config];
    const reader = spawn(process.execPath, args, { stdio: "ignore" });
    onTestFinished(() => kill(reader));
    await once(reader, "spawn");
    await startBroker(home);
    expect(reader.exitCode ?? reader.signalCode).toBeNull();
  });

  it("leaves the home to one of two nodes that start at once", async () => {
    const home = await temporaryHome();
    await orphan(home);
    const nodes = [runFixture("broker", home.dir), runFixture("broker", home.dir)];
    const said = await Promise.all(nodes.map(nextLine));
    expect(said.filter((line) => line["adopted"] === true)).toHaveLength(1);
    expect(said.filter((line) => line["code"] === "HOME_IN_USE")).toHaveLength(1);
    expect(await pids(home)).toHaveLength(1);
  });

  it("ends with its node when that one exits by itself", async () => {
    const home = await temporaryHome();
    const fixture = runFixture("broker", home.dir);
    await nextLine(fixture);
    const exited = once(fixture.child, "exit");
    fixture.child.stdin?.end();
    await exited;
    expect(await pids(home)).toEqual([]);
    await expect(home.lock()).resolves.toBeUndefined();
  });

  it("ends with its node when that one exits without stopping it", async () => {
    const home = await temporaryHome();
    const fixture = runFixture("broker", home.dir);
    await nextLine(fixture);
    const exited = once(fixture.child, "exit");
    fixture.child.stdin?.write("exit\n");
    expect(await exited).toEqual([70, null]);
    await eventually(async () => (await pids(home)).length === 0 || undefined, "the broker to end");
  });

  it("is only ever one that is new enough", async () => {
    const { version } = await locateNatsServer();
    expect(Number(version.split(".")[0]) * 1_000 + Number(version.split(".")[1])).toBeGreaterThanOrEqual(2_012);
  });
});
