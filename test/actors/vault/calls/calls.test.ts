import { createHash } from "node:crypto";
import { once } from "node:events";
import type { RequestListener, ServerResponse } from "node:http";
import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import type { CallsOptions } from "../../../../src/actors/vault/calls/calls.ts";
import { Connections } from "../../../../src/actors/vault/calls/exchange.ts";
import type { Lookup } from "../../../../src/actors/vault/calls/guard.ts";
import { VgasError } from "../../../../src/protocols/errors.ts";
import type { ResolvedKeySettings } from "../../../../src/protocols/vault/keys.ts";
import { CALL_CHUNK_BYTES } from "../../../../src/protocols/vault/operations.ts";
import { Brokered, CANARY } from "../../../support/brokered.ts";
import { type Certificates, makeCertificates } from "../../../support/certificates.ts";
import { bodyOf, type HttpServer, serve } from "../../../support/http-server.ts";
import { ManualClock } from "../../../support/manual-clock.ts";
import { rejection, until } from "../../../support/wait.ts";

const closing: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function server(listener: RequestListener, options?: Parameters<typeof serve>[1]): Promise<HttpServer> {
  const started = await serve(listener, options);
  closing.push(started.close);
  return started;
}

function brokered(
  { origin }: { origin: string },
  settings?: Partial<ResolvedKeySettings>,
  options?: Partial<CallsOptions>,
): Brokered {
  const by = new Brokered([origin], settings, options);
  closing.push(() => by.calls.stop());
  return by;
}

/** Enough turns of the event loop for whatever can go on to have gone on. */
async function settledTurns(turns: number): Promise<void> {
  for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
}

/** A server whose answers the test writes itself. */
async function held(options?: Parameters<typeof serve>[1]) {
  const responses: ServerResponse[] = [];
  const started = await server((_request, response) => responses.push(response), options);
  return {
    origin: started.origin,
    connections: started.connections,
    responses,
    async response(): Promise<ServerResponse> {
      await until(() => responses.length > 0);
      return responses.shift() as ServerResponse;
    },
  };
}

