import { createHash } from "node:crypto";
import { once } from "node:events";
import type { RequestListener, ServerResponse } from "node:http";
import { afterEach, describe, expect, it } from "vitest";
import type { BrokerPort } from "../../../src/actors/agent/vault-fetch.ts";
import type { Calls } from "../../../src/actors/vault/calls/calls.ts";
import { VgasError } from "../../../src/protocols/errors.ts";
import { CALL_CHUNK_BYTES, MAX_CALL_BODY_BYTES } from "../../../src/protocols/vault/operations.ts";
import { Brokered, CANARY } from "../../support/brokered.ts";
import { bodyOf, type HttpServer, serve } from "../../support/http-server.ts";
import { rejection, until } from "../../support/wait.ts";

const closing: (() => Promise<void>)[] = [];

afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

async function server(listener: RequestListener): Promise<HttpServer> {
  const started = await serve(listener);
  closing.push(started.close);
  return started;
}

function brokered(
  origins: readonly { origin: string }[],
  options: Partial<ConstructorParameters<typeof Calls>[0]> = {},
) {
  const by = new Brokered(
    origins.map(({ origin }) => origin),
    {},
    options,
  );
  closing.push(() => by.calls.stop());
  return by;
}

/** Answers with what it was asked. */
const echo: RequestListener = async (request, response) => {
  const body = await bodyOf(request);
  const { method, url, headers } = request;
  response.setHeader("content-type", "application/json");
  response.end(JSON.stringify({ method, url, headers, body: body.toString() }));
};

interface Echo {
  readonly method: string;
  readonly url: string;
  readonly headers: Record<string, string>;
  readonly body: string;
}

const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

/** `total` bytes, made piece by piece as they are wanted. */
function streamOf(total: number, onPull: () => void = () => undefined): ReadableStream<Uint8Array> {
  let made = 0;
  return new ReadableStream({
    pull: (controller) => {
      onPull();
      const piece = Buffer.alloc(Math.min(50_000, total - made), "0123456789");
      made += piece.length;
      if (piece.length > 0) controller.enqueue(new Uint8Array(piece));
      if (made === total) controller.close();
    },
  });
}

