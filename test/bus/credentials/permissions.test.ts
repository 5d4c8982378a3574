import { createUser } from "@nats-io/nkeys";
import { connect, type NatsConnection, nkeyAuthenticator } from "@nats-io/transport-node";
import { describe, expect, it, onTestFinished } from "vitest";
import type { Bus } from "../../../src/bus/bus.ts";
import { connectBus } from "../../../src/bus/connection.ts";
import type { Credential } from "../../../src/bus/credentials/credentials.ts";
import { KvBucket } from "../../../src/bus/kv.ts";
import { Publisher } from "../../../src/bus/publisher.ts";
import { ackTask, type PulledMessage, PullSubscription } from "../../../src/bus/pull.ts";
import { lastBySubject } from "../../../src/bus/stored.ts";
import { consumerInfo, ensureLaneConsumers, ensureTopology, streamInfo } from "../../../src/bus/topology.ts";
import { TOPOLOGY_DEFAULTS } from "../../../src/protocols/streams.ts";
import { Names } from "../../../src/protocols/subjects.ts";
import { connectAs, startBroker, temporaryHome } from "../../support/home.ts";
import { eventually } from "../../support/wait.ts";

const names = new Names();
const BYTES = new Uint8Array([0x80]);
const { tasks, results } = names.streams;

async function busAs(url: string, credential: Credential): Promise<Bus> {
  const { seed, inboxPrefix, user } = credential;
  const bus = await connectBus({ url, seed, inboxPrefix, name: `test ${user}` });
  onTestFinished(() => bus.close());
  return bus;
}

describe("P12: nobody connects without a credential of the swarm", () => {
  it("refuses anonymous clients, foreign keys, and passwords", async () => {
    const { url } = await startBroker(await temporaryHome());
    const foreign = createUser().getSeed();
    const attempts = [
      {},
      { user: "admin", pass: "admin" },
      { token: "admin" },
      { authenticator: nkeyAuthenticator(foreign) },
    ];
    for (const attempt of attempts) {
      await expect(connect({ servers: url, reconnect: false, ...attempt })).rejects.toThrow(/Authorization Violation/);
    }
  });

  it("accepts each role, and leaves nobody a door to the system account", async () => {
    const home = await temporaryHome();
    const { url } = await startBroker(home);
    for (const role of ["system", "admin", "client", "observer"] as const) {
      const connection = await connectAs(url, await home.credentials.read(role));
      expect(connection.info?.auth_required).toBe(true);
      expect(connection.info?.max_payload).toBe(1_048_576);
    }
    const system = await connectAs(url, await home.credentials.read("system"));
    await expect(system.request("$SYS.REQ.SERVER.PING", BYTES, { timeout: 5_000 })).rejects.toThrow(/no responders/i);
  });

  it("cuts a revoked credential at once, and keeps the others connected", async () => {
    const home = await temporaryHome();
    const { url } = await startBroker(home);
    const [revoked, kept] = [await home.credentials.issueNode("worker"), await home.credentials.issueNode("worker")];
    const cut = await connectAs(url, revoked);
    const stays = await connectAs(url, kept);
    const closed = cut.closed();
    await home.credentials.revoke(revoked.user);
    await closed;
    expect(cut.isClosed()).toBe(true);
    await expect(
      connect({ servers: url, reconnect: false, authenticator: nkeyAuthenticator(revoked.seed) }),
    ).rejects.toThrow(/Authorization Violation/);
    await stays.flush();
    expect(stays.isClosed()).toBe(false);
    expect((await home.credentials.list()).map(({ user }) => user)).not.toContain(revoked.user);
  });
});

