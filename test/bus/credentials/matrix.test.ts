import { createUser } from "@nats-io/nkeys";
import { describe, expect, it } from "vitest";
import type { Credential } from "../../../src/bus/credentials/credentials.ts";
import type { Home } from "../../../src/bus/home/home.ts";
import { connectAs, startBroker, temporaryHome } from "../../support/home.ts";
import { refusedPublishes, refusedSubscribes } from "../../support/violations.ts";

/** One user of each role. The letters are those of the tables below; `C` is a client and `O` an observer with keys of their own. */
async function everybody(home: Home): Promise<readonly { readonly letter: string; readonly credential: Caller }[]> {
  const { credentials } = home;
  const registered = async (user: string, role: "client" | "observer"): Promise<Caller> => {
    const pair = createUser();
    await credentials.register({ user, role, publicKey: pair.getPublicKey() });
    return { seed: Uint8Array.from(pair.getSeed()), inboxPrefix: `_INBOX.${user}` };
  };
  return [
    { letter: "s", credential: await credentials.read("system") },
    { letter: "a", credential: await credentials.read("admin") },
    { letter: "c", credential: await credentials.read("client") },
    { letter: "C", credential: await registered("cuseraaaaa", "client") },
    { letter: "o", credential: await credentials.read("observer") },
    { letter: "O", credential: await registered("cuserbbbbb", "observer") },
    { letter: "w", credential: await credentials.issueNode("worker", "nworkeraaa") },
    { letter: "d", credential: await credentials.issueNode("dispatcher", "ndispatchr") },
    { letter: "g", credential: await credentials.issue("guest", "gguestaaaa") },
  ];
}

type Caller = Pick<Credential, "seed" | "inboxPrefix">;

/**
 * Who may publish what: written down by hand, subject by subject, so that a slip in the table of roles is not repeated here.
 * s system, a admin, c client, o observer, w the worker nworkeraaa, d the dispatcher ndispatchr, g the guest gguestaaaa.
 */
