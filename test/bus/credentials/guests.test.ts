import { describe, expect, it, onTestFinished } from "vitest";
import type { Bus } from "../../../src/bus/bus.ts";
import { connectBus } from "../../../src/bus/connection.ts";
import type { Credential } from "../../../src/bus/credentials/credentials.ts";
import { ensureTopology, streamInfo } from "../../../src/bus/topology.ts";
import { TOPOLOGY_DEFAULTS } from "../../../src/protocols/streams.ts";
import { kvStream, Names } from "../../../src/protocols/subjects.ts";
import { connectAs, startBroker, temporaryHome } from "../../support/home.ts";
import { refusedPublishes } from "../../support/violations.ts";
import { eventually } from "../../support/wait.ts";

const names = new Names();
const BYTES = new Uint8Array([0x80]);

const STREAMS = [...Object.values(names.streams), ...Object.values(names.buckets).map(kvStream)] as const;

const EVERYWHERE = [
  ">",
  "*",
  "*.>",
  "vgas.>",
  "vgas.*.*.*",
  "vgas.results.*.*",
  "vgas.results.>",
  "vgas.tasks.*.*",
].concat([
  "vgas.events.*.*",
  "vgas.guests.>",
  "vgas.actors.*",
  "_INBOX.>",
  "_INBOX.*.>",
  "_R_.>",
  "$KV.>",
  "$JS.>",
  "$SYS.>",
]);

/** Where the answer to a message would do harm if its publisher could send it there. */
const REPLIES: readonly string[] = [
  "$KV.vgas_rotation.p.k",
  "$KV.vgas_owners.vault",
  "$KV.vgas_vault.witness",
  "$JS.API.STREAM.DELETE.VGAS_RESULTS",
  "$JS.API.STREAM.PURGE.VGAS_TASKS",
  "$JS.ACK.VGAS_TASKS.p=k.1.1.1.1.1",
  "vgas.results.p.stolen",
  "vgas.tasks.p.other",
  "vgas.dead.p.i",
  "vgas.audit.v",
  "vgas.actors.vault",
  "_INBOX.system.x",
];

async function busAs(url: string, { seed, inboxPrefix, user }: Credential): Promise<Bus> {
  const bus = await connectBus({ url, seed, inboxPrefix, name: `test ${user}` });
  onTestFinished(() => bus.close());
  return bus;
}

describe("P12: a guest reaches nothing but its own", () => {
  it("cannot make the broker write by naming a reply subject, and a client can: so guests are in an account of their own", async () => {
    const home = await temporaryHome();
    const { url } = await startBroker(home);
    const system = await busAs(url, await home.credentials.read("system"));
    await ensureTopology(system, names, TOPOLOGY_DEFAULTS);
    const sequences = async (): Promise<readonly (number | undefined)[]> =>
      await Promise.all(STREAMS.map(async (stream) => (await streamInfo(system, stream))?.lastSequence));
    const gate = await connectAs(url, await home.credentials.read("system"));
    const asked: string[] = [];
    gate.subscribe("vgas.guests.>", {
      callback: (_, message) => {
        asked.push(message.subject);
        message.respond(JSON.stringify({ stream: "VGAS_TASKS", seq: 1 }));
      },
    });
    await gate.flush();
    const credential = await home.credentials.issue("guest");
    const guest = await connectAs(url, credential);
    const before = await sequences();
    expect(before).not.toContain(undefined);

    for (const reply of REPLIES) {
      guest.publish("vgas.tasks.p.k", BYTES, { reply });
      guest.publish("$JS.API.DIRECT.GET.VGAS_RESULTS.vgas.results.p.i", BYTES, { reply });
      guest.publish("$SYS.REQ.USER.INFO", BYTES, { reply });
    }
    // A request is answered after all that was published before it.
    for (const subject of ["vgas.tasks.p.k", "$SYS.REQ.USER.INFO"])
      await guest.request(subject, BYTES, { timeout: 5_000 });
    await guest.flush();
    await gate.flush();
    // The server itself refuses a publish that names an acknowledgement as its reply.
    const passed = REPLIES.filter((reply) => !reply.startsWith("$JS.ACK."));
    expect(passed).toHaveLength(REPLIES.length - 1);
    expect(asked).toHaveLength(2 * passed.length + 1);
    expect(await sequences()).toEqual(before);

    const refused = await refusedPublishes(guest, REPLIES);
    expect([...refused].sort()).toEqual(REPLIES.filter((subject) => subject !== "vgas.tasks.p.other").sort());
    await gate.flush();
    expect(await sequences()).toEqual(before);

    const client = await connectAs(url, await home.credentials.ensureRole("client"));
    client.publish("vgas.tasks.p.k", BYTES, { reply: "vgas.results.p.stolen" });
    await client.flush();
    const stolen = async () => (await streamInfo(system, names.streams.results))?.messages || undefined;
    expect(await eventually(stolen, "the broker to write")).toBe(1);
  });

  it("hears neither another guest nor the swarm, whatever it subscribes to", async () => {
    const home = await temporaryHome();
    const { url } = await startBroker(home);
    const [own, other] = [await home.credentials.issue("guest"), await home.credentials.issue("guest")];
    const guest = await connectAs(url, own);
    const heard: string[] = [];
    for (const subject of [...EVERYWHERE, `_INBOX.${own.user}.>`, `_INBOX.${other.user}.>`]) {
      guest.subscribe(subject, {
        callback: (error, message) => {
          if (error === null) heard.push(`${message.subject} ${message.string()}`);
        },
      });
    }
    await guest.flush();
    const system = await connectAs(url, await home.credentials.read("system"));
    for (const user of [other.user, own.user]) {
      system.publish(`vgas.guests.${user}.results.p.i`, `result of ${user}`);
      system.publish(`_INBOX.${user}.x`, `answer to ${user}`);
    }
    for (const subject of ["vgas.results.p.i", "vgas.tasks.p.k", "vgas.events.p.i", "_INBOX.client.x"]) {
      system.publish(subject, "of the swarm");
    }
    await system.flush();
    await guest.flush();
    expect(new Set(heard)).toEqual(
      new Set([`vgas.results.p.i result of ${own.user}`, `_INBOX.${own.user}.x answer to ${own.user}`]),
    );
  });
});
