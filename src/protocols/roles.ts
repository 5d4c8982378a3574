/**
 * Who may publish and subscribe to what (P12): one table, role x subject, as allow lists. Whatever a list does not name is
 * refused by the server. What a wildcard of a list would open too far is taken away again by a deny list.
 *
 * | role | who | in short |
 * |---|---|---|
 * | system | the node that owns the broker | everything; its seed never leaves the home |
 * | admin | operators | everything of this swarm, and the JetStream API |
 * | client | submitters | tasks, cancel, actors; reads results and events, and the rotation to see who offers a kind |
 * | observer | dashboards | reads everything that is stored or broadcast, asks the vault and discovery what it may; writes nothing by itself |
 * | worker | one node with agents | takes what is addressed to its host id, writes results, acknowledges tasks |
 * | dispatcher | one node that also deals tasks | a worker that pulls tasks and writes the rotation |
 * | guest | who is not trusted with the queue | submits and reads its own results, from an account of its own (guest-account.ts) |
 *
 * Every role may ask the server what it may do: a node checks itself against this table when it starts.
 *
 * What these lists cannot do: NATS does not check the reply subject that a client names, nor the deliver subject of a
 * consumer it makes, and an acknowledgement names any task. Whoever JetStream answers can have the broker store that answer in
 * any stream or bucket: its own JSON, or a stored message as it is. So client, worker, dispatcher and observer are trusted not
 * to do that, with the queue, the results, the rotation and the owners of names. A guest is not: in its account there is nothing
 * that such a subject could reach.
 *
 * The work queue has one more rule: a consumer on it can remove tasks, so only dispatchers and admins may make one.
 *
 * And the vault has one: nobody but the node that owns the broker hears what is said to it. No list of another role opens its
 * name, nor, but an admin's, its witness and its checkpoints; what a reply subject can put there all the same is in docs/vault.md.
 */
import { covers } from "./subject-sets.ts";
import {
  ACK_PREFIX,
  inboxPrefix,
  jsApi,
  kvStream,
  kvSubject,
  type Names,
  objectStream,
  objectSubjects,
} from "./subjects.ts";
import { VAULT } from "./vault/messages.ts";

/** Name of the actor that every node finds others with. */
const DISCOVERY = "discovery";

/**
 * Roles with one credential that all who use this home share; that user has the role's name. Clients and observers that
 * join from elsewhere are users of their own besides.
 */
export const SHARED_ROLES = ["admin", "client", "observer"] as const;
export type SharedRole = (typeof SHARED_ROLES)[number];

/** Roles with one credential per node; the user's name is the host id, and the permissions are bound to it. */
export const NODE_ROLES = ["worker", "dispatcher"] as const;
export type NodeRole = (typeof NODE_ROLES)[number];

/** Roles that `vgas connection --role` gives out. */
export const ROLES = [...SHARED_ROLES, ...NODE_ROLES, "guest"] as const;
export type Role = (typeof ROLES)[number];

/** Roles that a token lets somebody in with: each user has a key of its own, made where it is used. */
export const ADMISSION_ROLES = ["worker", "dispatcher", "observer", "client", "guest"] as const;
export type AdmissionRole = (typeof ADMISSION_ROLES)[number];

/** Every role that a user of the broker can have. */
export type UserRole = Role | "system";

/** Subjects that may be published and subscribed to; wildcards as NATS has them. */
export interface Permissions {
  readonly publish: readonly string[];
  readonly subscribe: readonly string[];
  /** Subjects among these that are refused all the same; what a wider subscription would bring of them is not delivered. */
  readonly deny?: { readonly publish: readonly string[]; readonly subscribe: readonly string[] };
}

/**
 * The permissions of `user`. For a node role `user` is the host id it is bound to, for a guest its name. A guest's are those
 * of its own account. Pure.
 */
export function permissionsOf(role: UserRole, user: string, names: Names): Permissions {
  const { publish, subscribe, deny } = TABLE[role](names, user);
  const unique = (subjects: readonly string[]): readonly string[] => [...new Set(subjects)].sort();
  return {
    publish: unique([...publish, USER_INFO]),
    subscribe: unique([...subscribe, `${inboxPrefix(user)}.>`]),
    ...(deny && { deny }),
  };
}

/** Whether that user may ask for the settings and state of `stream`. */
export function mayInspect(role: UserRole, user: string, names: Names, stream: string): boolean {
  return permissionsOf(role, user, names).publish.some((open) => covers(open, info(stream)));
}

export function isNodeRole(role: string): role is NodeRole {
  return (NODE_ROLES as readonly string[]).includes(role);
}

