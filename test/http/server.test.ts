import { request as httpRequest, type IncomingHttpHeaders } from "node:http";
import { Agent, request as httpsRequest } from "node:https";
import { connect, type Socket } from "node:net";
import { networkInterfaces } from "node:os";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { type HttpOptions, type HttpServer, startHttp } from "../../src/http/server.ts";
import { VgasError } from "../../src/protocols/errors.ts";
import { type Certificates, makeCertificates } from "../support/certificates.ts";
import { RecordingLogger } from "../support/recording-logger.ts";
import { eventually, rejection } from "../support/wait.ts";

const LOCAL = "127.0.0.1";
/** An address of this machine that is not loopback: what comes from it is as if from another machine. */
const remote = Object.values(networkInterfaces())
  .flat()
  .find((address) => address?.family === "IPv4" && !address.internal)?.address;
const TOKEN = "vgas1-the-token-line";
const NAME = "abcdefghij.vgas.internal";

let first: Certificates;
let second: Certificates;

beforeAll(async () => {
  [first, second] = await Promise.all([makeCertificates([`DNS:${NAME}`]), makeCertificates([`DNS:${NAME}`])]);
});

const pem = ({ cert, ca, key }: Certificates) => ({ certificatePem: cert + ca, keyPem: key });

interface Answered {
  readonly status: number;
  readonly body: unknown;
  readonly headers: IncomingHttpHeaders;
}

interface Started {
  readonly server: HttpServer;
  readonly logger: RecordingLogger;
  readonly joins: { path: string; body: string; address: string }[];
}

async function start(options: Partial<HttpOptions> = {}): Promise<Started> {
  const logger = new RecordingLogger();
  const server = await startHttp({ port: 0, state: () => "connected", logger, ...options });
  onTestFinished(() => server.stop());
  return { server, logger, joins: [] };
}

async function startLan(options: Partial<HttpOptions> = {}): Promise<Started> {
  const started = await start({ lan: { certificate: pem(first) }, ...options });
  started.server.admit({
    bearer: async (token) => (token === TOKEN ? undefined : new VgasError("TOKEN_EXPIRED", "the token expired")),
    join: async ({ path, body, address }) => {
      started.joins.push({ path, body: Buffer.from(body).toString(), address });
      return { status: 409, body: { error: { code: "NODE_EXISTS", message: "there", retryable: false } } };
    },
  });
  return started;
}

interface Ask {
  readonly host?: string;
  readonly tls?: Certificates | false;
  readonly method?: string;
  readonly body?: string;
  readonly token?: string;
  readonly agent?: Agent;
}

/** One request, by node's own client, which verifies the certificate whatever the environment says. */
function ask(
  port: number,
  path: string,
  { host = LOCAL, tls = false, method = "GET", ...more }: Ask = {},
): Promise<Answered> {
  const headers = more.token === undefined ? {} : { authorization: `Bearer ${more.token}` };
  const common = { host, port, path, method, headers, localAddress: host, agent: more.agent ?? false } as const;
  return new Promise((resolve, reject) => {
    const sent =
      tls === false
        ? httpRequest(common)
        : httpsRequest({ ...common, ca: tls.ca, servername: NAME, rejectUnauthorized: true });
    sent.once("error", reject);
    sent.once("response", (response) => {
      const pieces: Buffer[] = [];
      response.on("data", (piece: Buffer) => pieces.push(piece));
      response.once("error", reject);
      response.once("end", () => {
        const text = Buffer.concat(pieces).toString();
        const body: unknown = text === "" ? undefined : JSON.parse(text);
        resolve({ status: response.statusCode ?? 0, body, headers: response.headers });
      });
    });
    sent.end(more.body);
  });
}

/** Sends raw bytes, and resolves with all that came when the server has hung up. */
function raw(port: number, bytes: string | Buffer, host = LOCAL): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ port, host, localAddress: host });
    let text = "";
    socket.on("data", (piece: Buffer) => {
      text += piece.toString();
    });
    socket.on("error", () => undefined);
    socket.once("close", () => resolve(text));
    socket.write(bytes);
  });
}

test("is not ready while its broker stores nothing, and says why", async () => {
  let trouble: string | undefined = "the disk is full";
  const { server } = await start({ trouble: () => trouble });
  const full = await fetch(`${server.url}/readyz`);
  expect(full.status).toBe(503);
  expect(await full.json()).toEqual({ status: "not ready", bus: "connected", trouble: "the disk is full" });
  trouble = undefined;
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
});

