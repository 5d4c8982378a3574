import { createUser } from "@nats-io/nkeys";
import { connect, type NatsConnection, nkeyAuthenticator, PermissionViolationError } from "@nats-io/transport-node";
import { describe, expect, it, onTestFinished } from "vitest";
import type { Bus } from "../../../src/bus/bus.ts";
import { connectBus } from "../../../src/bus/connection.ts";
import type { Credential } from "../../../src/bus/credentials/credentials.ts";
import { KvBucket } from "../../../src/bus/kv.ts";
import { Publisher } from "../../../src/bus/publisher.ts";
import { ackTask, type PulledMessage, PullSubscription } from "../../../src/bus/pull.ts";
import { lastBySubject } from "../../../src/bus/stored.ts";
import { consumerInfo, ensureLaneConsumer, ensureTopology, streamInfo } from "../../../src/bus/topology.ts";
import { TOPOLOGY_DEFAULTS } from "../../../src/protocols/streams.ts";
import { jsApi, kvSubject, Names } from "../../../src/protocols/subjects.ts";
import { connectAs, startBroker, temporaryHome } from "../../support/home.ts";

const names = new Names();
const BYTES = new Uint8Array([0x80]);
const { tasks, results } = names.streams;

/** The subject of the first permission violation among those publishes, or "none" once the server has answered for all. */
async function refusedPublish(connection: NatsConnection, subject: string): Promise<string> {
  const refused = violation(connection);
  connection.publish(subject, BYTES);
  await connection.flush();
  return await Promise.race([refused, settled("none")]);
}

async function refusedSubscribe(connection: NatsConnection, subject: string): Promise<string> {
  const refused = new Promise<string>((resolve) => {
    connection.subscribe(subject, {
      callback: (error) => {
        if (error instanceof PermissionViolationError) resolve(`subscribe ${error.subject}`);
      },
    });
  });
  await connection.flush();
  return await Promise.race([refused, settled("none")]);
}

/** The server sends a violation before the PONG of a later flush; one turn lets the client hand it on. */
async function settled(value: string): Promise<string> {
  await new Promise((resolve) => setImmediate(resolve));
  return value;
}

