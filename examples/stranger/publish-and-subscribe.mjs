/**
 * A stranger to vgas: any NATS client and any msgpack library will do. Nothing here is of vgas but its subjects and fields
 * (docs/protocol.md). Sends tasks one by one, as an array, and as JSON; reads each result as it comes, and again from the store.
 *
 *   bin/vgas up                                                       # in another terminal
 *   bin/vgas connection > connection.json
 *   node examples/stranger/publish-and-subscribe.mjs connection.json
 *
 * Without an argument the connection is read from standard input:
 *
 *   bin/vgas connection | node examples/stranger/publish-and-subscribe.mjs
 */
import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { decode, encode } from "@msgpack/msgpack";
import { connect, createInbox, headers as natsHeaders, nkeyAuthenticator } from "@nats-io/transport-node";

const TASKS = "vgas.tasks.default.echo";
const RESULTS = "vgas.results.default";
const GIVE_UP_MS = 15_000;

// 1. Connect with what `vgas connection` printed. Every credential opens inboxes of its own only, so say which.
const [file] = process.argv.slice(2);
const { url, nkeySeedFile, nkeySeed, inboxPrefix } = JSON.parse(
  file === undefined ? await text(process.stdin) : await readFile(file, "utf8"),
);
const seed = nkeySeed ?? (await readFile(nkeySeedFile, "utf8")).trim();
const nats = await connect({
  servers: url.split(","),
  authenticator: nkeyAuthenticator(new TextEncoder().encode(seed)),
  inboxPrefix,
});
const late = setTimeout(() => {
  console.error(`not all results came within ${GIVE_UP_MS} ms: is there an agent for "echo"?`);
  process.exit(1);
}, GIVE_UP_MS);

// 2. Listen to all results before sending anything, so that none is missed. A task sent as JSON gets a JSON result.
/** @type {Map<string, any>} */
const live = new Map();
/** @type {Map<string, (result: any) => void>} */
const waiting = new Map();
nats.subscribe(`${RESULTS}.*`, {
  callback: (_, message) => {
    const result = read(message.data);
    live.set(result.id, result);
    waiting.get(result.id)?.(result);
  },
});

// 3. One by one. The answer to a publish says that the task is stored, and its sequence gives it its id: `s<sequence>`.
const one = await submit(encode({ input: { greeting: "hello" } }));
// An id of one's own, a time limit, an inbox that gets the result too, and a message id: sent twice, stored once.
const inbox = createInbox(inboxPrefix);
const answered = new Promise((resolve) =>
  nats.subscribe(inbox, { max: 1, callback: (_, message) => resolve(read(message.data)) }),
);
const id = `stranger-${Date.now()}`;
const own = encode({ id, input: new Uint8Array([1, 2, 3]), timeoutMs: 5_000, maxAttempts: 1, replyTo: inbox });
for (const _ of ["sent", "sent again"]) await submit(own, { "Nats-Msg-Id": id });

// 4. An array: three tasks in one message, each with an id, a turn and a result of its own.
const array = await submit(encode([{ input: "red" }, { input: "green" }, { input: "blue" }]));

// 5. JSON.
const json = await submit(JSON.stringify({ input: { from: "JSON", list: [1, 2.5, null] } }));

// 6. The results, as they came.
const ids = [`s${one}`, id, `s${array}-0`, `s${array}-1`, `s${array}-2`, `s${json}`];
for (const each of ids) print("live  ", await resultOf(each));
print("inbox ", await answered);

// 7. The same from the store, where they stay for a day.
for (const each of ids) print("stored", await storedOf(each));
clearTimeout(late);
await nats.drain();

/**
 * Stores a task message and returns its sequence in the stream.
 * @param {Uint8Array | string} body
 * @param {Record<string, string>} [headers]
 * @returns {Promise<number>}
 */
async function submit(body, headers = {}) {
  const wire = natsHeaders();
  for (const [name, value] of Object.entries(headers)) wire.set(name, value);
  const answer = (await nats.request(TASKS, body, { timeout: 5_000, headers: wire })).json();
  if (answer.error) throw new Error(answer.error.description);
  return answer.seq;
}

/**
 * A result: msgpack, unless its first byte is that of JSON.
 * @param {Uint8Array} data
 * @returns {any}
 */
function read(data) {
  return data[0] === "{".charCodeAt(0) ? JSON.parse(new TextDecoder().decode(data)) : decode(data);
}

/** @param {string} of */
function resultOf(of) {
  return live.get(of) ?? new Promise((resolve) => waiting.set(of, resolve));
}

/**
 * Who subscribes hears of a result before it is stored, by the time that takes.
 * @param {string} of
 */
async function storedOf(of) {
  for (;;) {
    const stored = await nats.request(`$JS.API.DIRECT.GET.VGAS_RESULTS.${RESULTS}.${of}`);
    if (stored.headers?.code !== 404) return read(stored.data);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/**
 * @param {string} how
 * @param {any} result
 */
function print(how, { id: of, status, output, agent, ticket }) {
  console.log(`${how} ${of}: ${status} ${JSON.stringify(output)}  agent ${agent}, ticket ${ticket}`);
  if (status !== "ok") process.exitCode = 1;
}
