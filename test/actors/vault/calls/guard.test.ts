import { describe, expect, it } from "vitest";
import { classify } from "../../../../src/actors/vault/calls/addresses.ts";
import { checkUrl, type Lookup, resolveUrl } from "../../../../src/actors/vault/calls/guard.ts";
import { VgasError } from "../../../../src/protocols/errors.ts";
import { rejection } from "../../../support/wait.ts";

const PUBLIC = { origins: ["https://api.example.com"], allowPrivate: false };
const noLookup: Lookup = () => Promise.reject(new Error("was asked for a name"));

describe("the class of an address", () => {
  it.each([
    "1.1.1.1",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "223.255.255.255",
    "2606:4700::1111",
    "2001:4860:4860::8888",
    "::ffff:1.1.1.1",
    "::ffff:101:101",
  ])("%s is public", (address) => expect(classify(address)).toBe("public"));

  it.each([
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "::1",
    "0:0:0:0:0:0:0:1",
    "fc00::1",
    "fdff:ffff::1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "0:0:0:0:0:ffff:10.1.2.3",
  ])("%s is private", (address) => expect(classify(address)).toBe("private"));

  it.each([
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::127.0.0.1",
    "fe80::1",
    "fe80::1%lo",
    "::1%lo",
    "fec0::1",
    "ff02::1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "5f00::1",
    "::ffff:0:127.0.0.1",
    // Metadata services of clouds.
    "100.100.100.200",
    "::ffff:100.100.100.200",
    "168.63.129.16",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "fd00:42::42",
    "fd00:a9fe:a9fe::1",
    "fd00:100::100:200",
    "localhost",
    "",
  ])("%s is forbidden", (address) => expect(classify(address)).toBe("forbidden"));
});

describe("the URL of a call", () => {
  it.each([
    "https://api.example.com",
    "https://api.example.com:443/v1?x=1#y",
    "HTTPS://API.EXAMPLE.COM/v1",
    "https://api.example.com/../v1",
    "https:\\\\api.example.com\\v1",
    "https://ａｐｉ.example.com/",
  ])("%s is of the origin", (url) => expect(checkUrl(url, PUBLIC).origin).toBe("https://api.example.com"));

  it.each([
    "http://api.example.com/",
    "https://api.example.com:8443/",
    "https://api.example.com./",
    "https://example.com/",
    "https://api.example.com.evil.test/",
    "https://evil.test/https://api.example.com",
    "https://evil.test#https://api.example.com",
    "https://api.example.com@evil.test/",
    "https://user:password@api.example.com/",
    "https://api.example.com\\@evil.test:1/",
    "https://аpi.example.com/",
  ])("%s is refused, and it is said what is allowed", (url) => {
    const check = () => checkUrl(url, PUBLIC);
    if (url.includes("\\@")) expect(check().origin).toBe("https://api.example.com");
    else
      expect(check).toThrow(
        expect.objectContaining({ code: "PERMISSION_DENIED", message: expect.not.stringMatching("word@") }),
      );
  });

  it("is refused with the origins that are allowed", () => {
    expect(() => checkUrl("https://evil.test/", PUBLIC)).toThrow(
      "this key may not be sent to https://evil.test; allowed is https://api.example.com",
    );
    expect(() => checkUrl("https://evil.test/", { origins: [], allowPrivate: false })).toThrow("--origin");
  });

  it.each(["", "api.example.com", "/v1", "ftp://api.example.com/", "file:///etc/passwd", "data:,x", "https://"])(
    "%j is invalid",
    (url) => expect(() => checkUrl(url, PUBLIC)).toThrow(expect.objectContaining({ code: "INVALID" })),
  );

  it("may be without encryption for private addresses alone", async () => {
    const origin = "http://inside.test";
    expect(() => checkUrl(origin, { origins: [origin], allowPrivate: false })).toThrow("not encrypted");
    const limits = { origins: [origin], allowPrivate: true };
    const url = checkUrl(origin, limits);
    const to =
      (address: string): Lookup =>
      async () => [{ address, family: 4 }];
    expect(await resolveUrl(url, limits, to("10.0.0.7"))).toEqual([{ address: "10.0.0.7", family: 4 }]);
    expect(await rejection(resolveUrl(url, limits, to("1.1.1.1")))).toMatchObject({ code: "PERMISSION_DENIED" });
  });
});