async function violation(connection: NatsConnection): Promise<string> {
  for await (const status of connection.status()) {
    if (status.type === "error" && status.error instanceof PermissionViolationError) {
      return `${status.error.operation} ${status.error.subject}`;
    }
  }
  return "closed";
}

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
  it("refuses every role what the others do", async () => {
    const home = await temporaryHome();
    const { url } = await startBroker(home);
    const worker = await home.credentials.issueNode("worker", "nworkeraaa");
    const dispatcher = await home.credentials.issueNode("dispatcher", "ndispatchr");
    const forbidden = [
      {
        credential: await home.credentials.read("client"),
        publish: [
          names.result("p", "i"),
          names.dead("p", "i"),
          names.heartbeat("n"),
          names.host("n", "burst"),
          kvSubject(names.buckets.rotation, "p.k"),
          jsApi.next(tasks, "p=k"),
          `$JS.ACK.${tasks}.p=k.1.1.1.1.1`,
          `$JS.API.STREAM.DELETE.${results}`,
          "_INBOX.client.x",
        ],
        subscribe: [
          ">",
          "_INBOX.>",
          "_INBOX.system.>",
          names.task("*", "*"),
          names.host("*", "*"),
          names.actor("vault"),
          "$JS.API.>",
          "$KV.>",
          "$SRV.PING",
        ],
      },
      {
        credential: await home.credentials.read("observer"),
        publish: [
          names.task("p", "k"),
          names.now("p", "k"),
          names.cancel("p", "i"),
          names.actor("log"),
          names.audit("v"),
          kvSubject(names.buckets.vault, "witness"),
          names.host("n", "recall"),
          names.result("p", "i"),
          `$JS.API.CONSUMER.CREATE.${tasks}.x`,
          jsApi.next(tasks, "p=k"),
          "_INBOX.client.x",
        ],
        subscribe: [
          ">",
          "_INBOX.>",
          "_INBOX.client.>",
          names.host("*", "*"),
          names.actor("vault"),
          names.now("*", "*"),
        ],
      },
      {
        credential: worker,
        publish: [
          names.task("p", "k"),
          names.heartbeat("ndispatchr"),
          names.host("ndispatchr", "burst"),
          kvSubject(names.buckets.rotation, "p.k"),
          jsApi.next(tasks, "p=k"),
          `$JS.API.CONSUMER.CREATE.${tasks}.x`,
          `$JS.API.STREAM.PURGE.${results}`,
          kvSubject(names.buckets.owners, "vault"),
          kvSubject(names.buckets.vault, "witness"),
          names.audit("v"),
          jsApi.messageGet(names.streams.audit),
        ],
        subscribe: [
          ">",
          names.actor("vault"),
          names.actor("vault", "nworkeraaa"),
          names.actor("vault", "*"),
          names.audit("*"),
          names.host("ndispatchr", "*"),
          names.host("*", "*"),
          "_INBOX.ndispatchr.>",
          "_INBOX.>",
          names.actor("log", "ndispatchr"),
          names.result("*", "*"),
          names.heartbeat("*"),
        ],
      },
      {
        credential: dispatcher,
        publish: [
          names.heartbeat("nworkeraaa"),
          `$JS.API.STREAM.DELETE.${tasks}`,
          `$JS.API.STREAM.PURGE.${tasks}`,
          "$SYS.REQ.SERVER.PING",
          kvSubject(names.buckets.owners, "vault"),
          kvSubject(names.buckets.vault, "witness"),
          names.audit("v"),
        ],
        subscribe: [
          ">",
          names.host("nworkeraaa", "*"),
          "_INBOX.nworkeraaa.>",
          "_INBOX.>",
          "$JS.API.>",
          names.actor("vault"),
          names.actor("vault", "ndispatchr"),
        ],
      },
      {
        credential: await home.credentials.read("admin"),
        publish: [
          "other.tasks.p.k",
          "$SYS.REQ.SERVER.PING",
          "_INBOX.client.x",
          kvSubject(names.buckets.owners, "vault"),
        ],
        subscribe: [">", "_INBOX.>", "_INBOX.client.>", "other.>", names.actor("vault"), names.actor("vault", "n")],
      },
    ];
    for (const { credential, publish, subscribe } of forbidden) {
      const connection = await connectAs(url, credential);
      for (const subject of publish) {
        expect(await refusedPublish(connection, subject), `${credential.user} publishes`).toBe(`publish ${subject}`);
      }
      for (const subject of subscribe) {
        expect(await refusedSubscribe(connection, subject), `${credential.user} subscribes`).toBe(
          `subscribe ${subject}`,
        );
      }
    }
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

  it("refuses a worker the mail of another worker", async () => {
    const home = await temporaryHome();
    const { url } = await startBroker(home);
    const [a, b] = [await home.credentials.issueNode("worker"), await home.credentials.issueNode("worker")];
    const connection = await connectAs(url, a);
    expect(await refusedSubscribe(connection, names.host(b.user, "*"))).toBe(`subscribe ${names.host(b.user, "*")}`);
    expect(await refusedSubscribe(connection, `${b.inboxPrefix}.>`)).toBe(`subscribe ${b.inboxPrefix}.>`);
    expect(await refusedSubscribe(connection, names.host(a.user, "*"))).toBe("none");
    expect(await refusedSubscribe(connection, `${a.inboxPrefix}.>`)).toBe("none");
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
    await ensureLaneConsumer(dispatcher, names, { pool: "p", kind: "k" });
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
    await attempts.put(names.attemptsKey("p", "i"), BYTES);
    expect(await attempts.get(names.attemptsKey("p", "i"))).toBeDefined();
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
    await expect.poll(async () => (await streamInfo(observer, tasks))?.messages).toBe(0);
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
