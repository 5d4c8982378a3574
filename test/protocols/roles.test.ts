import { describe, expect, it } from "vitest";
import { permissionsOf, ROLES, type UserRole } from "../../src/protocols/roles.ts";
import { jsApi, kvStream, kvSubject, Names } from "../../src/protocols/subjects.ts";

const names = new Names();
const HOST = "nhostaaaaa";
const OTHER = "notherbbbb";
const GUEST = "gabcdefghi";
const userOf = (role: UserRole): string =>
  role === "worker" || role === "dispatcher" ? HOST : role === "guest" ? GUEST : role;

/** Whether a NATS subject matches a pattern with `*` and `>`. */
function matches(pattern: string, subject: string): boolean {
  const want = pattern.split(".");
  const have = subject.split(".");
  for (const [place, token] of want.entries()) {
    if (token === ">") return have.length > place;
    if (have[place] === undefined || (token !== "*" && token !== have[place])) return false;
  }
  return want.length === have.length;
}

function mayPublish(role: UserRole, subject: string, of = names): boolean {
  const { publish, deny } = permissionsOf(role, userOf(role), of);
  const covers = (pattern: string): boolean => matches(pattern, subject);
  return publish.some(covers) && !(deny?.publish ?? []).some(covers);
}

/** A subscription is allowed if an allowed pattern covers all of it; `*` and `>` are then ordinary tokens. */
function maySubscribe(role: UserRole, subject: string): boolean {
  const { subscribe, deny } = permissionsOf(role, userOf(role), names);
  const covers = (pattern: string): boolean => matches(pattern, subject);
  return subscribe.some(covers) && !(deny?.subscribe ?? []).some(covers);
}

const who = (test: (role: UserRole) => boolean): UserRole[] => ["system" as const, ...ROLES].filter(test);
const publishersOf = (subject: string): UserRole[] => who((role) => mayPublish(role, subject));
const subscribersOf = (subject: string): UserRole[] => who((role) => maySubscribe(role, subject));

const { tasks, results, dead } = names.streams;
const rotation = names.buckets.rotation;