const PUBLISH: Readonly<Record<string, string>> = {
  "vgas.tasks.p.k": "sacCdg",
  "vgas.tasks.p": "sa",
  "vgas.tasks.p.k.x": "sa",
  "vgas.tasks.p.k.high": "sacCd",
  "vgas.tasks.p.k.low": "sacCd",
  "vgas.now.p.k": "sacC",
  "vgas.cancel.p.i": "sacC",
  "vgas.status.p.i": "sacCoO",
  "vgas.results.p.i": "sawd",
  "vgas.events.p.i": "sawd",
  "vgas.dead.p.i": "sawd",
  "vgas.heartbeats.nworkeraaa": "saw",
  "vgas.heartbeats.ndispatchr": "sad",
  "vgas.heartbeats.nother": "sa",
  "vgas.settled.ndispatchr": "sawd",
  "vgas.hosts.nworkeraaa.burst": "sad",
  "vgas.hosts.nworkeraaa.recall": "sad",
  "vgas.hosts.nworkeraaa.owned": "sad",
  "vgas.hosts.nworkeraaa.running": "sad",
  "vgas.hosts.nworkeraaa.where": "sad",
  "vgas.hosts.nworkeraaa.cancel": "sad",
  "vgas.hosts.nworkeraaa.beat": "sad",
  "vgas.hosts.nworkeraaa.drain": "sad",
  "vgas.hosts.nworkeraaa.stats": "saoOwd",
  "vgas.hosts.nother.stats": "saoOd",
  "vgas.actors.log": "sacCwd",
  "vgas.actors.log.nother": "sacCwd",
  "vgas.actors.vault": "sacCoOwd",
  "vgas.actors.discovery.nother": "sacCoOwd",
  "vgas.audit.v": "sa",
  "vgas.guests.gguestaaaa.tasks.p.k": "sa",
  "vgas.guests.gguestaaaa.read.p.i": "sa",
  "vgas.guests.gguestaaaa.results.p.i": "sa",
  "other.tasks.p.k": "s",
  "_INBOX.system.x": "swd",
  "_INBOX.client.x": "swd",
  "_INBOX.nworkeraaa.x": "swd",
  "_INBOX.gguestaaaa.x": "swd",
  "_R_.x": "s",
  "$KV.vgas_rotation.p.k": "sad",
  "$KV.vgas_rotation.p.k.roster": "sad",
  "$KV.vgas_attempts.p.i": "sawd",
  "$KV.vgas_owners.log": "sawd",
  "$KV.vgas_owners.vault": "s",
  "$KV.vgas_vault.witness": "sa",
  "$KV.vgas_control.pause.p.k": "sa",
  "$KV.vgas_cancels.p.i": "sad",
  "$KV.vgas_checkpoints.p.i": "sawd",
  "$KV.vgas_batches.p.i": "sacC",
  "$O.vgas_inputs.C.x": "sacCwd",
  "$O.vgas_inputs.M.x": "sacCwd",
  "$O.vgas_outputs.C.x": "sawd",
  "$O.vgas_outputs.M.x": "sawd",
  "$O.other_inputs.C.x": "s",
  "$KV.other_rotation.p.k": "s",
  "$JS.API.INFO": "sacCoOwd",
  "$JS.API.STREAM.NAMES": "sacCoOwd",
  "$JS.API.STREAM.LIST": "saoO",
  "$JS.API.STREAM.INFO.VGAS_TASKS": "sacCoOwd",
  "$JS.API.STREAM.INFO.VGAS_RESULTS": "sacCoOwd",
  "$JS.API.STREAM.INFO.VGAS_DEAD": "saoOd",
  "$JS.API.STREAM.INFO.VGAS_AUDIT": "saoOd",
  "$JS.API.STREAM.INFO.KV_vgas_rotation": "sacCoOd",
  "$JS.API.STREAM.INFO.KV_vgas_attempts": "saoOwd",
  "$JS.API.STREAM.INFO.KV_vgas_owners": "saoOwd",
  "$JS.API.STREAM.INFO.KV_vgas_vault": "saoOd",
  "$JS.API.STREAM.INFO.OTHER": "sa",
  "$JS.API.STREAM.CREATE.VGAS_TASKS": "sa",
  "$JS.API.STREAM.CREATE.SPY": "sa",
  "$JS.API.STREAM.UPDATE.VGAS_RESULTS": "sa",
  "$JS.API.STREAM.DELETE.VGAS_RESULTS": "sa",
  "$JS.API.STREAM.PURGE.VGAS_RESULTS": "sa",
  "$JS.API.STREAM.PURGE.KV_vgas_rotation": "sa",
  "$JS.API.STREAM.MSG.DELETE.VGAS_RESULTS": "sa",
  "$JS.API.STREAM.MSG.DELETE.VGAS_TASKS": "sad",
  "$JS.API.STREAM.PURGE.VGAS_TASKS": "sa",
  "$JS.API.STREAM.PURGE.OBJ_vgas_inputs": "sa",
  "$JS.API.STREAM.PURGE.OBJ_vgas_outputs": "sa",
  "$JS.API.STREAM.SNAPSHOT.VGAS_TASKS": "sa",
  "$JS.API.STREAM.RESTORE.VGAS_TASKS": "sa",
  "$JS.API.STREAM.MSG.GET.VGAS_TASKS": "saoOd",
  "$JS.API.STREAM.MSG.GET.VGAS_RESULTS": "sacCoOwd",
  "$JS.API.STREAM.MSG.GET.VGAS_DEAD": "saoOd",
  "$JS.API.STREAM.MSG.GET.VGAS_AUDIT": "saoO",
  "$JS.API.STREAM.MSG.GET.KV_vgas_rotation": "sacCoOd",
  "$JS.API.STREAM.MSG.GET.KV_vgas_attempts": "saoOwd",
  "$JS.API.STREAM.MSG.GET.KV_vgas_owners": "saoOwd",
  "$JS.API.STREAM.MSG.GET.KV_vgas_vault": "saoO",
  "$JS.API.DIRECT.GET.VGAS_TASKS": "saoOd",
  "$JS.API.DIRECT.GET.VGAS_RESULTS": "sacCoOwd",
  "$JS.API.DIRECT.GET.VGAS_RESULTS.vgas.results.p.i": "sacCoOwdg",
  "$JS.API.DIRECT.GET.VGAS_RESULTS.vgas.results.p": "sacCoOwd",
  "$JS.API.DIRECT.GET.KV_vgas_vault.$KV.vgas_vault.x": "saoO",
  "$JS.API.CONSUMER.CREATE.VGAS_TASKS": "sad",
  "$JS.API.CONSUMER.CREATE.VGAS_TASKS.x.vgas.tasks.p.k": "sad",
  "$JS.API.CONSUMER.DURABLE.CREATE.VGAS_TASKS.x": "sad",
  "$JS.API.CONSUMER.DELETE.VGAS_TASKS.p=k": "sad",
  "$JS.API.CONSUMER.INFO.VGAS_TASKS.p=k": "saoOd",
  "$JS.API.CONSUMER.NAMES.VGAS_TASKS": "saoOd",
  "$JS.API.CONSUMER.LIST.VGAS_TASKS": "saoOd",
  "$JS.API.CONSUMER.PAUSE.VGAS_TASKS.p=k": "sa",
  "$JS.API.CONSUMER.MSG.NEXT.VGAS_TASKS.p=k": "sad",
  "$JS.API.CONSUMER.CREATE.VGAS_RESULTS.x": "sacCoO",
  "$JS.API.CONSUMER.MSG.NEXT.VGAS_RESULTS.x": "sacCoO",
  "$JS.API.CONSUMER.CREATE.VGAS_DEAD.x": "saoO",
  "$JS.API.CONSUMER.CREATE.VGAS_AUDIT.x": "saoO",
  "$JS.API.CONSUMER.CREATE.KV_vgas_rotation.x": "saoOd",
  "$JS.API.CONSUMER.CREATE.KV_vgas_owners.x": "saoOwd",
  "$JS.API.CONSUMER.CREATE.KV_vgas_vault.x": "saoO",
  "$JS.API.CONSUMER.CREATE.KV_vgas_control.x": "saoOd",
  "$JS.API.CONSUMER.CREATE.KV_vgas_cancels.x": "saoOd",
  "$JS.API.CONSUMER.CREATE.OBJ_vgas_inputs.x": "saoO",
  "$JS.API.CONSUMER.CREATE.OBJ_vgas_outputs.x": "sacCoO",
  "$JS.API.DIRECT.GET.KV_vgas_batches": "sacCoOd",
  "$JS.ACK.VGAS_TASKS.p=k.1.1.1.1.1": "sawd",
  "$JS.ACK.hub.hash.VGAS_TASKS.p=k.1.1.1.1.1": "sawd",
  "$JS.ACK.VGAS_RESULTS.x.1.1.1.1.1": "sacCoO",
  "$JS.ACK.OTHER.x.1.1.1.1.1": "sa",
  "$SRV.PING": "sacCoOd",
  "$SYS.REQ.USER.INFO": "sacCoOwdg",
  "$SYS.REQ.SERVER.PING": "s",
  "$SYS.REQ.ACCOUNT.PING.CONNZ": "s",
};