describe("a call", () => {
  it("sends what it was given with the key, and returns what was answered", async () => {
    const seen: unknown[] = [];
    const upstream = await server(async (request, response) => {
      const body = await bodyOf(request);
      seen.push([
        request.method,
        request.url,
        request.headers["authorization"],
        request.headers["x-a"],
        body.toString(),
      ]);
      response.writeHead(201, "Made", { "x-b": "2", "set-cookie": "s=1" }).end("answer");
    });
    const by = brokered(upstream);
    const call = by.open({
      url: `${upstream.origin}/v1/x?q=1#f`,
      method: "POST",
      headers: [["x-a", "1"]],
      body: Buffer.from("question"),
    });
    const { head, body, usage } = await by.readAll(call);
    expect(seen).toEqual([["POST", "/v1/x?q=1", `Bearer ${CANARY}`, "1", "question"]]);
    expect(head).toMatchObject({ status: 201, statusText: "Made" });
    expect(head?.headers).toContainEqual(["x-b", "2"]);
    expect(JSON.stringify(head)).not.toContain("s=1");
    expect(body.toString()).toBe("answer");
    expect(by.outcomes).toEqual([{ status: 201, bytesSent: 8, bytesReceived: 6 }]);
    expect(usage).toMatchObject({ calls: 1, bytesSent: 8, bytesReceived: 6 });
    expect(by.calls.size).toBe(0);
    expect(by.metered).toEqual([[Buffer.from("answer")]]);
  });

  it("tells `done` only once its end is recorded, and fails if it cannot be", async () => {
    const upstream = await server((_request, response) => response.end("answer"));
    const by = brokered(upstream);
    let record: (() => void) | undefined;
    by.onEnd = () => new Promise<void>((resolve) => (record = resolve));
    const call = by.open({ url: upstream.origin });
    const reading = by.readAll(call);
    let told = false;
    void reading.then(() => (told = true));
    await until(() => record !== undefined);
    await new Promise((resolve) => setImmediate(resolve));
    expect(told).toBe(false);
    record?.();
    expect((await reading).body.toString()).toBe("answer");

    by.onEnd = () => Promise.reject(new VgasError("AUDIT_FAILED", "the trail cannot be written"));
    expect(await rejection(by.readAll(by.open({ url: upstream.origin })))).toMatchObject({ code: "AUDIT_FAILED" });
    expect(by.calls.size).toBe(0);
  });

  it("answers the same number with the same bytes, and no other number", async () => {
    const upstream = await held();
    const by = brokered(upstream);
    const call = by.open({ url: upstream.origin });
    const response = await upstream.response();
    response.write("one");
    const read = (seq: number) => by.calls.read(by.owner, call, seq);
    const first = await read(1);
    let data = first.data;
    let seq = 1;
    while (data === undefined) data = (await read(++seq)).data;
    expect(Buffer.from(data).toString()).toBe("one");
    response.write("two");
    expect(await read(seq)).toMatchObject({ data });
    for (const wrong of [0, seq - 1, seq + 2, 1_000])
      expect(await rejection(read(wrong))).toMatchObject({ code: "INVALID" });
    const next = await read(seq + 1);
    expect(Buffer.from(next.data ?? []).toString()).toBe("two");
    expect(await read(seq + 1)).toBe(next);
    response.end();
    const last = await read(seq + 2);
    expect(last.done).toBe(true);
    expect(await read(seq + 2)).toEqual(last);
    expect(await rejection(read(seq + 3))).toMatchObject({ code: "INVALID" });
  });

  it("keeps one of those waiting that ask for the same, the last", async () => {
    const upstream = await held();
    const by = brokered(upstream);
    let record: (() => void) | undefined;
    by.onEnd = () => new Promise<void>((resolve) => (record = resolve));
    const call = by.open({ url: upstream.origin, method: "POST", body: Buffer.alloc(1), more: true });
    const response = await upstream.response();
    // The provider does not take the body, so that a write comes to wait.
    let seq = 1;
    for (let waits = false; !waits; ) {
      const write = by.calls.write(by.owner, call, seq, Buffer.alloc(CALL_CHUNK_BYTES), true).then(() => seq++);
      waits = await Promise.race([write.then(() => false), settledTurns(200).then(() => true)]);
    }
    const many = async (ask: () => Promise<unknown>) => {
      const asked = Array.from({ length: 5_000 }, ask);
      const last = asked.pop();
      for (const dismissed of asked) expect(await rejection(dismissed)).toMatchObject({ code: "TIMEOUT" });
      return { last };
    };
    const write = await many(() => by.calls.write(by.owner, call, seq, new Uint8Array(), true));
    const read = await many(() => by.calls.read(by.owner, call, 1));
    response.writeHead(202);
    response.flushHeaders();
    expect(await read.last).toMatchObject({ head: { status: 202 } });
    const cancel = await many(() => by.calls.cancel(by.owner, call));
    await until(() => record !== undefined);
    record?.();
    expect(await cancel.last).toMatchObject({ done: true, usage: { calls: 1 } });
    expect(await write.last).toEqual({});
    expect(by.outcomes).toHaveLength(1);
  });

  it("answers with nothing after a while, and goes on", async () => {
    const clock = new ManualClock();
    const upstream = await held();
    const by = brokered(upstream, {}, { clock });
    const call = by.open({ url: upstream.origin });
    const waiting = by.calls.read(by.owner, call, 1);
    const response = await upstream.response();
    await clock.advance(15_000);
    expect(await waiting).toEqual({});
    expect(await by.calls.read(by.owner, call, 1)).toEqual({});
    response.end("late");
    expect((await by.calls.read(by.owner, call, 2)).head?.status).toBe(200);
  });

  it("is nobody's but its owner's", async () => {
    const upstream = await held();
    const by = brokered(upstream);
    const call = by.open({ url: upstream.origin });
    for (const work of [
      by.calls.read("worker-2", call, 1),
      by.calls.write("worker-2", call, 1, new Uint8Array(), false),
      by.calls.cancel("worker-2", call),
      by.calls.read(by.owner, `${call}x`, 1),
    ])
      expect(await rejection(work)).toMatchObject({ code: "NOT_FOUND" });
    expect(Buffer.from(call, "base64url")).toHaveLength(16);
    (await upstream.response()).end("still there");
    expect((await by.readAll(call)).body.toString()).toBe("still there");
  });

  it("is refused when there are too many, of one or of all, until one has ended", async () => {
    const upstream = await held();
    const by = brokered(upstream, {}, { limits: { calls: 3, callsPerOwner: 2 } });
    const open = (owner: string) => by.open({ url: upstream.origin, owner });
    const first = open("a");
    open("a");
    expect(() => open("a")).toThrow(expect.objectContaining({ code: "MAILBOX_FULL" }));
    open("b");
    expect(() => open("c")).toThrow(expect.objectContaining({ code: "MAILBOX_FULL" }));
    await by.calls.cancel("a", first);
    expect(by.calls.size).toBe(2);
    open("a");
    expect(by.calls.size).toBe(3);
  });

  it("cannot be made with CONNECT or TRACE, nor have a body where there is none", () => {
    const by = new Brokered(["https://api.test"]);
    for (const method of ["CONNECT", "TRACE"])
      expect(() => by.open({ url: "https://api.test", method })).toThrow(expect.objectContaining({ code: "INVALID" }));
    expect(() => by.open({ url: "https://api.test", method: "GET", body: Buffer.from("x") })).toThrow(
      "GET has no body",
    );
    expect(() => by.open({ url: "https://other.test" })).toThrow(
      expect.objectContaining({ code: "PERMISSION_DENIED" }),
    );
    expect(by.calls.size).toBe(0);
    expect(by.outcomes).toEqual([]);
  });

  it("cannot have a body that is encoded, or longer or shorter than it says; then nothing is sent", async () => {
    const upstream = await server((_request, response) => response.end());
    const by = brokered(upstream);
    const open = (headers: [string, string][], body: string | undefined, more = false) => {
      const request = { url: upstream.origin, method: "POST", headers, more };
      return () => by.open({ ...request, ...(body !== undefined && { body: Buffer.from(body) }) });
    };
    const smuggled = "{}GET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n";
    const refused = [
      open([["content-length", "2"]], smuggled, true),
      open([["Content-Length", "2"]], smuggled),
      open([["content-length", "3"]], "{}"),
      open([["content-length", "3"]], undefined),
      open(
        [
          ["content-length", "2"],
          ["content-length", "2"],
        ],
        "{}",
      ),
      open([["content-encoding", "gzip"]], "{}"),
      open([["Content-Encoding", "identity, br"]], "{}", true),
    ];
    for (const opening of refused) expect(opening).toThrow(expect.objectContaining({ code: "INVALID" }));
    expect(by.calls.size).toBe(0);
    expect(by.outcomes).toEqual([]);
    expect(upstream.connections.size).toBe(0);
    for (const headers of [[["content-length", "2"]], [["content-encoding", "identity"]]] as [string, string][][])
      expect((await by.readAll(open(headers, "{}")())).head?.status).toBe(200);
    expect((await by.readAll(open([["content-length", "0"]], undefined)())).head?.status).toBe(200);
  });

  it("takes HEAD, 204 and 304 as having no body", async () => {
    const upstream = await server((request, response) => {
      const status = Number(request.url?.slice(1));
      response.writeHead(status, status === 200 ? { "content-length": "7", "content-encoding": "gzip" } : {}).end();
    });
    const by = brokered(upstream);
    const head = await by.readAll(by.open({ url: `${upstream.origin}/200`, method: "HEAD" }));
    expect(head.head?.headers).toContainEqual(["content-length", "7"]);
    for (const status of [204, 304]) {
      const answer = await by.readAll(by.open({ url: `${upstream.origin}/${status}` }));
      expect(answer).toMatchObject({ head: { status }, usage: { calls: 1 } });
      expect(answer.body).toHaveLength(0);
    }
  });

  it("returns a redirect as it is", async () => {
    const upstream = await server((_request, response) =>
      response.writeHead(307, { location: "http://evil.test/" }).end(),
    );
    const by = brokered(upstream);
    const answer = await by.readAll(by.open({ url: upstream.origin }));
    expect(answer.head).toMatchObject({ status: 307 });
    expect(answer.head?.headers).toContainEqual(["location", "http://evil.test/"]);
  });
});