describe("a brokered fetch", () => {
  it("takes whatever fetch takes as a body", async () => {
    const upstream = await server(echo);
    const by = brokered([upstream]);
    const form = new FormData();
    form.set("field", "välue");
    form.set("file", new Blob(["content"], { type: "text/plain" }), "name.txt");
    const bodies: [body: RequestInit["body"] & {}, text: string | RegExp, type: RegExp | undefined][] = [
      ["häuser", "häuser", /^text\/plain;charset=UTF-8$/],
      [new TextEncoder().encode("bytes"), "bytes", undefined],
      [new TextEncoder().encode("buffer").buffer, "buffer", undefined],
      [new URLSearchParams({ a: "1 2" }), "a=1+2", /^application\/x-www-form-urlencoded/],
      [new Blob(["blob"], { type: "text/x" }), "blob", /^text\/x$/],
      [
        form,
        /name="field"\r\n\r\nvälue\r\n[\s\S]*filename="name.txt"\r\n[\s\S]*content/,
        /^multipart\/form-data; boundary=/,
      ],
      ["", "", /text/],
    ];
    for (const [body, text, type] of bodies) {
      const response = await by.fetch(`${upstream.origin}/x`, { method: "POST", body });
      const got = (await response.json()) as Echo;
      expect(got.body).toMatch(typeof text === "string" ? new RegExp(`^${text.replaceAll("+", "\\+")}$`) : text);
      if (type === undefined) expect(got.headers["content-type"]).toBeUndefined();
      else expect(got.headers["content-type"]).toMatch(type);
      expect(got.headers["content-length"]).toBe(String(Buffer.byteLength(got.body)));
    }
    const streamed = await by.fetch(upstream.origin, { method: "POST", body: streamOf(12), headers: { "x-a": "1" } });
    expect(await streamed.json()).toMatchObject({ body: "012345678901", headers: { "x-a": "1" } });
    async function* generated() {
      yield new TextEncoder().encode("gene");
      yield new TextEncoder().encode("rated");
    }
    const generating = await by.fetch(upstream.origin, {
      method: "POST",
      body: generated() as unknown as ReadableStream,
    });
    expect(await generating.json()).toMatchObject({ body: "generated" });
  });

  it("says the length of a body itself, whatever the caller says of it", async () => {
    const upstream = await server(echo);
    const by = brokered([upstream]);
    for (const body of ["text", "", undefined]) {
      const init = { method: "POST", headers: { "content-length": "7" }, ...(body !== undefined && { body }) };
      const got = (await (await by.fetch(upstream.origin, init)).json()) as Echo;
      expect([got.body, got.headers["content-length"]]).toEqual([body ?? "", String(body?.length ?? 0)]);
    }
    const headers = { "content-length": "12" };
    const streamed = await by.fetch(upstream.origin, { method: "POST", body: streamOf(12), headers });
    expect(await streamed.json()).toMatchObject({ body: "012345678901", headers });
  });

  it("takes a Request, with an init over it", async () => {
    const upstream = await server(echo);
    const by = brokered([upstream]);
    const request = () =>
      new Request(`${upstream.origin}/r?q#f`, { method: "PUT", body: "of it", headers: { "x-a": "1" } });
    const first = await by.fetch(request());
    expect(await first.json()).toMatchObject({ method: "PUT", url: "/r?q", body: "of it", headers: { "x-a": "1" } });
    const second = await by.fetch(request(), { body: "over it", headers: { "x-b": "2" } });
    const got = (await second.json()) as Echo;
    expect(got).toMatchObject({ method: "PUT", body: "over it", headers: { "x-b": "2" } });
    expect(got.headers["x-a"]).toBeUndefined();
    expect(await rejection(by.fetch("/relative"))).toBeInstanceOf(TypeError);
    expect(await rejection(by.fetch(upstream.origin, { body: "x" }))).toBeInstanceOf(TypeError);
  });

  it("resolves with a real Response", async () => {
    const upstream = await server((_request, response) => {
      response.writeHead(
        418,
        "Teapot",
        [
          ["x-a", "1"],
          ["x-a", "2"],
          ["set-cookie", "a=b"],
        ].flat(),
      );
      response.end('{"a":[1,2]}');
    });
    const by = brokered([upstream]);
    const response = await by.fetch(`${upstream.origin}/path#fragment`);
    expect(response).toBeInstanceOf(Response);
    expect(response).toMatchObject({
      status: 418,
      statusText: "Teapot",
      ok: false,
      redirected: false,
      bodyUsed: false,
    });
    expect(response.url).toBe(`${upstream.origin}/path`);
    expect(response.headers.get("x-a")).toBe("1, 2");
    expect(response.headers.getSetCookie()).toEqual([]);
    const copy = response.clone();
    expect(copy.url).toBe(response.url);
    expect(await response.json()).toEqual({ a: [1, 2] });
    expect(await copy.text()).toBe('{"a":[1,2]}');
    expect(await rejection(response.text())).toBeInstanceOf(TypeError);
  });

  it("gives bytes to readers of their own buffers, and a blob", async () => {
    const upstream = await server((_request, response) => response.end("0123456789"));
    const by = brokered([upstream]);
    const reader = (await by.fetch(upstream.origin)).body?.getReader({ mode: "byob" });
    let text = "";
    for (;;) {
      const got = await reader?.read(new Uint8Array(4));
      text += Buffer.from(got?.value ?? []).toString();
      if (got?.done !== false) break;
    }
    expect(text).toBe("0123456789");
    expect((await (await by.fetch(upstream.origin)).blob()).size).toBe(10);
  });

  it("has no body where there is none, and counts the call all the same", async () => {
    const upstream = await server((request, response) => {
      response.writeHead(request.method === "HEAD" ? 200 : Number(request.url?.slice(1)), { "x-a": "1" }).end();
    });
    const by = brokered([upstream]);
    for (const [method, status] of [
      ["GET", 204],
      ["GET", 304],
      ["DELETE", 205],
      ["HEAD", 200],
    ] as const) {
      const response = await by.fetch(`${upstream.origin}/${status}`, { method });
      expect([response.status, response.body, response.headers.get("x-a")]).toEqual([status, null, "1"]);
    }
    expect(by.usages).toMatchObject([{ calls: 1 }, { calls: 1 }, { calls: 1 }, { calls: 1 }]);
  });

  it("sends no credentials of the caller's own, not even to the vault", async () => {
    const upstream = await server(echo);
    const by = brokered([upstream]);
    const headers = { authorization: "Bearer mine", "x-api-key": "mine", cookie: "mine", "x-other": "1" };
    const got = (await (await by.fetch(upstream.origin, { headers })).json()) as Echo;
    expect(JSON.stringify(got)).not.toContain("mine");
    expect(JSON.stringify(by.requests)).not.toContain("mine");
    expect(got.headers).toMatchObject({ "x-other": "1", accept: "*/*" });
    // The echo of the key is not the key.
    expect(got.headers["authorization"]).toBe(`Bearer ${"*".repeat(CANARY.length)}`);
  });

  it("refuses what would inject a header", async () => {
    const by = brokered([{ origin: "https://api.test" }]);
    expect(await rejection(by.fetch("https://api.test", { headers: { "x-a": "1\r\nx-b: 2" } }))).toBeInstanceOf(
      TypeError,
    );
    expect(by.requests).toEqual([]);
  });

  it("fails with the vault's error where the key may not be sent", async () => {
    const by = brokered([{ origin: "https://api.test" }]);
    const error = await rejection(by.fetch("https://evil.test/"));
    expect(error).toBeInstanceOf(VgasError);
    expect(error).toMatchObject({ code: "PERMISSION_DENIED", message: expect.stringContaining("https://api.test") });
    expect(by.outcomes).toEqual([]);
  });
});

