import { describe, expect, it } from "vitest";
import {
  declaredLength,
  requestHeaders,
  responseHeaders,
  retryAfterMs,
} from "../../../../src/actors/vault/calls/headers.ts";

const SETTINGS = { header: "x-key", scheme: "Key " };
const SECRET = Buffer.from("se-cret");
const invalid = expect.objectContaining({ code: "INVALID" });

describe("the headers of a request", () => {
  it("carry the key in its header, and nothing that is of the connection or a credential", () => {
    const sent = requestHeaders(
      [
        ["Accept", "text/plain"],
        ["X-KEY", "mine"],
        ["Authorization", "Bearer mine"],
        ["cookie", "a=b"],
        ["api-key", "mine"],
        ["x-api-key", "mine"],
        ["X-Goog-Api-Key", "mine"],
        ["Proxy-Authorization", "Basic x"],
        ["proxy-anything", "x"],
        ["Host", "evil.test"],
        ["Connection", "close, X-Hop"],
        ["x-hop", "1"],
        ["Keep-Alive", "timeout=5"],
        ["TE", "trailers"],
        ["Transfer-Encoding", "chunked"],
        ["Upgrade", "websocket"],
        ["Expect", "100-continue"],
        ["Content-Length", "7"],
        ["Accept-Encoding", "gzip"],
        ["Range", "bytes=0-9"],
        ["If-Range", '"tag"'],
        ["Request-Range", "bytes=0-9"],
        ["Content-Type", "application/json"],
        ["x-twice", "1"],
        ["X-Twice", "2"],
        ["__proto__", "a name like any other"],
      ],
      SETTINGS,
      SECRET,
    );
    expect(Object.entries(sent)).toEqual([
      ["accept", "text/plain"],
      ["content-type", "application/json"],
      ["x-twice", ["1", "2"]],
      ["__proto__", "a name like any other"],
      ["x-key", "Key se-cret"],
      ["accept-encoding", "identity"],
    ]);
  });

  it.each([
    ["x-a", "1\r\nx-key: mine"],
    ["x-a", "1\n"],
    ["x-a", "\0"],
    ["x-a", "Ā"],
    ["x-a: 1\r\nx-b", "2"],
    ["", "1"],
    ["x a", "1"],
    ["authorization", "1\r\n\r\nGET / HTTP/1.1"],
  ])("%j: %j is refused, and not quoted", (name, value) => {
    expect(() => requestHeaders([[name, value]], SETTINGS, SECRET)).toThrow(invalid);
    expect(() => requestHeaders([[name, value]], SETTINGS, SECRET)).toThrow(
      "a header's name or value has characters that a header cannot have",
    );
  });

  it("cannot carry a key with a line break, nor a key in a header that is the connection's", () => {
    expect(() => requestHeaders([], SETTINGS, Buffer.from("a\r\nb"))).toThrow(invalid);
    for (const header of ["host", "content-length", "transfer-encoding"])
      expect(() => requestHeaders([], { header, scheme: "" }, SECRET)).toThrow(invalid);
  });

  it("say one length or none", () => {
    expect(declaredLength([])).toBeUndefined();
    expect(declaredLength([["Content-Length", "12"]])).toBe(12);
    for (const value of ["", "-1", "1e3", "0x10", "1,1", "1 ", "9".repeat(20)])
      expect(() => declaredLength([["content-length", value]])).toThrow(invalid);
    expect(() =>
      declaredLength([
        ["content-length", "1"],
        ["content-length", "1"],
      ]),
    ).toThrow(invalid);
  });
});

describe("the headers of an answer", () => {
  const redact = (bytes: Buffer) => Buffer.from(bytes.toString("latin1").replaceAll("se-cret", "*******"), "latin1");

  it("come without cookies, what is of the connection, and the key", () => {
    const raw = ["Set-Cookie", "a=b", "Connection", "x-hop", "X-Hop", "1", "X-Echo", "it is se-cret", "x-se-cret", "1"];
    expect(
      responseHeaders([...raw, "Content-Length", "5", "Content-Encoding", "gzip"], { redact, decoded: false }),
    ).toEqual([
      ["x-echo", "it is *******"],
      ["content-length", "5"],
      ["content-encoding", "gzip"],
    ]);
    expect(responseHeaders(["Content-Length", "5", "Content-Encoding", "gzip"], { redact, decoded: true })).toEqual([]);
  });

  it("are as many and as long as a reply can have", () => {
    const many = Array.from({ length: 200 }, (_, index) => [`x-${index}`, "1"]).flat();
    expect(responseHeaders(many, { redact, decoded: false })).toHaveLength(128);
    expect(responseHeaders(["x-long", "v".repeat(16_385)], { redact, decoded: false })).toEqual([]);
  });

  it("say when to try again", () => {
    const now = Date.parse("2026-11-22T10:00:00Z");
    const delay = (value: string) => retryAfterMs([["retry-after", value]], now);
    expect(delay("7")).toBe(7_000);
    expect(delay("0")).toBe(0);
    expect(delay("1.5")).toBe(1_500);
    expect(delay("Sun, 22 Nov 2026 10:00:30 GMT")).toBe(30_000);
    expect(delay("Sun, 22 Nov 2026 09:00:00 GMT")).toBe(0);
    expect(delay("99999999999")).toBe(86_400_000);
    for (const nothing of ["", "soon", "-5", "NaN"]) expect(delay(nothing) ?? 0).toBe(0);
    expect(
      retryAfterMs(
        [
          ["retry-after-ms", "250"],
          ["retry-after", "9"],
        ],
        now,
      ),
    ).toBe(250);
    expect(retryAfterMs([], now)).toBeUndefined();
  });
});