export function isAdmissionRole(role: string): role is AdmissionRole {
  return (ADMISSION_ROLES as readonly string[]).includes(role);
}

export function isSharedRole(role: string): role is SharedRole {
  return (SHARED_ROLES as readonly string[]).includes(role);
}

/** Request, in any account: the server answers who the asker is and what it may do. */
export const USER_INFO = "$SYS.REQ.USER.INFO";

const ANY = "*";
const ANY_INBOX = "_INBOX.>";
/** NATS micro services: who is there, what are they, how do they do. */
const SERVICES = ["PING", "INFO", "STATS"].flatMap((verb) => [`$SRV.${verb}`, `$SRV.${verb}.>`]);

const API = "$JS.API";
/** Whether JetStream is there, and which streams: client libraries ask before anything else. */
const API_BASICS = [`${API}.INFO`, `${API}.STREAM.NAMES`];

const TABLE: Record<UserRole, (names: Names, user: string) => Permissions> = {
  system: () => ({ publish: [">"], subscribe: [">"] }),

  admin: (names) => ({
    publish: [
      `${names.prefix}.>`,
      `${API}.>`,
      `${ACK_PREFIX}>`,
      "$JS.FC.>",
      ...SERVICES,
      ...buckets(names).map((bucket) => kvSubject(bucket, ">")),
      ...Object.values(names.objectStores).flatMap(objectSubjects),
    ],
    subscribe: [
      `${names.prefix}.>`,
      "$JS.EVENT.>",
      "$SRV.>",
      ...buckets(names).map((bucket) => kvSubject(bucket, ">")),
      ...Object.values(names.objectStores).flatMap(objectSubjects),
    ],
    deny: asTheVault(names),
  }),

  client: (names) => ({
    publish: [
      ...names.tasks(ANY, ANY),
      names.now(ANY, ANY),
      names.cancel(ANY, ANY),
      names.status(ANY, ANY),
      ...mailboxes(names),
      ...SERVICES,
      ...API_BASICS,
      info(names.streams.tasks),
      ...readStored(names.streams.results),
      ...follow(names.streams.results),
      // Who offers a kind: the roster in the bucket, and the hosts' heartbeats.
      info(kvStream(names.buckets.rotation)),
      jsApi.messageGet(kvStream(names.buckets.rotation)),
      // What belongs to a batch.
      kvSubject(names.buckets.batches, ">"),
      ...readStored(kvStream(names.buckets.batches)),
      // What is too large for a message: it puts inputs there, and reads outputs.
      ...objectSubjects(names.objectStores.inputs),
      ...readStored(objectStream(names.objectStores.inputs)),
      ...readStored(objectStream(names.objectStores.outputs)),
      ...follow(objectStream(names.objectStores.outputs)),
    ],
    subscribe: [names.result(ANY, ANY), names.event(ANY, ANY), names.heartbeat(ANY)],
  }),

  observer: (names) => ({
    publish: [
      names.host(ANY, "stats"),
      names.status(ANY, ANY),
      names.actor(VAULT),
      names.actor(DISCOVERY, ANY),
      ...SERVICES,
      ...API_BASICS,
      `${API}.STREAM.LIST`,
      ...allStreams(names).flatMap((stream) => [...readStored(stream), ...inspectConsumers(stream)]),
      // Not the work queue: see above.
      ...allStreams(names)
        .filter((stream) => stream !== names.streams.tasks)
        .flatMap(follow),
    ],
    subscribe: [
      ...names.tasks(ANY, ANY),
      names.result(ANY, ANY),
      names.event(ANY, ANY),
      names.dead(ANY, ANY),
      names.heartbeat(ANY),
      ...buckets(names).map((bucket) => kvSubject(bucket, ">")),
    ],
  }),

  guest: (names) => ({
    publish: [names.task(ANY, ANY), guestRead(names)],
    subscribe: [names.result(ANY, ANY)],
  }),

  worker,

  dispatcher: (names, hostId) => {
    const host = worker(names, hostId);
    const { tasks } = names.streams;
    const rotation = kvStream(names.buckets.rotation);
    return {
      publish: [
        ...host.publish,
        ...names.tasks(ANY, ANY),
        names.host(ANY, ANY),
        kvSubject(names.buckets.rotation, ">"),
        kvSubject(names.buckets.cancels, ">"),
        ...allStreams(names).map(info),
        ...allStreams(names)
          .filter((stream) => !vaultStreams(names).includes(stream))
          .flatMap(readStored),
        ...inspectConsumers(tasks),
        ...follow(tasks),
        `${API}.CONSUMER.DURABLE.CREATE.${tasks}.*`,
        // A task that is cancelled while it waits leaves the queue.
        `${API}.STREAM.MSG.DELETE.${tasks}`,
        ...[rotation, kvStream(names.buckets.cancels), kvStream(names.buckets.control)].flatMap(follow),
        ...SERVICES,
      ],
      subscribe: [
        ...host.subscribe,
        names.now(ANY, ANY),
        names.cancel(ANY, ANY),
        names.status(ANY, ANY),
        names.heartbeat(ANY),
        names.settled(ANY),
      ],
      deny: asTheVault(names),
    };
  },
};

