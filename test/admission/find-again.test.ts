import { once } from "node:events";
import { type AddressInfo, createServer as createPlainServer } from "node:net";
import { createServer } from "node:tls";
import { expect, onTestFinished, test } from "vitest";
import type { Candidate } from "../../src/admission/candidates.ts";
import { findAgain } from "../../src/admission/find-again.ts";
import { ensureAuthority } from "../../src/bus/certificates/authority.ts";
import { ensureServerCertificate } from "../../src/bus/certificates/server-certificate.ts";
import type { HomeLayout } from "../../src/bus/home/layout.ts";
import type { Membership } from "../../src/bus/home/membership.ts";
import { temporaryHome } from "../support/home.ts";
import { freePort } from "../support/nats.ts";

/** A port that proves to be of the swarm whose authority is in `layout`, as soon as it is up: until then it hangs up. */
async function portOf(layout: HomeLayout, isUp: () => boolean): Promise<number> {
  await ensureAuthority(layout);
  const { certificatePem: cert, keyPem: key } = await ensureServerCertificate(layout, { names: [], addresses: [] });
  const secure = createServer({ cert, key }, (socket) => socket.resume());
  secure.on("tlsClientError", () => undefined);
  const server = createPlainServer((socket) => {
    if (isUp()) secure.emit("connection", socket);
    else socket.destroy();
  });
  server.listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

const port = (layout: HomeLayout): Promise<number> => portOf(layout, () => true);

async function memberOf(layout: HomeLayout, natsPort: number): Promise<Membership> {
  const { swarmId, pin, caPem: ca, serverName } = await ensureAuthority(layout);
  const urls = [`tls://127.0.0.9:${natsPort}`];
  const who = { user: "n1", role: "worker", prefix: "vgas", inboxPrefix: "_INBOX.n1", seed: new Uint8Array() } as const;
  return { ...who, swarmId, pin, ca, serverName, urls, doors: ["127.0.0.9:1"] };
}

function search(membership: Membership, candidate: Partial<Candidate>, timeoutMs: number) {
  const found: Candidate = { id: "m", addresses: ["127.0.0.1"], port: 1, source: "mdns", ...candidate };
  const source = {
    watch: (onCandidate: (candidate: Candidate) => void) => {
      onCandidate(found);
      return () => undefined;
    },
  };
  return findAgain(membership, [source], { signal: new AbortController().signal, timeoutMs });
}

test("a NATS port that is announced is believed when it proves to be the swarm's, and the former addresses are kept", async () => {
  const { layout } = await temporaryHome();
  const [door, stored, announced] = [await port(layout), await port(layout), await port(layout)];
  const membership = await memberOf(layout, stored);
  expect(await search(membership, { port: door, natsPort: announced }, 20_000)).toEqual({
    urls: [`tls://127.0.0.1:${announced}`, `tls://127.0.0.1:${stored}`, `tls://127.0.0.9:${stored}`],
    doors: [`127.0.0.1:${door}`, "127.0.0.9:1"],
  });
  const forged = await port((await temporaryHome()).layout);
  for (const natsPort of [forged, await freePort()]) {
    const found = await search(membership, { port: door, natsPort }, 20_000);
    expect(found?.urls).toEqual([`tls://127.0.0.1:${stored}`, `tls://127.0.0.9:${stored}`]);
  }
});

test("NATS that comes up after the door is waited for", async () => {
  const { layout } = await temporaryHome();
  const door = await port(layout);
  let knocks = 0;
  // The first finds nobody.
  const nats = await portOf(layout, () => knocks++ > 0);
  const searching = search(await memberOf(layout, nats), { port: door }, 30_000);
  expect((await searching)?.urls[0]).toBe(`tls://127.0.0.1:${nats}`);
});

test("a door of another swarm is nothing, and a search ends in time", async () => {
  const [own, other] = [await temporaryHome(), await temporaryHome()];
  const [door, nats] = [await port(other.layout), await port(own.layout)];
  expect(await search(await memberOf(own.layout, nats), { port: door }, 500)).toBeUndefined();
  const trueDoor = await port(own.layout);
  expect(await search(await memberOf(own.layout, await freePort()), { port: trueDoor }, 500)).toBeUndefined();
});