test("says on loopback that it runs, and whether it is ready", async () => {
  let state: "connected" | "starting" = "starting";
  const { server } = await start({ state: () => state });
  expect(server.url).toBe(`http://127.0.0.1:${server.port}`);
  expect(await ask(server.port, "/healthz?x")).toMatchObject({ status: 200, body: { status: "ok" } });
  expect(await ask(server.port, "/readyz")).toMatchObject({
    status: 503,
    body: { status: "not ready", bus: "starting" },
  });
  state = "connected";
  expect(await ask(server.port, "/readyz")).toMatchObject({ status: 200, body: { status: "ready", bus: "connected" } });
  expect(await ask(server.port, "/readyz", { method: "HEAD" })).toMatchObject({ status: 200, body: undefined });
  expect(await ask(server.port, "/readyz", { method: "POST" })).toMatchObject({
    status: 405,
    headers: { allow: "GET, HEAD" },
  });
  expect(await ask(server.port, "/join/hello", { method: "POST" }), "no lan, no door").toMatchObject({ status: 405 });
  expect(await ask(server.port, "/")).toMatchObject({
    status: 404,
    body: { error: { code: "NOT_FOUND", message: "there are /healthz, /readyz, /metrics and /api/status" } },
  });
});

test("shows the node's pages once there are some, and beyond loopback only to who has a token", async () => {
  const { server, logger } = await startLan();
  expect(await ask(server.port, "/metrics")).toMatchObject({ status: 503, headers: { "retry-after": "1" } });
  server.show({
    metrics: async () => ({ contentType: "text/plain; version=0.0.4; charset=utf-8", text: "vgas_agents 4\n" }),
    status: async () => ({ health: "ok" }),
  });
  const metrics = await fetch(`${server.url}/metrics`);
  expect(metrics.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  expect(await metrics.text()).toBe("vgas_agents 4\n");
  expect(await ask(server.port, "/api/status?x")).toMatchObject({ status: 200, body: { health: "ok" } });
  expect(await ask(server.port, "/metrics", { method: "HEAD" })).toMatchObject({ status: 200, body: undefined });
  expect(await ask(server.port, "/api/status", { method: "POST" })).toMatchObject({ status: 405 });
  for (const path of ["/metrics", "/api/status"]) {
    expect(await ask(server.port, path, { host: remote as string, tls: first })).toMatchObject({ status: 401 });
  }
  const shown = await ask(server.port, "/api/status", { host: remote as string, tls: first, token: TOKEN });
  expect(shown).toMatchObject({ status: 200, body: { health: "ok" } });
  server.show({ metrics: () => Promise.reject(new Error("no")), status: () => Promise.reject(new Error("no")) });
  expect(await ask(server.port, "/api/status")).toMatchObject({ status: 500, body: { error: { code: "INTERNAL" } } });
  expect(logger.lines).toContainEqual(expect.objectContaining({ level: "error" }));
});

test("without lan nobody reaches it from beyond loopback, and a port that is taken is told", async () => {
  const { server } = await start();
  expect(await rejection(start({ port: server.port }))).toMatchObject({ code: "CONFIG" });
  expect(remote, "this test needs an address that is not loopback").toBeDefined();
  expect(await rejection(ask(server.port, "/healthz", { host: remote ?? "" }))).toMatchObject({ code: "ECONNREFUSED" });
});

test("with lan one port speaks TLS and, to this machine, plain HTTP", async () => {
  const { server } = await startLan();
  expect(await ask(server.port, "/readyz")).toMatchObject({ status: 200 });
  expect(await ask(server.port, "/readyz", { tls: first })).toMatchObject({ status: 200 });
  expect(await rejection(ask(server.port, "/readyz", { tls: second })), "another authority").toMatchObject({
    code: expect.stringMatching(/SELF_SIGNED|UNABLE_TO|SIGNATURE/),
  });
});

test("from beyond loopback plain HTTP is told to use HTTPS, and gets nothing else", async () => {
  const { server } = await startLan();
  for (const path of ["/healthz", "/readyz", "/join/hello"]) {
    expect(await ask(server.port, path, { host: remote ?? "", method: "POST" })).toMatchObject({
      status: 400,
      body: { error: { code: "INVALID", message: expect.stringContaining("HTTPS") } },
    });
  }
});

test("from beyond loopback everything but /healthz and /join asks for a token, which is never logged", async () => {
  const { server, logger, joins } = await startLan();
  const there = { host: remote ?? "", tls: first };
  expect(await ask(server.port, "/healthz", there)).toMatchObject({ status: 200 });
  for (const path of ["/readyz", "/nothing", "/joinx", "/join"]) {
    const answered = await ask(server.port, path, there);
    expect(answered, path).toMatchObject({ status: 401, body: { error: { code: "PERMISSION_DENIED" } } });
    expect(answered.headers["www-authenticate"]).toMatch(/^Bearer/);
  }
  const wrong = await ask(server.port, "/readyz", { ...there, token: "secret-of-somebody" });
  expect(wrong).toMatchObject({ status: 401, body: { error: { code: "TOKEN_EXPIRED" } } });
  expect(wrong.headers["www-authenticate"]).toContain("invalid_token");
  expect(await ask(server.port, "/readyz", { ...there, token: TOKEN })).toMatchObject({ status: 200 });
  expect(await ask(server.port, "/nothing", { ...there, token: TOKEN })).toMatchObject({ status: 404 });
  const joined = await ask(server.port, "/join/hello", { ...there, method: "POST", body: '{"v":1}' });
  expect(joined).toMatchObject({ status: 409, body: { error: { code: "NODE_EXISTS" } } });
  expect(joins).toEqual([{ path: "/join/hello", body: '{"v":1}', address: remote }]);
  expect(JSON.stringify(logger.lines)).not.toMatch(/secret-of-somebody|the-token-line/);
});

test("a body is taken up to 8 KiB, whole, and not beyond", async () => {
  const { server, joins } = await startLan();
  const there = { tls: first, method: "POST" } as const;
  expect(await ask(server.port, "/join/prove", { ...there, body: "x".repeat(8_192) })).toMatchObject({ status: 409 });
  expect(joins[0]?.body).toHaveLength(8_192);
  expect(await ask(server.port, "/join/prove", { ...there, body: "x".repeat(8_193) })).toMatchObject({
    status: 413,
    body: { error: { code: "TOO_LARGE" } },
  });
  expect(await ask(server.port, "/join/prove", { tls: first })).toMatchObject({
    status: 405,
    headers: { allow: "POST" },
  });
  const chunk = `${(60_000).toString(16)}\r\n${"y".repeat(60_000)}\r\n`;
  const endless = `POST /join/ask HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n${chunk.repeat(3)}`;
  expect(await raw(server.port, endless)).toMatch(/^(?:HTTP\/1.1 413|$)/);
  expect(joins).toHaveLength(1);
});

test("before the door is there, whoever asks for it is told to wait; a door that fails is a 500 that says nothing", async () => {
  const { server, logger } = await start({ lan: { certificate: pem(first) } });
  expect(await ask(server.port, "/join/hello", { tls: first, method: "POST" })).toMatchObject({
    status: 503,
    body: { error: { code: "NO_SWARM" } },
    headers: { "retry-after": "1" },
  });
  const fail = async (): Promise<never> => {
    throw new Error("inner detail");
  };
  server.admit({ bearer: fail, join: fail });
  const failed = await ask(server.port, "/join/hello", { tls: first, method: "POST" });
  expect(failed).toMatchObject({ status: 500, body: { error: { code: "INTERNAL" } } });
  expect(JSON.stringify(failed.body)).not.toContain("inner detail");
  expect(JSON.stringify(logger.lines)).toContain("inner detail");
});

test("a new certificate is shown to new connections, and those that are open go on", async () => {
  const { server } = await startLan();
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  onTestFinished(() => agent.destroy());
  const socketOf = (): TLSSocket | undefined => Object.values(agent.freeSockets).flat()[0] as TLSSocket | undefined;
  await ask(server.port, "/healthz", { tls: first, agent });
  await new Promise((resolve) => setImmediate(resolve));
  const before = socketOf();
  server.useCertificate(pem(second));
  expect(before).toBeDefined();
  expect(await ask(server.port, "/healthz", { tls: first, agent }), "the same connection").toMatchObject({
    status: 200,
  });
  await new Promise((resolve) => setImmediate(resolve));
  expect(socketOf()).toBe(before);
  expect(await ask(server.port, "/healthz", { tls: second })).toMatchObject({ status: 200 });
  expect(await rejection(ask(server.port, "/healthz", { tls: first }))).toBeInstanceOf(Error);
  expect(() => server.useCertificate({ certificatePem: first.cert, keyPem: second.key })).toThrowError(/certificate/);
  expect(await ask(server.port, "/healthz", { tls: second }), "a wrong one changes nothing").toMatchObject({
    status: 200,
  });
});

/** Resolves when it answers who is not slow. */
async function goesOn(server: HttpServer): Promise<void> {
  await eventually(async () => {
    const answered = await ask(server.port, "/healthz").catch(() => undefined);
    return answered?.status === 200 || undefined;
  }, "an answer");
}

test("whoever is slow is cut off: before the first byte, in the handshake, in the head, in the body, and when idle", async () => {
  const { server, joins } = await startLan({ requestTimeoutMs: 300 });
  const slow = [
    "",
    Buffer.from("1603010200010001fc0303", "hex"),
    "GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ",
    "POST /join/hello HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{",
  ];
  // One that asks in time is slow too where this process stands still for so long.
  const idle = eventually(async () => {
    const said = await raw(server.port, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
    return said.includes('{"status":"ok"}') || undefined;
  }, "the end of an idle connection that had its answer");
  expect(await Promise.all(slow.map((bytes) => raw(server.port, bytes)))).toEqual(["", "", "", ""]);
  await idle;
  expect(joins).toEqual([]);
  await goesOn(server);
});

test("a trickle of bytes buys no time", async () => {
  const { server } = await startLan({ requestTimeoutMs: 150 });
  const socket = connect({ port: server.port, host: LOCAL });
  socket.on("error", () => undefined);
  const closed = new Promise<void>((resolve) => socket.once("close", () => resolve()));
  socket.write("GET /healthz HTTP/1.1\r\nx: ");
  const trickle = setInterval(() => socket.write("y"), 5);
  onTestFinished(() => clearInterval(trickle));
  await closed;
  await goesOn(server);
});

test("what is no request is answered precisely where it can be, and ends only its own connection", async () => {
  const { server, logger } = await startLan();
  expect(await raw(server.port, "RUBBISH\r\n\r\n")).toMatch(/^HTTP\/1.1 400 /);
  expect(await raw(server.port, `GET / HTTP/1.1\r\nx: ${"y".repeat(10_000)}\r\n\r\n`)).toMatch(/^HTTP\/1.1 431 /);
  expect(await raw(server.port, Buffer.alloc(2_000, 0))).toMatch(/^HTTP\/1.1 400 /);
  // Begins as TLS does and goes on as nothing does.
  await raw(server.port, Buffer.concat([Buffer.from([0x16, 3, 1, 0, 5]), Buffer.alloc(64, 0xff)]));
  const gone = connect({ port: server.port, host: LOCAL });
  gone.on("error", () => undefined);
  gone.resetAndDestroy();
  expect(await ask(server.port, "/healthz", { tls: first })).toMatchObject({ status: 200 });
  expect(logger.lines.filter(({ level }) => level === "error")).toEqual([]);
});

test("TLS below 1.2 is refused", async () => {
  const { server } = await startLan();
  const old = connectTls({
    ...{ port: server.port, host: LOCAL, ca: first.ca, servername: NAME, rejectUnauthorized: true },
    ...{ minVersion: "TLSv1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" },
  });
  const failed = new Promise<Error>((resolve, reject) => {
    old.once("error", resolve);
    old.once("secureConnect", () => reject(new Error("it was accepted")));
  });
  expect(await failed).toBeInstanceOf(Error);
});

test("one address gets only so many connections, and this machine always finds a place", async () => {
  const { server } = await startLan({ limits: { all: 6, remote: 4, perRemoteAddress: 2 } });
  const open = async (host: string): Promise<Socket> => {
    const socket = connect({ port: server.port, host, localAddress: host });
    socket.on("error", () => undefined);
    onTestFinished(() => void socket.destroy());
    await new Promise((resolve) => socket.once("connect", resolve));
    return socket;
  };
  const held = [await open(remote ?? ""), await open(remote ?? "")];
  const third = await open(remote ?? "");
  await new Promise((resolve) => third.once("close", resolve));
  expect(await ask(server.port, "/healthz")).toMatchObject({ status: 200 });
  for (const socket of held) {
    socket.destroy();
    await new Promise((resolve) => socket.once("close", resolve));
  }
  // The server learns of it in its own time.
  for (;;) {
    const answered = await ask(server.port, "/healthz", { host: remote ?? "", tls: first }).catch(() => undefined);
    if (answered?.status === 200) break;
  }
});

test("a stop cuts what is open, and can be asked for twice", async () => {
  const { server } = await startLan();
  const socket = connect({ port: server.port, host: LOCAL });
  await new Promise((resolve) => socket.once("connect", resolve));
  const closed = new Promise((resolve) => socket.once("close", resolve));
  socket.on("error", () => undefined);
  await Promise.all([server.stop(), server.stop(), closed]);
  expect(await rejection(ask(server.port, "/healthz"))).toMatchObject({ code: "ECONNREFUSED" });
});