describe("the end of a call", () => {
  it("comes when it is cancelled, and reaches the provider", async () => {
    const upstream = await held();
    const by = brokered(upstream);
    const call = by.open({ url: upstream.origin });
    const response = await upstream.response();
    response.write("some");
    const closed = once(response, "close");
    const reply = await by.calls.cancel(by.owner, call);
    expect(reply).toMatchObject({ done: true, usage: { calls: 1, errors: 1 } });
    await closed;
    expect(by.outcomes).toMatchObject([{ error: { code: "ABORTED" } }]);
    expect(await rejection(by.calls.read(by.owner, call, 1))).toMatchObject({ code: "ABORTED" });
    expect(await by.calls.cancel(by.owner, call)).toEqual(reply);
    expect(by.outcomes).toHaveLength(1);
  });

  it("comes when its grant expires, in the middle of the answer too", async () => {
    const clock = new ManualClock();
    const upstream = await held();
    const by = brokered(upstream, {}, { clock });
    by.expiresInMs = 5_000;
    const call = by.open({ url: upstream.origin });
    const response = await upstream.response();
    response.write("some");
    expect((await by.calls.read(by.owner, call, 1)).head?.status).toBe(200);
    const closed = once(response, "close");
    const waiting = rejection(
      (async () => {
        for (let seq = 2; ; seq++) await by.calls.read(by.owner, call, seq);
      })(),
    );
    await until(() => by.metered.length > 0 && (by.metered[0]?.length ?? 0) > 0);
    await clock.advance(5_000);
    expect(await waiting).toMatchObject({ code: "GRANT_VOID" });
    await closed;
    expect(by.outcomes).toMatchObject([{ status: 200, error: { code: "GRANT_VOID" }, bytesReceived: 4 }]);
    expect(by.calls.size).toBe(0);
  });

  it("leaves no large piece of the answer behind, nor memory around a small one", async () => {
    const upstream = await server((request, response) => {
      if (request.url === "/whole") response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("small"));
      else response.write(Buffer.alloc(CALL_CHUNK_BYTES));
    });
    const by = brokered(upstream);
    const call = by.open({ url: upstream.origin });
    let seq = 1;
    while ((await by.calls.read(by.owner, call, seq)).data === undefined) seq++;
    await by.calls.cancel(by.owner, call);
    expect(await rejection(by.calls.read(by.owner, call, seq))).toMatchObject({ code: "ABORTED" });

    const whole = by.open({ url: `${upstream.origin}/whole` });
    await until(() => by.outcomes.length === 2);
    const last = await by.calls.read(by.owner, whole, 1);
    expect(last).toMatchObject({ done: true });
    expect(Buffer.from(last.data ?? []).toString()).toBe("small");
    expect(last.data?.buffer.byteLength).toBe(5);
  });

  it("throws away what is unread of a complete answer when the grant expires", async () => {
    const clock = new ManualClock();
    const upstream = await server((_request, response) => response.end("complete"));
    const by = brokered(upstream, {}, { clock });
    by.expiresInMs = 5_000;
    const call = by.open({ url: upstream.origin });
    await until(() => by.outcomes.length > 0);
    await clock.advance(5_000);
    expect(await rejection(by.calls.read(by.owner, call, 1))).toMatchObject({ code: "GRANT_VOID" });
    expect(by.outcomes).toEqual([{ status: 200, bytesSent: 0, bytesReceived: 8 }]);
    expect(by.calls.size).toBe(0);
  });

  it("comes when nobody reads, is told to who comes late, and is then forgotten", async () => {
    const clock = new ManualClock();
    const upstream = await held();
    const by = brokered(upstream, {}, { clock });
    const call = by.open({ url: upstream.origin });
    const response = await upstream.response();
    const closed = once(response, "close");
    await clock.advance(59_999);
    expect(by.outcomes).toEqual([]);
    await clock.advance(1);
    await closed;
    expect(by.outcomes).toMatchObject([{ error: { code: "ABORTED" } }]);
    expect(by.calls.size).toBe(0);
    expect(String(await rejection(by.calls.read(by.owner, call, 1)))).toContain("nobody read");
    await clock.advance(60_000);
    expect(await rejection(by.calls.read(by.owner, call, 1))).toMatchObject({ code: "NOT_FOUND" });
    expect(clock.armed).toBe(0);
  });

  it("comes for all when the vault is sealed, and is recorded when that is over", async () => {
    const upstream = await held();
    const by = brokered(upstream);
    const calls = [1, 2, 3].map(() => by.open({ url: upstream.origin }));
    await until(() => upstream.responses.length === 3);
    const waiting = calls.map((call) => rejection(by.calls.read(by.owner, call, 1)));
    await by.calls.abortAll(new VgasError("VAULT_SEALED", "the vault was sealed"));
    expect(by.outcomes.map(({ error }) => error?.code)).toEqual(["VAULT_SEALED", "VAULT_SEALED", "VAULT_SEALED"]);
    expect(await Promise.all(waiting)).toMatchObject(calls.map(() => ({ code: "VAULT_SEALED" })));
    expect(by.calls.size).toBe(0);
  });

  it("leaves no timer and no connection when the vault stops", async () => {
    const clock = new ManualClock();
    const upstream = await server((request, response) => {
      if (request.url === "/done") response.end("done");
    });
    const by = brokered(upstream, {}, { clock });
    await by.readAll(by.open({ url: `${upstream.origin}/done` }));
    by.open({ url: upstream.origin });
    await until(() => upstream.connections.size > 0);
    await by.calls.stop();
    expect(clock.armed).toBe(0);
    await until(() => [...upstream.connections].every((socket) => socket.destroyed));
    expect(() => by.open({ url: upstream.origin })).toThrow(expect.objectContaining({ code: "SHUTTING_DOWN" }));
  });
});