describe("the addresses of a call", () => {
  // URL gives each of these spellings one form, and the form is looked at.
  it.each([
    "https://127.0.0.1",
    "https://127.1",
    "https://2130706433",
    "https://0x7f000001",
    "https://0177.0.0.1",
    "https://0x7f.1",
    "https://127.0.0.1.",
    "https://[::1]",
    "https://[0:0:0:0:0:0:0:1]",
    "https://[::ffff:127.0.0.1]",
    "https://[::ffff:7f00:1]",
    "https://１２７.０.０.１",
    "https://10.0.0.1",
    "https://[fd00::1]",
  ])("%s is private, however it is spelled", async (spelling) => {
    const limits = { origins: [new URL(spelling).origin], allowPrivate: false };
    const url = checkUrl(spelling, limits);
    const error = await rejection(resolveUrl(url, limits, noLookup));
    expect(error).toMatchObject({ code: "PERMISSION_DENIED", message: expect.stringContaining("private address") });
    expect(await resolveUrl(url, { allowPrivate: true, origins: [] }, noLookup)).toHaveLength(1);
  });

  it.each([
    "https://169.254.169.254",
    "https://0xa9fea9fe",
    "https://[::ffff:a9fe:a9fe]",
    "https://0",
    "https://0.0.0.0",
    "https://[::]",
    "https://[fe80::1]",
    "https://100.100.100.200",
    "https://[::ffff:6464:64c8]",
    "https://[fd00:ec2::254]",
    "https://[64:ff9b::a9fe:a9fe]",
    "https://255.255.255.255",
  ])("%s is refused to keys that may reach private addresses too", async (spelling) => {
    const limits = { origins: [new URL(spelling).origin], allowPrivate: true };
    const error = await rejection(resolveUrl(checkUrl(spelling, limits), limits, noLookup));
    expect(error).toMatchObject({ code: "PERMISSION_DENIED" });
  });

  const url = new URL("https://api.example.com/v1");
  const answering =
    (...addresses: string[]): Lookup =>
    async () =>
      addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 }));

  it("are refused if one of them is, and the refusal does not tell which", async () => {
    const error = await rejection(resolveUrl(url, PUBLIC, answering("1.1.1.1", "10.11.12.13")));
    expect(error).toMatchObject({ code: "PERMISSION_DENIED" });
    expect(String(error)).not.toContain("10.11.12.13");
    const mapped = await rejection(resolveUrl(url, PUBLIC, answering("::ffff:10.11.12.13")));
    expect(mapped).toMatchObject({ code: "PERMISSION_DENIED" });
    expect(await resolveUrl(url, PUBLIC, answering("1.1.1.1", "2606:4700::1111"))).toHaveLength(2);
  });

  it("cannot be had where there are none", async () => {
    expect(await rejection(resolveUrl(url, PUBLIC, answering()))).toMatchObject({ code: "UPSTREAM_FAILED" });
    const failing: Lookup = () =>
      Promise.reject(Object.assign(new Error("queryA ENOTFOUND secret-resolver"), { code: "ENOTFOUND" }));
    const error = await rejection(resolveUrl(url, PUBLIC, failing));
    expect(error).toBeInstanceOf(VgasError);
    expect(error).toMatchObject({ code: "UPSTREAM_FAILED", retryable: true });
    expect(String(error)).toContain("https://api.example.com could not be resolved: ENOTFOUND");
    expect(String(error)).not.toContain("secret-resolver");
  });
});