function worker(names: Names, hostId: string): Permissions {
  const owners = kvStream(names.buckets.owners);
  const inputs = objectStream(names.objectStores.inputs);
  const outputs = objectStream(names.objectStores.outputs);
  return {
    publish: [
      names.result(ANY, ANY),
      names.event(ANY, ANY),
      names.dead(ANY, ANY),
      names.heartbeat(hostId),
      // Who else answers under its id: so it notices a copied home.
      names.host(hostId, "stats"),
      names.settled(ANY),
      ...mailboxes(names),
      // Receipts, the answers of actors, and `replyTo` of a task.
      ANY_INBOX,
      ...acks(names.streams.tasks),
      ...API_BASICS,
      info(names.streams.tasks),
      ...readStored(names.streams.results),
      kvSubject(names.buckets.attempts, ">"),
      ...readStored(kvStream(names.buckets.attempts)),
      kvSubject(names.buckets.owners, ">"),
      ...readStored(owners),
      ...follow(owners),
      kvSubject(names.buckets.checkpoints, ">"),
      ...readStored(kvStream(names.buckets.checkpoints)),
      // Reads an input that was too large for a message, and removes it with its task; puts such outputs there.
      ...readStored(inputs),
      ...objectSubjects(names.objectStores.inputs),
      ...readStored(outputs),
      ...objectSubjects(names.objectStores.outputs),
    ],
    subscribe: [
      // Of its own id: so it notices a copied home.
      names.heartbeat(hostId),
      names.host(hostId, ANY),
      names.actor(ANY),
      names.actor(ANY, hostId),
      ...SERVICES,
    ],
    deny: asTheVault(names),
  };
}

/** What a guest asks for one stored result, as any client library does. */
export function guestRead(names: Names): string {
  return jsApi.directGetOf(names.streams.results, names.result(ANY, ANY));
}

/** What whoever does that could pass for the vault by, or overhear it. */
function asTheVault(names: Names): NonNullable<Permissions["deny"]> {
  return {
    publish: [kvSubject(names.buckets.owners, VAULT)],
    subscribe: [names.actor(VAULT), names.actor(VAULT, ANY)],
  };
}

function vaultStreams(names: Names): readonly string[] {
  return [names.streams.audit, kvStream(names.buckets.vault)];
}

function mailboxes(names: Names): readonly string[] {
  return [names.actor(ANY), names.actor(ANY, ANY)];
}

function buckets(names: Names): readonly string[] {
  return Object.values(names.buckets);
}

function allStreams(names: Names): readonly string[] {
  return [
    ...Object.values(names.streams),
    ...buckets(names).map(kvStream),
    ...Object.values(names.objectStores).map(objectStream),
  ];
}

function info(stream: string): string {
  return `${API}.STREAM.INFO.${stream}`;
}

/** Reads single stored messages, by sequence or by subject; leaves no trace. */
function readStored(stream: string): readonly string[] {
  return [info(stream), jsApi.messageGet(stream), jsApi.directGet(stream), `${jsApi.directGet(stream)}.>`];
}

/** Reads a stream in order with a consumer of one's own. */
function follow(stream: string): readonly string[] {
  return [
    `${API}.CONSUMER.CREATE.${stream}`,
    `${API}.CONSUMER.CREATE.${stream}.>`,
    `${API}.CONSUMER.INFO.${stream}.*`,
    `${API}.CONSUMER.DELETE.${stream}.*`,
    jsApi.next(stream, ANY),
    ...acks(stream),
    `$JS.FC.${stream}.>`,
    `$JS.FC.*.*.${stream}.>`,
  ];
}

function inspectConsumers(stream: string): readonly string[] {
  return [`${API}.CONSUMER.INFO.${stream}.*`, `${API}.CONSUMER.NAMES.${stream}`, `${API}.CONSUMER.LIST.${stream}`];
}

/** Both forms of an ack subject: the second carries domain and account, and is what servers from 2.15 on can send. */
function acks(stream: string): readonly string[] {
  return [`${ACK_PREFIX}${stream}.>`, `${ACK_PREFIX}*.*.${stream}.>`];
}