describe("a provider that fails", () => {
  it.each([
    ["before its head", "", "could not be reached, or gave no answer"],
    ["within its head", "HTTP/1.1 200 OK\r\ncontent-", "could not be reached, or gave no answer"],
    ["with what is no HTTP", `key=${CANARY}\r\n\r\n`, "gave no answer: HPE_"],
    ["within a body of a known length", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfive.", "broke off its answer"],
    [
      "within a body in chunks",
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfive.\r\n",
      "broke off its answer",
    ],
    ["with an upgrade", "HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "gave no answer"],
    ["with a status that is none", "HTTP/1.1 700 What\r\ncontent-length: 0\r\n\r\n", "status outside"],
    [
      "with a coding that is not known",
      "HTTP/1.1 200 OK\r\ncontent-encoding: zstd\r\ncontent-length: 1\r\n\r\nx",
      "content-encoding",
    ],
  ])("%s fails the call, which can be tried again", async (_when, answer, told) => {
    const upstream = await server((request) => request.socket.end(answer));
    const by = brokered(upstream);
    const error = await rejection(by.readAll(by.open({ url: upstream.origin })));
    expect(error).toMatchObject({ code: "UPSTREAM_FAILED", retryable: true });
    expect(String(error)).toContain(told);
    expect(String(error)).not.toContain(CANARY);
    expect((error as Error).cause).toBeUndefined();
    expect(by.outcomes).toHaveLength(1);
    expect(by.outcomes[0]?.error).toBe(error);
  });

  it("has what it answered before it broke off read first", async () => {
    const upstream = await server((_request, response) => {
      response.writeHead(200, { "content-length": "100" });
      response.write("all that came", () => response.socket?.destroy());
    });
    const by = brokered(upstream);
    const call = by.open({ url: upstream.origin });
    await until(() => by.outcomes.length > 0);
    const first = await by.calls.read(by.owner, call, 1);
    expect(first).toMatchObject({ head: { status: 200 }, data: Buffer.from("all that came") });
    expect(await rejection(by.calls.read(by.owner, call, 2))).toMatchObject({ code: "UPSTREAM_FAILED" });
    expect(by.outcomes).toMatchObject([{ status: 200, bytesReceived: 13 }]);
  });

  it("is told by code if nobody listens there, or its name has no address", async () => {
    // Another program may get the port, but hardly with this address.
    const gone = await serve(() => undefined, { host: "127.0.0.2" });
    await gone.close();
    const by = brokered(gone);
    expect(String(await rejection(by.readAll(by.open({ url: gone.origin }))))).toContain("ECONNREFUSED");
    const nameless: Lookup = () => Promise.reject(Object.assign(new Error("no"), { code: "ENOTFOUND" }));
    const other = brokered({ origin: "https://api.test" }, {}, { lookup: nameless });
    expect(String(await rejection(other.readAll(other.open({ url: "https://api.test" }))))).toContain("ENOTFOUND");
    expect(other.outcomes).toMatchObject([{ error: { code: "UPSTREAM_FAILED" }, bytesSent: 0 }]);
  });

  it("may take 10 minutes for its head and 5 for each piece, and 30 seconds for a connection", async () => {
    const clock = new ManualClock();
    const upstream = await held();
    const keepReading = (by: Brokered, call: string) => rejection(by.readAll(call));
    const by = brokered(upstream, {}, { clock });
    by.expiresInMs = 10_000_000;
    const silent = keepReading(by, by.open({ url: upstream.origin }));
    const response = await upstream.response();
    await clock.advance(599_000);
    expect(by.outcomes).toEqual([]);
    await clock.advance(1_000);
    expect(String(await silent)).toContain("took longer than 600 s for answering");

    const idle = keepReading(by, by.open({ url: upstream.origin }));
    const second = await upstream.response();
    second.write("piece");
    await until(() => by.metered[0]?.length === 1);
    await clock.advance(299_000);
    second.write("piece");
    await until(() => by.metered[0]?.length === 2);
    await clock.advance(299_000);
    expect(by.outcomes).toHaveLength(1);
    await clock.advance(1_000);
    expect(String(await idle)).toContain("took longer than 300 s for going on with its answer");
    await until(() => response.destroyed);

    const stuck = brokered({ origin: "https://api.test" }, {}, { clock, lookup: () => new Promise(() => undefined) });
    const connecting = keepReading(stuck, stuck.open({ url: "https://api.test" }));
    await clock.advance(30_000);
    expect(String(await connecting)).toContain("took longer than 30 s for connecting");
  });
});

describe("a server that echoes the key", () => {
  it("does not give it away in its head, its body, or an error", async () => {
    const upstream = await server(async (request, response) => {
      const key = String(request.headers["authorization"]).slice("Bearer ".length);
      response.writeHead(401, `no ${key}`, { "x-echo": `<${key}>`, "www-authenticate": `Bearer error="${key}"` });
      response.flushHeaders();
      const text = Buffer.from(`{"error":"Incorrect API key: ${key}."}`);
      // Each byte by itself, so that the borders of pieces fall everywhere.
      for (const byte of text) await new Promise((resolve) => response.write(Buffer.from([byte]), resolve));
      response.end(key);
    });
    const by = brokered(upstream);
    const { head, body } = await by.readAll(by.open({ url: upstream.origin }));
    const stars = "*".repeat(CANARY.length);
    expect(body.toString()).toBe(`{"error":"Incorrect API key: ${stars}."}${stars}`);
    expect(head?.statusText).toBe(`no ${stars}`);
    expect(head?.headers).toContainEqual(["x-echo", `<${stars}>`]);
    expect(JSON.stringify(head)).not.toContain(CANARY);
    expect(Buffer.concat(by.metered[0] ?? [])).toEqual(body);
    expect(JSON.stringify(by.logger.lines)).not.toContain(CANARY);
  });

  it("does not give it away in a body that it compresses", async () => {
    const text = Buffer.from(`${"x".repeat(100_000)}${CANARY}${"y".repeat(100_000)}`);
    const encoded: Record<string, Buffer> = {
      gzip: gzipSync(text),
      deflate: deflateSync(text),
      br: brotliCompressSync(text),
      "gzip, br": brotliCompressSync(gzipSync(text)),
    };
    const upstream = await server((request, response) => {
      expect(request.headers["accept-encoding"]).toBe("identity");
      const coding = decodeURIComponent(request.url?.slice(1) ?? "");
      response.writeHead(200, { "content-encoding": coding, "x-was": coding }).end(encoded[coding]);
    });
    const by = brokered(upstream);
    for (const coding of Object.keys(encoded)) {
      const call = by.open({
        url: `${upstream.origin}/${encodeURIComponent(coding)}`,
        headers: [["accept-encoding", "gzip"]],
      });
      const { head, body } = await by.readAll(call);
      expect(body.toString()).toBe(text.toString().replace(CANARY, "*".repeat(CANARY.length)));
      const names = head?.headers.map(([name]) => name);
      expect(names).toContain("x-was");
      expect(names).not.toContain("content-encoding");
      expect(names).not.toContain("content-length");
    }
  });

  it("fails when its compression is cut off or garbled", async () => {
    const whole = gzipSync(Buffer.alloc(50_000, "cut"));
    const garbled = Buffer.from(whole).fill(0xff, 20, 40);
    const answers = [
      whole.subarray(0, 60),
      whole.subarray(0, 5),
      whole.subarray(0, -1),
      garbled,
      Buffer.from("no gzip"),
    ];
    const upstream = await server((request, response) => {
      response.writeHead(200, { "content-encoding": "gzip" }).end(answers[Number(request.url?.slice(1))]);
    });
    const by = brokered(upstream);
    for (const index of answers.keys()) {
      const error = await rejection(by.readAll(by.open({ url: `${upstream.origin}/${index}` })));
      expect(error).toMatchObject({ code: "UPSTREAM_FAILED" });
    }
  });
});

describe("large bodies", () => {
  it("stall the provider while nobody reads, and arrive whole when somebody does", async () => {
    const total = 20 * 1024 * 1024;
    const piece = Buffer.alloc(64 * 1024, "0123456789abcdef");
    let sent = 0;
    const upstream = await server(async (_request, response) => {
      while (sent < total) {
        sent += piece.length;
        if (!response.write(piece)) await once(response, "drain");
      }
      response.end();
    });
    const by = brokered(upstream);
    const call = by.open({ url: upstream.origin });
    const taken = () => (by.metered[0] ?? []).reduce((sum, { length }) => sum + length, 0);
    await until(() => taken() >= 512 * 1024);
    // It is stalled when what was sent and what was taken are the same for as long as the buffers of two sockets take to fill.
    let turns = 0;
    for (let before = -1; turns < 2_000; turns++) {
      const moved = sent + (by.metered[0]?.length ?? 0);
      if (moved !== before) turns = 0;
      before = moved;
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(taken()).toBeLessThan(512 * 1024 + 256 * 1024);
    expect(sent).toBeLessThan(total);
    const { body } = await by.readAll(call);
    expect(body).toHaveLength(total);
    const digest = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");
    expect(digest(body)).toBe(digest(Buffer.alloc(total, "0123456789abcdef")));
  });

  it("are written in order, each piece once, when the provider takes them", async () => {
    let received: Buffer = Buffer.alloc(0);
    let goOn: (() => void) | undefined;
    const upstream = await server(async (request, response) => {
      await new Promise<void>((resolve) => (goOn = resolve));
      received = await bodyOf(request);
      response.end(`${request.headers["content-length"]} ${request.headers["transfer-encoding"]}`);
    });
    const by = brokered(upstream);
    const call = by.open({ url: upstream.origin, method: "PUT", body: Buffer.from("0;"), more: true });
    const pieces = Array.from({ length: 40 }, (_, index) => Buffer.alloc(CALL_CHUNK_BYTES, `${index};`));
    let taken = 0;
    const writing = (async () => {
      for (const [index, data] of pieces.entries()) {
        await by.calls.write(by.owner, call, index + 1, data, index + 1 < pieces.length);
        taken++;
        // A repetition does not send it again.
        await by.calls.write(by.owner, call, index + 1, data, index + 1 < pieces.length);
      }
    })();
    await until(() => goOn !== undefined);
    for (let before = -1; taken !== before; ) {
      before = taken;
      await settledTurns(1_000);
    }
    expect(taken).toBeLessThan(pieces.length);
    expect(await rejection(by.calls.write(by.owner, call, taken + 3, Buffer.from("x"), true))).toMatchObject({
      code: "INVALID",
    });
    // Nor the next, as long as the one before it waits: nobody can have the vault hold any number of pieces.
    const next = await rejection(by.calls.write(by.owner, call, taken + 2, Buffer.from("x"), true));
    expect(next).toMatchObject({ code: "INVALID", message: expect.stringContaining("still waits") });
    goOn?.();
    await writing;
    const { body } = await by.readAll(call);
    expect(body.toString()).toBe("undefined chunked");
    expect(received.equals(Buffer.concat([Buffer.from("0;"), ...pieces]))).toBe(true);
    expect(await rejection(by.calls.write(by.owner, call, 41, Buffer.from("x"), false))).toMatchObject({
      code: "INVALID",
    });
  });

  it("have the length that was declared, or are refused", async () => {
    const upstream = await server(async (request, response) => {
      const body = await bodyOf(request).catch(() => undefined);
      response.end(`${request.headers["content-length"]} ${body?.toString()}`);
    });
    const by = brokered(upstream);
    const open = (length: string) =>
      by.open({
        url: upstream.origin,
        method: "POST",
        headers: [["content-length", length]],
        body: Buffer.from("abc"),
        more: true,
      });
    const right = open("6");
    await by.calls.write(by.owner, right, 1, Buffer.from("def"), false);
    expect((await by.readAll(right)).body.toString()).toBe("6 abcdef");
    for (const [length, more] of [
      ["5", true],
      ["7", false],
    ] as const) {
      const wrong = open(length);
      const write = by.calls.write(by.owner, wrong, 1, Buffer.from("def"), more);
      expect(await rejection(write)).toMatchObject({ code: "INVALID" });
      expect(await rejection(by.readAll(wrong))).toMatchObject({ code: "INVALID" });
    }
  });

  it("have at most as many bytes as they may", async () => {
    const upstream = await server(async (request, response) => {
      await bodyOf(request).catch(() => undefined);
      response.end();
    });
    const by = brokered(upstream, {}, { limits: { bodyBytes: 1_000 } });
    const call = by.open({ url: upstream.origin, method: "POST", body: Buffer.alloc(600), more: true });
    await by.calls.write(by.owner, call, 1, Buffer.alloc(400), true);
    expect(await rejection(by.calls.write(by.owner, call, 2, Buffer.alloc(1), true))).toMatchObject({
      code: "TOO_LARGE",
    });
    expect(by.outcomes).toMatchObject([{ error: { code: "TOO_LARGE" }, bytesSent: 1_000 }]);
  });

  it("need not be sent to their end if the provider has answered before", async () => {
    const upstream = await server((_request, response) => {
      response.writeHead(413, { connection: "close" }).end("too much");
    });
    const by = brokered(upstream);
    const call = by.open({ url: upstream.origin, method: "POST", body: Buffer.alloc(10), more: true });
    const { head, body } = await by.readAll(call);
    expect([head?.status, body.toString()]).toEqual([413, "too much"]);
    expect(await by.calls.write(by.owner, call, 1, Buffer.alloc(10), true)).toEqual({});
    expect(by.outcomes).toEqual([{ status: 413, bytesSent: 10, bytesReceived: 8 }]);
  });
});

describe("connections", () => {
  let tls: Certificates;
  beforeAll(async () => {
    tls = await makeCertificates(["DNS:api.test", "IP:127.0.0.1"]);
  });

  const local: Lookup = async () => [{ address: "127.0.0.1", family: 4 }];

  it("are encrypted, to a server that an authority vouches for", async () => {
    const upstream = await server((request, response) => response.end(request.headers.host), { tls });
    const origin = `https://api.test:${upstream.port}`;
    const by = brokered({ origin }, {}, { lookup: local, ca: tls.ca });
    expect((await by.readAll(by.open({ url: origin }))).body.toString()).toBe(`api.test:${upstream.port}`);
    const untrusting = brokered({ origin }, {}, { lookup: local });
    expect(String(await rejection(untrusting.readAll(untrusting.open({ url: origin }))))).toContain("UNABLE_TO_VERIFY");
    const misnamed = `https://other.test:${upstream.port}`;
    const other = brokered({ origin: misnamed }, {}, { lookup: local, ca: tls.ca });
    expect(String(await rejection(other.readAll(other.open({ url: misnamed }))))).toContain(
      "ERR_TLS_CERT_ALTNAME_INVALID",
    );
  });

  it("are verified whatever the environment says", async () => {
    const upstream = await server((_request, response) => response.end(), { tls });
    const before = process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
    process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = "0";
    try {
      const by = brokered(upstream);
      expect(String(await rejection(by.readAll(by.open({ url: upstream.origin }))))).toContain("UNABLE_TO_VERIFY");
    } finally {
      if (before === undefined) delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"];
      else process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = before;
    }
  });

  it("go to the addresses that were checked, even if the name has others by then", async () => {
    const good = await server((_request, response) => response.end("checked"));
    const bad = await server((_request, response) => response.end("rebound"), { host: "127.0.0.2", port: good.port });
    let asked = 0;
    const rebinding: Lookup = async () => [{ address: asked++ === 0 ? "127.0.0.1" : "127.0.0.2", family: 4 }];
    const origin = `http://rebind.test:${good.port}`;
    const by = brokered({ origin }, {}, { lookup: rebinding });
    expect((await by.readAll(by.open({ url: origin }))).body.toString()).toBe("checked");
    expect(asked).toBe(1);
    expect(bad.connections.size).toBe(0);
  });

  it("are refused to a name whose second answer is a private address", async () => {
    const upstream = await server((_request, response) => response.end("inside"), { tls });
    const origin = `https://api.test:${upstream.port}`;
    let asked = 0;
    const lookup: Lookup = async () => [{ address: asked++ === 0 ? "::ffff:127.0.0.1" : "127.0.0.1", family: 4 }];
    const by = brokered({ origin }, { allowPrivate: false }, { lookup, ca: tls.ca });
    for (let time = 1; time <= 2; time++) {
      expect(await rejection(by.readAll(by.open({ url: origin })))).toMatchObject({ code: "PERMISSION_DENIED" });
      expect(asked).toBe(time);
    }
    expect(upstream.connections.size).toBe(0);
    expect(by.outcomes).toMatchObject([
      { error: { code: "PERMISSION_DENIED" } },
      { error: { code: "PERMISSION_DENIED" } },
    ]);
  });

  it("of a key that may reach private addresses are not used for one that may not", () => {
    const connections = new Connections();
    const url = new URL("https://api.test");
    expect(connections.agentFor(url, true)).not.toBe(connections.agentFor(url, false));
    expect(connections.agentFor(url, true)).toBe(connections.agentFor(new URL("https://other.test"), true));
    connections.destroy();
  });

  it("are used again, and closed by the server without harm", async () => {
    const upstream = await server((_request, response) => response.end("again"));
    const by = brokered(upstream);
    for (let time = 0; time < 3; time++) await by.readAll(by.open({ url: upstream.origin }));
    expect(upstream.connections.size).toBe(1);
    const closed = [...upstream.connections].map((socket) => once(socket, "close"));
    for (const socket of upstream.connections) socket.end();
    await Promise.all(closed);
    expect((await by.readAll(by.open({ url: upstream.origin }))).body.toString()).toBe("again");
    expect(upstream.connections.size).toBe(2);
  });

  it("reach IPv6 by number", async () => {
    const upstream = await server((request, response) => response.end(request.headers.host), { host: "::1" });
    const origin = `http://[::1]:${upstream.port}`;
    const by = brokered({ origin });
    expect((await by.readAll(by.open({ url: origin }))).body.toString()).toBe(`[::1]:${upstream.port}`);
  });
});