describe("the body of an answer", () => {
  it("arrives piece by piece, each as soon as the provider has sent it", async () => {
    let upstreamResponse: ServerResponse | undefined;
    const upstream = await server((_request, response) => {
      upstreamResponse = response.writeHead(200, { "content-type": "text/event-stream" });
      response.flushHeaders();
    });
    const by = brokered([upstream]);
    const response = await by.fetch(upstream.origin);
    const reader = response.body?.getReader();
    for (const text of ["data: one\n\n", "data: two\n\n", "data: three\n\n"]) {
      // Sent only now: that it arrives shows that nothing waits for more.
      upstreamResponse?.write(text);
      expect(Buffer.from((await reader?.read())?.value ?? []).toString()).toBe(text);
    }
    expect(by.usages).toEqual([]);
    upstreamResponse?.end();
    expect((await reader?.read())?.done).toBe(true);
    expect(by.usages).toMatchObject([{ calls: 1, errors: 0, bytesReceived: 35 }]);
  });

  it("is 20 MiB each way, in bounded memory", async () => {
    const total = 20 * 1024 * 1024;
    const upstream = await server((request, response) => {
      response.writeHead(200, { "x-framing": String(request.headers["transfer-encoding"]) });
      request.pipe(response);
    });
    const by = brokered([upstream]);
    let pulled = 0;
    const body = streamOf(total, () => pulled++);
    const response = await by.fetch(upstream.origin, { method: "POST", body });
    expect(response.headers.get("x-framing")).toBe("chunked");
    // Nobody has read yet, so the upload stands still too: what is on its way is in the buffers of the vault and of sockets.
    let turns = 0;
    for (let before = -1; turns < 2_000; turns++) {
      if (pulled !== before) turns = 0;
      before = pulled;
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(pulled * 50_000).toBeLessThan(total);
    const hash = createHash("sha256");
    let length = 0;
    let largest = 0;
    for await (const piece of response.body as unknown as AsyncIterable<Uint8Array>) {
      hash.update(piece);
      length += piece.length;
      largest = Math.max(largest, piece.length);
    }
    expect(length).toBe(total);
    expect(largest).toBeLessThanOrEqual(CALL_CHUNK_BYTES);
    expect(hash.digest("hex")).toBe(digest(Buffer.from("0123456789".repeat(total / 10 + 1)).subarray(0, total)));
    expect(by.usages).toMatchObject([{ bytesSent: total, bytesReceived: total }]);
  });

  it("is read one piece ahead of the consumer, no further", async () => {
    const upstream = await server((_request, response) => response.end(Buffer.alloc(3_000_000, "x")));
    const by = brokered([upstream]);
    const response = await by.fetch(upstream.origin);
    const reader = response.body?.getReader();
    await reader?.read();
    await until(() => by.outcomes.length > 0 || (by.metered[0]?.length ?? 0) > 5);
    for (let turn = 0; turn < 200; turn++) await new Promise((resolve) => setImmediate(resolve));
    const reads = by.requests.filter(({ action }) => action === "read").length;
    expect(reads).toBeLessThanOrEqual(4);
    expect(by.outcomes).toEqual([]);
    await reader?.cancel();
  });

  it("cancels the call when it is cancelled, and what was used is known then", async () => {
    let closed: Promise<unknown> | undefined;
    const upstream = await server((_request, response) => {
      closed = once(response, "close");
      response.write("no end.");
    });
    const by = brokered([upstream]);
    const response = await by.fetch(upstream.origin);
    await response.body?.cancel();
    await closed;
    expect(by.outcomes).toMatchObject([{ status: 200, error: { code: "ABORTED" } }]);
    expect(by.usages).toMatchObject([{ calls: 1, errors: 1 }]);
    expect(by.calls.size).toBe(0);
    const second = await by.fetch(upstream.origin);
    for await (const piece of second.body as unknown as AsyncIterable<Uint8Array>) {
      expect(piece).toHaveLength(7);
      break;
    }
    await closed;
    expect(by.usages).toHaveLength(2);
  });

  it("rejects its reader with the VgasError when the provider breaks it off", async () => {
    const upstream = await server((_request, response) => {
      response.writeHead(200, { "content-length": "100" });
      response.write("some", () => response.socket?.destroy());
    });
    const by = brokered([upstream]);
    const response = await by.fetch(upstream.origin);
    const error = await rejection(response.text());
    expect(error).toBeInstanceOf(VgasError);
    expect(error).toMatchObject({ code: "UPSTREAM_FAILED", retryable: true });
    expect(by.usages).toMatchObject([{ calls: 1, errors: 1, bytesReceived: 4 }]);
  });

  it("rejects its reader when the vault is sealed", async () => {
    const upstream = await server((_request, response) => response.write("some"));
    const by = brokered([upstream]);
    const response = await by.fetch(upstream.origin);
    const reading = rejection(response.text());
    await by.calls.abortAll(new VgasError("VAULT_SEALED", "the vault was sealed"));
    expect(await reading).toMatchObject({ code: "VAULT_SEALED", retryable: true });
    expect(by.usages).toMatchObject([{ errors: 1 }]);
  });

  it("says that the vault was started again when the call is gone", async () => {
    const upstream = await server((_request, response) => response.write("some"));
    const by = brokered([upstream]);
    const other = brokered([upstream]);
    let port = by.port;
    const response = await by.fetch(upstream.origin, {}, (request, options) => port(request, options));
    port = other.port;
    expect(await rejection(response.text())).toMatchObject({ code: "UPSTREAM_FAILED", retryable: true });
  });
});

describe("a signal", () => {
  const silent: RequestListener = () => undefined;

  it("that has fired lets nothing begin", async () => {
    const by = brokered([{ origin: "https://api.test" }]);
    const reason = new Error("mine");
    expect(await rejection(by.fetch("https://api.test", { signal: AbortSignal.abort(reason) }))).toBe(reason);
    by.run.abort();
    expect(await rejection(by.fetch("https://api.test"))).toMatchObject({ name: "AbortError" });
    expect(by.requests).toEqual([]);
  });

  it.each(["of the caller", "of the run"])("%s ends a call without an answer, up to the provider", async (whose) => {
    let closed: Promise<unknown> | undefined;
    const upstream = await server((_request, response) => {
      closed = once(response, "close");
    });
    const by = brokered([upstream]);
    const controller = whose === "of the run" ? by.run : new AbortController();
    const failing = rejection(by.fetch(upstream.origin, { signal: controller.signal }));
    await until(() => closed !== undefined);
    controller.abort();
    expect(await failing).toMatchObject({ name: "AbortError" });
    await closed;
    await until(() => by.usages.length > 0);
    expect(by.outcomes).toMatchObject([{ error: { code: "ABORTED" } }]);
    expect(by.calls.size).toBe(0);
  });

  it("of either ends the body, and the reason is what its reader gets", async () => {
    let closed: Promise<unknown> | undefined;
    const upstream = await server((_request, response) => {
      closed = once(response, "close");
      response.write("some");
    });
    const by = brokered([upstream]);
    const controller = new AbortController();
    const response = await by.fetch(upstream.origin, { signal: controller.signal });
    const reader = response.body?.getReader();
    await reader?.read();
    const reading = rejection(reader?.read() ?? Promise.resolve());
    const reason = new Error("mine");
    controller.abort(reason);
    expect(await reading).toBe(reason);
    await closed;

    const idle = await by.fetch(upstream.origin);
    by.run.abort();
    expect(await rejection(idle.text())).toMatchObject({ name: "AbortError" });
    await closed;
  });

  it("cancels a call whose opening was still to be answered", async () => {
    const upstream = await server(silent);
    const by = brokered([upstream]);
    let answer: (() => void) | undefined;
    const slow: BrokerPort = async (request, options) => {
      const reply = await by.port(request, options);
      if (request.action === "open") await new Promise<void>((resolve) => (answer = resolve));
      return reply;
    };
    const controller = new AbortController();
    const failing = rejection(by.fetch(upstream.origin, { signal: controller.signal }, slow));
    await until(() => answer !== undefined);
    controller.abort();
    expect(await failing).toMatchObject({ name: "AbortError" });
    expect(by.calls.size).toBe(1);
    answer?.();
    await until(() => by.calls.size === 0);
    expect(by.outcomes).toMatchObject([{ error: { code: "ABORTED" } }]);
  });

  it("stops an upload whose source gives nothing", async () => {
    const upstream = await server(silent);
    const by = brokered([upstream]);
    let cancelled: unknown;
    const body = new ReadableStream({
      start: (controller) => controller.enqueue(new Uint8Array(300_000)),
      cancel: (reason) => {
        cancelled = reason;
      },
    });
    const reason = new Error("mine");
    const controller = new AbortController();
    const failing = rejection(by.fetch(upstream.origin, { method: "POST", body, signal: controller.signal }));
    await until(() => by.requests.some(({ action }) => action === "open"));
    controller.abort(reason);
    expect(await failing).toBe(reason);
    await until(() => cancelled !== undefined);
    await until(() => by.outcomes.length > 0);
  });
});

describe("an upload", () => {
  it("that fails at its source fails the call with that", async () => {
    let aborted: Promise<unknown> | undefined;
    const upstream = await server((request) => {
      aborted = once(request, "close");
      request.on("error", () => undefined).resume();
    });
    const by = brokered([upstream]);
    const reason = new Error("the disk is gone");
    let pulls = 0;
    const body = new ReadableStream({
      pull: (controller) => {
        if (++pulls > 10) controller.error(reason);
        else controller.enqueue(new Uint8Array(100_000));
      },
    });
    expect(await rejection(by.fetch(upstream.origin, { method: "POST", body }))).toBe(reason);
    await aborted;
    await until(() => by.outcomes.length > 0);
    expect(by.outcomes).toMatchObject([{ error: { code: "ABORTED" } }]);
  });

  it("of text in a stream is refused as fetch does", async () => {
    const by = brokered([{ origin: "https://api.test" }]);
    const body = new ReadableStream({ start: (controller) => controller.enqueue("text") });
    expect(await rejection(by.fetch("https://api.test", { method: "POST", body }))).toBeInstanceOf(TypeError);
    expect(by.requests).toEqual([]);
  });

  it("that is too large is refused, before anything is sent if its size is known", async () => {
    const upstream = await server((request) => request.on("error", () => undefined).resume());
    const by = brokered([upstream], { limits: { bodyBytes: 1_000_000 } });
    const known = by.fetch(upstream.origin, { method: "POST", body: new Uint8Array(MAX_CALL_BODY_BYTES + 1) });
    expect(await rejection(known)).toMatchObject({ code: "TOO_LARGE" });
    expect(by.requests).toEqual([]);
    const streamed = by.fetch(upstream.origin, { method: "POST", body: streamOf(3_000_000) });
    expect(await rejection(streamed)).toMatchObject({ code: "TOO_LARGE" });
    expect(by.outcomes).toMatchObject([{ error: { code: "TOO_LARGE" } }]);
  });

  it("is given up when the provider has answered before its end", async () => {
    const upstream = await server((_request, response) => {
      response.writeHead(413, { connection: "close" }).end("too much");
    });
    const by = brokered([upstream]);
    let cancelled = false;
    let pulls = 0;
    const body = new ReadableStream({
      pull: async (controller) => {
        if (++pulls > 4) await new Promise(() => undefined);
        controller.enqueue(new Uint8Array(100_000));
      },
      cancel: () => {
        cancelled = true;
      },
    });
    const response = await by.fetch(upstream.origin, { method: "POST", body });
    expect([response.status, await response.text()]).toEqual([413, "too much"]);
    await until(() => cancelled);
    expect(by.usages).toMatchObject([{ calls: 1, errors: 0 }]);
  });
});

describe("a lost answer", () => {
  /** Loses the answers of the first requests of this action, after the vault has done them. */
  function losing(by: Brokered, action: string, times: number): { port: BrokerPort; lost: () => number } {
    let lost = 0;
    const port: BrokerPort = async (request, options) => {
      const reply = await by.port(request, options);
      if (request.action !== action || lost === times) return reply;
      lost++;
      throw new VgasError("TIMEOUT", `vault.call timed out after ${options.timeoutMs} ms`);
    };
    return { port, lost: () => lost };
  }

  it("to a read or a write is asked for again", async () => {
    const upstream = await server((request, response) => request.pipe(response));
    const by = brokered([upstream]);
    const body = Buffer.alloc(1_000_000, "0123456789");
    for (const action of ["read", "write"]) {
      const { port, lost } = losing(by, action, 2);
      const response = await by.fetch(upstream.origin, { method: "POST", body }, port);
      expect(digest(new Uint8Array(await response.arrayBuffer()))).toBe(digest(body));
      expect(lost()).toBe(2);
    }
    expect(by.usages).toHaveLength(2);
  });

  it("is not lost when the vault hears the repetition before what it repeats", async () => {
    const upstream = await server((request, response) => request.pipe(response));
    const by = brokered([upstream]);
    const body = Buffer.alloc(1_000_000, "0123456789");
    let late = 0;
    const port: BrokerPort = (request, options) => {
      const reply = by.port(request, options);
      // The same once more, for somebody who does not wait for it any more.
      if (request.action === "read" && late++ < 20) void by.port(request, options).catch(() => undefined);
      return reply;
    };
    const response = await by.fetch(upstream.origin, { method: "POST", body }, port);
    expect(digest(new Uint8Array(await response.arrayBuffer()))).toBe(digest(body));
    expect(late).toBeGreaterThan(5);
  });

  it("to an opening is not: the call may have been made", async () => {
    const upstream = await server((_request, response) => response.end("made"));
    const by = brokered([upstream]);
    const { port } = losing(by, "open", 1);
    expect(await rejection(by.fetch(upstream.origin, {}, port))).toMatchObject({ code: "TIMEOUT" });
    expect(by.requests.map(({ action }) => action)).toEqual(["open"]);
  });

  it("is asked for until a signal fires", async () => {
    const upstream = await server((_request, response) => response.end("never read"));
    const by = brokered([upstream]);
    const { port, lost } = losing(by, "read", Number.POSITIVE_INFINITY);
    const failing = rejection(by.fetch(upstream.origin, {}, port));
    await until(() => lost() > 20);
    by.run.abort();
    expect(await failing).toMatchObject({ name: "AbortError" });
  });
});

describe("a redirect", () => {
  const target: RequestListener = (request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "", "http://x");
    if (pathname !== "/from") return echo(request, response);
    response.writeHead(Number(searchParams.get("status")), { location: searchParams.get("to") ?? "/to" }).end("moved");
  };

  it.each([
    [301, "POST", "GET"],
    [302, "POST", "GET"],
    [303, "POST", "GET"],
    [303, "PUT", "GET"],
    [301, "PUT", "PUT"],
    [302, "DELETE", "DELETE"],
    [307, "POST", "POST"],
    [308, "POST", "POST"],
    [301, "GET", "GET"],
  ])("with %i of a %s is followed with a %s", async (status, method, expected) => {
    const upstream = await server(target);
    const by = brokered([upstream]);
    const body = method === "GET" || method === "DELETE" ? null : "body";
    const response = await by.fetch(`${upstream.origin}/from?status=${status}`, {
      method,
      body,
      headers: { "x-a": "1" },
    });
    expect(response.redirected).toBe(true);
    expect(response.url).toBe(`${upstream.origin}/to`);
    const got = (await response.json()) as Echo;
    expect(got).toMatchObject({ method: expected, url: "/to", headers: { "x-a": "1" } });
    expect(got.body).toBe(expected === method && body !== null ? "body" : "");
    if (expected !== method) expect(got.headers["content-type"]).toBeUndefined();
    expect(by.usages).toHaveLength(2);
    expect(by.outcomes.map(({ error }) => error)).toEqual([undefined, undefined]);
  });

  it("of a HEAD stays one, after 303 too", async () => {
    const upstream = await server(target);
    const response = await brokered([upstream]).fetch(`${upstream.origin}/from?status=303`, { method: "HEAD" });
    expect([response.status, response.redirected, response.body]).toEqual([200, true, null]);
  });

  it("to another allowed origin is followed, to any other not", async () => {
    const upstream = await server(target);
    const allowed = await server(echo);
    const foreign = await server(echo);
    const by = brokered([upstream, allowed]);
    const to = (where: string) => `${upstream.origin}/from?status=302&to=${encodeURIComponent(where)}`;
    const response = await by.fetch(to(`${allowed.origin}/there`));
    expect(response.url).toBe(`${allowed.origin}/there`);
    await response.body?.cancel();
    for (const where of [`${foreign.origin}/`, `http://localhost:${foreign.port}/`, "http://169.254.169.254/latest"]) {
      expect(await rejection(by.fetch(to(where)))).toMatchObject({ code: "PERMISSION_DENIED" });
    }
    for (const where of ["ftp://x/", "file:///etc/passwd", "data:,x", "http://[", "javascript:x"])
      expect(await rejection(by.fetch(to(where)))).toBeInstanceOf(TypeError);
    expect(foreign.connections.size).toBe(0);
  });

  it("is returned when it is not to be followed, or fails when it must not be", async () => {
    const upstream = await server(target);
    const by = brokered([upstream]);
    const from = `${upstream.origin}/from?status=302`;
    const manual = await by.fetch(from, { redirect: "manual" });
    expect([manual.status, manual.headers.get("location"), manual.redirected]).toEqual([302, "/to", false]);
    expect(await manual.text()).toBe("moved");
    expect(await rejection(by.fetch(from, { redirect: "error" }))).toBeInstanceOf(TypeError);
  });

  it("is followed five times", async () => {
    const upstream = await server((request, response) => {
      const left = Number(request.url?.slice(1));
      if (left === 0) response.end("arrived");
      else response.writeHead(302, { location: `/${left - 1}` }).end();
    });
    const by = brokered([upstream]);
    expect(await (await by.fetch(`${upstream.origin}/5`)).text()).toBe("arrived");
    expect(await rejection(by.fetch(`${upstream.origin}/6`))).toBeInstanceOf(TypeError);
  });

  it("cannot be followed with a stream that has been sent, nor to nowhere", async () => {
    const upstream = await server((request, response) => {
      if (request.url === "/nowhere") response.writeHead(302).end("stays");
      else target(request, response);
    });
    const by = brokered([upstream]);
    const streamed = by.fetch(`${upstream.origin}/from?status=307`, { method: "POST", body: streamOf(10) });
    expect(await rejection(streamed)).toBeInstanceOf(TypeError);
    const nowhere = await by.fetch(`${upstream.origin}/nowhere`);
    expect([nowhere.status, await nowhere.text()]).toEqual([302, "stays"]);
  });

  it("with a long body is not read to its end", async () => {
    const upstream = await server((request, response) => {
      if (request.url === "/to") {
        response.end("arrived");
        return;
      }
      response.writeHead(302, { location: "/to" });
      const more = () => {
        while (response.write(Buffer.alloc(16_384)));
        response.once("drain", more);
      };
      more();
    });
    const by = brokered([upstream]);
    expect(await (await by.fetch(upstream.origin)).text()).toBe("arrived");
    expect(by.outcomes).toMatchObject([{ status: 302, error: { code: "ABORTED" } }, { status: 200 }]);
  });
});