describe("the table of roles", () => {
  it.each<[string, UserRole[]]>([
    [names.task("p", "k"), ["system", "admin", "client", "dispatcher", "guest"]],
    [names.now("p", "k"), ["system", "admin", "client"]],
    [names.cancel("p", "i"), ["system", "admin", "client"]],
    [names.result("p", "i"), ["system", "admin", "worker", "dispatcher"]],
    [names.event("p", "i"), ["system", "admin", "worker", "dispatcher"]],
    [names.dead("p", "i"), ["system", "admin", "worker", "dispatcher"]],
    [names.heartbeat(HOST), ["system", "admin", "worker", "dispatcher"]],
    [names.heartbeat(OTHER), ["system", "admin"]],
    [names.host(OTHER, "burst"), ["system", "admin", "dispatcher"]],
    [names.host(OTHER, "stats"), ["system", "admin", "observer", "dispatcher"]],
    [names.host(HOST, "stats"), ["system", "admin", "observer", "worker", "dispatcher"]],
    [names.host(HOST, "burst"), ["system", "admin", "dispatcher"]],
    [names.guest(GUEST, "tasks", "p", "k"), ["system", "admin"]],
    [names.settled("d"), ["system", "admin", "worker", "dispatcher"]],
    [names.actor("discovery", OTHER), ["system", "admin", "client", "observer", "worker", "dispatcher"]],
    [names.actor("vault"), ["system", "admin", "client", "observer", "worker", "dispatcher"]],
    [names.actor("log"), ["system", "admin", "client", "worker", "dispatcher"]],
    [names.actor("log", OTHER), ["system", "admin", "client", "worker", "dispatcher"]],
    ["_INBOX.client.x", ["system", "worker", "dispatcher"]],
    [kvSubject(rotation, "p.k"), ["system", "admin", "dispatcher"]],
    [kvSubject(names.buckets.attempts, "p.i"), ["system", "admin", "worker", "dispatcher"]],
    [kvSubject(names.buckets.owners, "log"), ["system", "admin", "worker", "dispatcher"]],
    [kvSubject(names.buckets.owners, "vault"), ["system"]],
    [kvSubject(names.buckets.vault, "witness"), ["system", "admin"]],
    [names.audit("v"), ["system", "admin"]],
    [jsApi.messageGet(names.streams.audit), ["system", "admin", "observer"]],
    [jsApi.messageGet(kvStream(names.buckets.vault)), ["system", "admin", "observer"]],
    [`$JS.API.STREAM.INFO.${names.streams.audit}`, ["system", "admin", "observer", "dispatcher"]],
    [`$JS.API.STREAM.PURGE.${names.streams.audit}`, ["system", "admin"]],
    [jsApi.next(tasks, "p=k"), ["system", "admin", "dispatcher"]],
    [jsApi.next(results, "c"), ["system", "admin", "client", "observer"]],
    [`$JS.API.CONSUMER.CREATE.${tasks}.p=k.vgas.tasks.p.k`, ["system", "admin", "dispatcher"]],
    [`$JS.API.CONSUMER.CREATE.${results}.c.vgas.results.p.i`, ["system", "admin", "client", "observer"]],
    [`$JS.API.CONSUMER.DELETE.${tasks}.p=k`, ["system", "admin", "dispatcher"]],
    [`$JS.ACK.${tasks}.p=k.1.2.3.4.5`, ["system", "admin", "worker", "dispatcher"]],
    [`$JS.ACK.hub.Ahash.${tasks}.p=k.1.2.3.4.5.6`, ["system", "admin", "worker", "dispatcher"]],
    [`$JS.ACK.${results}.c.1.2.3.4.5`, ["system", "admin", "client", "observer"]],
    [jsApi.directGet(results), ["system", "admin", "client", "observer", "worker", "dispatcher"]],
    [
      `${jsApi.directGet(results)}.${names.result("p", "i")}`,
      ["system", "admin", "client", "observer", "worker", "dispatcher", "guest"],
    ],
    [jsApi.messageGet(tasks), ["system", "admin", "observer", "dispatcher"]],
    [jsApi.messageGet(dead), ["system", "admin", "observer", "dispatcher"]],
    [jsApi.messageGet(kvStream(rotation)), ["system", "admin", "client", "observer", "dispatcher"]],
    [`$JS.API.STREAM.INFO.${tasks}`, ["system", "admin", "client", "observer", "worker", "dispatcher"]],
    [`$JS.API.STREAM.PURGE.${dead}`, ["system", "admin"]],
    [`$JS.API.STREAM.DELETE.${tasks}`, ["system", "admin"]],
    [`$JS.API.STREAM.MSG.DELETE.${results}`, ["system", "admin"]],
    [`$JS.API.STREAM.CREATE.${tasks}`, ["system", "admin"]],
    [`$JS.API.STREAM.UPDATE.${tasks}`, ["system", "admin"]],
    ["$SRV.PING", ["system", "admin", "client", "observer", "dispatcher"]],
    ["anything.else", ["system"]],
    ["$SYS.REQ.USER.INFO", ["system", ...ROLES]],
    ["$SYS.REQ.SERVER.PING", ["system"]],
  ])("lets nobody but the named roles publish to %s", (subject, expected) => {
    expect(publishersOf(subject)).toEqual(expected);
  });

  it.each<[string, UserRole[]]>([
    [names.result("*", "*"), ["system", "admin", "client", "observer", "guest"]],
    [names.event("*", "*"), ["system", "admin", "client", "observer"]],
    [names.dead("*", "*"), ["system", "admin", "observer"]],
    [names.task("*", "*"), ["system", "admin", "observer"]],
    [names.heartbeat("*"), ["system", "admin", "client", "observer", "dispatcher"]],
    [names.heartbeat(HOST), ["system", "admin", "client", "observer", "worker", "dispatcher"]],
    [names.heartbeat(OTHER), ["system", "admin", "client", "observer", "dispatcher"]],
    [names.now("*", "*"), ["system", "admin", "dispatcher"]],
    [names.cancel("*", "*"), ["system", "admin", "dispatcher"]],
    [names.host(HOST, "*"), ["system", "admin", "worker", "dispatcher"]],
    [names.host(OTHER, "*"), ["system", "admin"]],
    [names.settled("d"), ["system", "admin", "dispatcher"]],
    [names.guest("*", "tasks", "*", "*"), ["system", "admin"]],
    [names.actor("vault"), ["system"]],
    [names.actor("vault", HOST), ["system"]],
    [names.actor("*"), ["system", "admin", "worker", "dispatcher"]],
    [names.actor("log", HOST), ["system", "admin", "worker", "dispatcher"]],
    [names.actor("log", OTHER), ["system", "admin"]],
    [`_INBOX.${HOST}.>`, ["system", "worker", "dispatcher"]],
    [`_INBOX.${OTHER}.>`, ["system"]],
    ["_INBOX.client.>", ["system", "client"]],
    ["_INBOX.>", ["system"]],
    ["$JS.API.>", ["system"]],
    ["$SRV.PING", ["system", "admin", "worker", "dispatcher"]],
    [">", ["system"]],
  ])("lets nobody but the named roles subscribe to %s", (subject, expected) => {
    expect(subscribersOf(subject)).toEqual(expected);
  });

  it("gives a dispatcher everything that a worker of the same host has", () => {
    const worker = permissionsOf("worker", HOST, names);
    const dispatcher = permissionsOf("dispatcher", HOST, names);
    expect(dispatcher.publish).toEqual(expect.arrayContaining([...worker.publish]));
    expect(dispatcher.subscribe).toEqual(expect.arrayContaining([...worker.subscribe]));
  });

  it.each(ROLES.filter((role) => role !== "admin"))("keeps %s out of a swarm with another prefix", (role) => {
    const other = new Names("other");
    for (const subject of [other.task("p", "k"), other.result("p", "i"), jsApi.messageGet(other.streams.tasks)]) {
      expect(mayPublish(role, subject)).toBe(false);
    }
    expect(mayPublish(role, `${jsApi.directGet(other.streams.results)}.${other.result("p", "i")}`, other)).toBe(true);
  });
});