/** Who may subscribe to what. A wildcard that a role may hear is filtered by what it is denied: see the tests of the vault. */
const SUBSCRIBE: Readonly<Record<string, string>> = {
  ">": "s",
  "*": "s",
  "vgas.>": "sa",
  "other.>": "s",
  "vgas.tasks.*.*": "saoO",
  "vgas.tasks.*.*.high": "saoO",
  "vgas.now.*.*": "sad",
  "vgas.cancel.*.*": "sad",
  "vgas.status.*.*": "sad",
  "vgas.results.*.*": "sacCoOg",
  "vgas.results.>": "sa",
  "vgas.events.*.*": "sacCoO",
  "vgas.dead.*.*": "saoO",
  "vgas.heartbeats.*": "sacCoOd",
  "vgas.settled.ndispatchr": "sad",
  "vgas.hosts.nworkeraaa.*": "saw",
  "vgas.hosts.ndispatchr.*": "sad",
  "vgas.hosts.*.*": "sa",
  "vgas.actors.log": "sawd",
  "vgas.actors.*": "sawd",
  "vgas.actors.log.nworkeraaa": "saw",
  "vgas.actors.log.ndispatchr": "sad",
  "vgas.actors.*.*": "sa",
  "vgas.actors.vault": "s",
  "vgas.actors.vault.nworkeraaa": "s",
  "vgas.actors.vault.ndispatchr": "s",
  "vgas.actors.vault.*": "s",
  "vgas.audit.*": "sa",
  "vgas.guests.gguestaaaa.tasks.*.*": "sa",
  "vgas.guests.gguestaaaa.results.*.*": "sa",
  "_INBOX.>": "s",
  "_INBOX.system.>": "s",
  "_INBOX.admin.>": "sa",
  "_INBOX.client.>": "sc",
  "_INBOX.cuseraaaaa.>": "sC",
  "_INBOX.observer.>": "so",
  "_INBOX.cuserbbbbb.>": "sO",
  "_INBOX.nworkeraaa.>": "sw",
  "_INBOX.ndispatchr.>": "sd",
  "_INBOX.gguestaaaa.>": "sg",
  "_INBOX.nother.>": "s",
  "_R_.>": "s",
  "$KV.vgas_rotation.>": "saoO",
  "$KV.vgas_attempts.>": "saoO",
  "$KV.vgas_owners.>": "saoO",
  "$KV.vgas_vault.>": "saoO",
  "$KV.vgas_control.>": "saoO",
  "$O.vgas_outputs.M.>": "sa",
  "$JS.API.>": "s",
  "$JS.ACK.>": "s",
  "$JS.EVENT.>": "sa",
  "$SRV.PING": "sawd",
  "$SYS.>": "s",
};

describe("P12: the matrix of roles and subjects", () => {
  it("opens to each role what it is to do, and nothing else", async () => {
    const home = await temporaryHome();
    const { url } = await startBroker(home);
    const users = await everybody(home);
    const published = new Map<string, string>();
    const heard = new Map<string, string>();
    for (const { letter, credential } of users) {
      const connection = await connectAs(url, credential);
      const publishers = await refusedPublishes(connection, Object.keys(PUBLISH));
      const subscribers = await refusedSubscribes(connection, Object.keys(SUBSCRIBE));
      // The server answers each refusal, and nothing else: a connection that it had closed would answer none.
      await connection.flush();
      for (const subject of Object.keys(PUBLISH)) {
        if (!publishers.has(subject)) published.set(subject, (published.get(subject) ?? "") + letter);
      }
      for (const subject of Object.keys(SUBSCRIBE)) {
        if (!subscribers.has(subject)) heard.set(subject, (heard.get(subject) ?? "") + letter);
      }
    }
    const filled = (found: Map<string, string>, all: object): Record<string, string> =>
      Object.fromEntries(Object.keys(all).map((subject) => [subject, found.get(subject) ?? ""]));
    expect(filled(published, PUBLISH)).toEqual(PUBLISH);
    expect(filled(heard, SUBSCRIBE)).toEqual(SUBSCRIBE);
  });
});