describe("P12: a credential opens only the subjects of its role", () => {
  it("lets an eavesdropper with a worker's credential hear nothing of the vault's answers and of other inboxes", async () => {
    const home = await temporaryHome();
    const { url } = await startBroker(home);
    const eavesdropper = await connectAs(url, await home.credentials.issueNode("worker", "nworkeraaa"));
    const heard: string[] = [];
    const everywhere = [
      ...[">", "*.>", "vgas.>", "vgas.actors.>", "vgas.actors.vault", "vgas.actors.vault.>", "vgas.*.vault"],
      ...["_INBOX.>", "_INBOX.*.>", "_INBOX.client.>", "_INBOX.system.>", "_INBOX.nworkerbbb.>", "_INBOX.*"],
      ...["_R_.>", "$JS.>", "$SYS.>", "$KV.>", "vgas.guests.>", "vgas.hosts.nworkerbbb.>", "vgas.hosts.*.burst"],
    ];
    // What its role opens, which is wide enough to cover the vault's name.
    const allowed = ["vgas.actors.*", "vgas.actors.*.nworkeraaa", "_INBOX.nworkeraaa.>"];
    for (const subject of [...everywhere, ...allowed]) {
      for (const queue of [undefined, "q"]) {
        eavesdropper.subscribe(subject, {
          ...(queue !== undefined && { queue }),
          callback: (error, message) => {
            if (error === null) heard.push(message.subject);
          },
        });
      }
    }
    await eavesdropper.flush();
    const vault = await connectAs(url, await home.credentials.read("system"));
    vault.subscribe("vgas.actors.vault", { callback: (_, message) => void message.respond("a secret") });
    await vault.flush();
    for (const credential of [
      await home.credentials.read("admin"),
      await home.credentials.read("client"),
      await home.credentials.issueNode("worker", "nworkerbbb"),
    ]) {
      const asker = await connectAs(url, credential);
      expect((await asker.request("vgas.actors.vault", "hello", { timeout: 5_000 })).string()).toBe("a secret");
      asker.publish("vgas.actors.log", "to anybody");
      await asker.flush();
    }
    vault.publish("vgas.hosts.nworkerbbb.burst", "a task");
    await vault.flush();
    await eavesdropper.flush();
    expect(new Set(heard)).toEqual(new Set(["vgas.actors.log"]));
  });

  it("lets nobody overhear the vault, neither by its name nor by a wider subscription, and everybody reach it", async () => {
    const home = await temporaryHome();
    const { url } = await startBroker(home);
    const listeners = [
      { credential: await home.credentials.read("admin"), subjects: [`${names.prefix}.>`, names.actor("*")] },
      { credential: await home.credentials.issueNode("worker", "nworkeraaa"), subjects: [names.actor("*")] },
      {
        credential: await home.credentials.issueNode("worker", "nworkerbbb"),
        subjects: [names.actor("*", "nworkerbbb")],
      },
      { credential: await home.credentials.issueNode("dispatcher", "ndispatchr"), subjects: [names.actor("*")] },
    ];
    const heard: string[] = [];
    const connections: NatsConnection[] = [];
    for (const { credential, subjects } of listeners) {
      const connection = await connectAs(url, credential);
      connections.push(connection);
      const callback = (_: Error | null, { subject }: { readonly subject: string }): void => {
        heard.push(`${credential.user} ${subject}`);
      };
      for (const subject of subjects) {
        connection.subscribe(subject, { callback });
        connection.subscribe(subject, { queue: "q", callback });
      }
      await connection.flush();
    }
    const vault = await connectAs(url, await home.credentials.read("system"));
    const asked: string[] = [];
    vault.subscribe(names.actor("vault"), {
      callback: (_, message) => {
        asked.push(message.string());
        message.respond(message.data);
      },
    });
    await vault.flush();
    const askers = ["admin", "client", "observer", "nworkeraaa", "ndispatchr"];
    for (const user of askers) {
      const connection = await connectAs(url, await home.credentials.read(user));
      const reply = await connection.request(names.actor("vault"), user, { timeout: 5_000 });
      expect(reply.string()).toBe(user);
    }
    expect(asked).toEqual(askers);
    vault.publish(names.actor("vault", "nworkerbbb"), BYTES);
    vault.publish(names.actor("log"), BYTES);
    vault.publish(names.actor("log", "nworkerbbb"), BYTES);
    await vault.flush();
    for (const connection of connections) await connection.flush();
    expect(heard.filter((line) => line.includes("vault"))).toEqual([]);
    // They are not deaf: the mail of other actors comes.
    for (const { credential } of listeners) {
      expect(heard.some((line) => line.startsWith(`${credential.user} `))).toBe(true);
    }
  });

  it("lets every role do its work: a task goes from a client through a dispatcher and a worker to its result", async () => {
    const home = await temporaryHome();
    const { url } = await startBroker(home);
    const system = await busAs(url, await home.credentials.read("system"));
    await ensureTopology(system, names, {
      ...TOPOLOGY_DEFAULTS,
      maxTaskBytes: 2 ** 20,
      maxResultBytes: 2 ** 20,
      maxDeadBytes: 2 ** 20,
    });

    const client = await busAs(url, await home.credentials.ensureRole("client"));
    const submitted = await new Publisher(client).publish(names.task("p", "k"), BYTES);
    expect(submitted.stream).toBe(tasks);
    const arrived = new Promise<string>((resolve) => {
      void client.subscribe(names.result("p", "*"), (message) => resolve(message.subject));
    });
    await client.flush();

    const dispatcher = await busAs(url, await home.credentials.issueNode("dispatcher"));
    await ensureTopology(dispatcher, names, {
      ...TOPOLOGY_DEFAULTS,
      maxTaskBytes: 2 ** 20,
      maxResultBytes: 2 ** 20,
      maxDeadBytes: 2 ** 20,
    });
    await ensureLaneConsumers(dispatcher, names, { pool: "p", kind: "k" });
    const rotation = new KvBucket(dispatcher, new Publisher(dispatcher), names.buckets.rotation);
    const revision = await rotation.cas("p.k", BYTES, 0);
    expect((await rotation.get("p.k"))?.revision).toBe(revision);
    const pulled = await new Promise<PulledMessage>((resolve, reject) => {
      const pull = new PullSubscription(dispatcher, tasks, names.consumer({ pool: "p", kind: "k" }), {
        onMessage: resolve,
        onTrouble: (reason, detail) => reject(new Error(`${reason}: ${detail}`)),
      });
      onTestFinished(() => pull.stop());
      pull.want(1);
    });

    const worker = await busAs(url, await home.credentials.issueNode("worker"));
    const attempts = new KvBucket(worker, new Publisher(worker), names.buckets.attempts);
    await attempts.put(names.taskKey("p", "i"), BYTES);
    expect(await attempts.get(names.taskKey("p", "i"))).toBeDefined();
    await new Publisher(worker).publish(names.result("p", "i"), BYTES);
    ackTask(worker, pulled.ack);
    await worker.flush();

    expect(await arrived).toBe(names.result("p", "i"));
    const stored = await lastBySubject(client, results, names.result("p", "i"));
    expect(Uint8Array.from(stored?.data ?? [])).toEqual(BYTES);
    const observer = await busAs(url, await home.credentials.ensureRole("observer"));
    expect((await consumerInfo(observer, tasks, names.consumer({ pool: "p", kind: "k" })))?.delivered).toBeGreaterThan(
      0,
    );
    // The ack of the worker removed the task: its credential opens the ack subject that this server really sends.
    const removed = async () => (await streamInfo(observer, tasks))?.messages === 0 || undefined;
    await eventually(removed, "the task to be removed");
    const seen: string[] = [];
    const watched = new KvBucket(observer, new Publisher(observer), names.buckets.rotation);
    await new Promise<void>((resolve, reject) => {
      watched
        .watch(">", (entry) => void seen.push(entry.key), { onCaughtUp: resolve })
        .then((stop) => onTestFinished(() => void stop()), reject);
    });
    expect(seen).toEqual(["p.k"]);
  });
});
