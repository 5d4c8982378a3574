import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createUser } from "@nats-io/nkeys";
import { describe, expect, it } from "vitest";
import { ensureAuthority } from "../../../src/bus/certificates/authority.ts";
import {
  describeConnection,
  parseConnection,
  resolveConnection,
} from "../../../src/bus/credentials/connection-file.ts";
import { temporaryDirectory, temporaryHome } from "../../support/home.ts";

const URL = "nats://127.0.0.1:4999";
const seed = new TextDecoder().decode(createUser().getSeed());

describe("the connection that `vgas connection` prints", () => {
  it("names the seed's file, and is read back as the same credential", async () => {
    const home = await temporaryHome();
    const credential = await home.credentials.issueNode("worker");
    const described = await describeConnection({ url: URL, credential });
    expect(described).toEqual({
      url: URL,
      nkeySeedFile: credential.seedFile,
      inboxPrefix: `_INBOX.${credential.user}`,
    });
    expect(await resolveConnection(parseConnection(JSON.stringify(described)))).toEqual({
      url: URL,
      user: credential.user,
      inboxPrefix: credential.inboxPrefix,
      seed: credential.seed,
      ca: undefined,
    });
  });

  it("holds seed and authority themselves when inline, and needs no file then", async () => {
    const home = await temporaryHome();
    const credential = await home.credentials.ensureRole("client");
    const caFile = join(await temporaryDirectory(), "ca.pem");
    await writeFile(caFile, "PEM");
    const described = await describeConnection({ url: URL, credential, caFile, inline: true });
    expect(described).toEqual({
      url: URL,
      nkeySeed: (await readFile(credential.seedFile, "utf8")).trim(),
      ca: "PEM",
      inboxPrefix: "_INBOX.client",
    });
    const resolved = await resolveConnection(parseConnection(JSON.stringify(described)));
    expect(resolved).toMatchObject({ user: "client", ca: "PEM", seed: credential.seed });
  });

  it.each([false, true])(
    "holds the name in the server's certificate, and says when it is a guest's, inline: %s",
    async (inline) => {
      const { credentials, layout } = await temporaryHome();
      const { caPem, serverName } = await ensureAuthority(layout);
      const url = "tls://192.0.2.1:4999,tls://192.0.2.2:4999";
      const { caCertificate: caFile } = layout.authority;
      for (const role of ["guest", "client"] as const) {
        const credential = await credentials.issue(role);
        const described = await describeConnection({ url, credential, caFile, serverName, inline });
        expect(described).toMatchObject(inline ? { url, serverName, ca: caPem } : { url, serverName, caFile });
        expect("role" in described).toBe(role === "guest");
        expect(await resolveConnection(parseConnection(JSON.stringify(described)))).toEqual({
          url,
          user: credential.user,
          inboxPrefix: credential.inboxPrefix,
          seed: credential.seed,
          ca: caPem,
          serverName,
          role: role === "guest" ? "guest" : undefined,
          vaultKey: undefined,
        });
      }
    },
  );

  it("names an authority's file that is not there", async () => {
    const { credentials } = await temporaryHome();
    const caFile = join(await temporaryDirectory(), "ca.pem");
    const described = await describeConnection({ url: URL, credential: await credentials.issue("client"), caFile });
    await expect(resolveConnection(described)).rejects.toMatchObject({
      code: "CONFIG",
      message: expect.stringContaining(caFile),
    });
  });

  it.each([false, true])("holds the vault's key for who seals secrets for it, inline: %s", async (inline) => {
    const home = await temporaryHome();
    const credential = await home.credentials.ensureRole("admin");
    const vaultKey = createUser().getPublicKey();
    const described = await describeConnection({ url: URL, credential, vaultKey, inline });
    expect(described).toMatchObject({ vaultKey });
    const text = JSON.stringify(described);
    expect(await resolveConnection(parseConnection(text))).toMatchObject({ user: "admin", vaultKey });
  });

  it.each([
    ["no JSON", "nats://x", /not JSON/],
    ["neither seed", JSON.stringify({ url: URL, inboxPrefix: "_INBOX.a" }), /exactly one/],
    [
      "both seeds",
      JSON.stringify({ url: URL, inboxPrefix: "_INBOX.a", nkeySeed: seed, nkeySeedFile: "f" }),
      /exactly one/,
    ],
    ["another URL", JSON.stringify({ url: "http://x", inboxPrefix: "_INBOX.a", nkeySeed: seed }), /"url" must be nats/],
    [
      "a password in the URL",
      JSON.stringify({ url: "nats://a:b@x:1", inboxPrefix: "_INBOX.a", nkeySeed: seed }),
      /"url"/,
    ],
    ["a foreign inbox prefix", JSON.stringify({ url: URL, inboxPrefix: "_INBOX.>", nkeySeed: seed }), /_INBOX.<user>/],
    ["no inbox prefix", JSON.stringify({ url: URL, nkeySeed: seed }), /inboxPrefix/],
    [
      "a vault's key that is none",
      JSON.stringify({ url: URL, inboxPrefix: "_INBOX.a", nkeySeed: seed, vaultKey: "UNONE" }),
      /"vaultKey" must be the public nkey/,
    ],
    [
      "a server's name that is none",
      JSON.stringify({ url: URL, inboxPrefix: "_INBOX.a", nkeySeed: seed, serverName: "a b" }),
      /"serverName" must be a host name/,
    ],
    [
      "a role that is none",
      JSON.stringify({ url: URL, inboxPrefix: "_INBOX.a", nkeySeed: seed, role: "king" }),
      /"role"/,
    ],
    ["null", "null", /exactly one/],
  ])("is refused with %s, and the seed is not quoted", (_, text, message) => {
    const read = (): unknown => parseConnection(text);
    expect(read).toThrow(message);
    expect(read).not.toThrow(seed);
  });

  it("is refused when its seed is none", async () => {
    const text = JSON.stringify({ url: URL, inboxPrefix: "_INBOX.a", nkeySeed: "SUNONE" });
    await expect(resolveConnection(parseConnection(text))).rejects.toMatchObject({ code: "CONFIG" });
  });
});
