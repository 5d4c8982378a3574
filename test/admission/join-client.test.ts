import { once } from "node:events";
import type { RequestListener } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { type Door, post } from "../../src/admission/join-client.ts";
import { helloReply } from "../../src/protocols/admission.ts";
import { makeCertificates } from "../support/certificates.ts";
import { startSwarmDoor } from "../support/swarm-door.ts";

const SIGNAL = new AbortController().signal;

async function ask(door: Door): Promise<string | undefined> {
  const asked = post(door, "/join/hello", { v: 1 }, helloReply, SIGNAL);
  return await asked.then(
    () => undefined,
    (error: { code?: string }) => error.code,
  );
}

describe("a request to a door", () => {
  test("is sent only to who shows the swarm's certificate, whatever the environment says", async () => {
    vi.stubEnv("NODE_TLS_REJECT_UNAUTHORIZED", "0");
    onTestFinished(() => void vi.unstubAllEnvs());
    const [swarm, other] = [await startSwarmDoor(), await startSwarmDoor()];
    const { caPem: ca, serverName } = swarm.authority;
    const host = "127.0.0.1";
    expect(await ask({ host, port: other.port, ca, serverName })).toBe("CERTIFICATE_MISMATCH");
    expect(await ask({ host, port: other.port, ca, serverName: undefined })).toBe("CERTIFICATE_MISMATCH");
    expect(await ask({ host, port: swarm.port, ca, serverName: "other.vgas.internal" })).toBe("CERTIFICATE_MISMATCH");
    expect([...swarm.asked, ...other.asked]).toEqual([]);
    // The door itself has answered here.
    expect(await ask({ host, port: swarm.port, ca, serverName })).toBe("INVALID");
    expect(await ask({ host, port: swarm.port, ca, serverName: undefined })).toBe("INVALID");
  });

  test("takes what is no door's answer for no swarm", async () => {
    const { ca, key, cert } = await makeCertificates(["DNS:abcdefghij.vgas.internal"]);
    const answers: RequestListener[] = [
      (_, response) => response.end("hello"),
      (_, response) => response.end(JSON.stringify({ v: 1, swarmId: "x", challenge: "y" })),
      (_, response) => response.writeHead(500).end("{}"),
      (_, response) => response.end(Buffer.alloc(1_000_000)),
      (request) => request.socket.destroy(),
    ];
    let answer = answers[0];
    const server = createServer({ key, cert }, (request, response) => answer?.(request, response));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => void server.close());
    const { port } = server.address() as AddressInfo;
    const door = { host: "127.0.0.1", port, ca, serverName: "abcdefghij.vgas.internal" };
    for (answer of answers) expect(await ask(door)).toBe("NO_SWARM");
    answer = (_, response) =>
      response.writeHead(403).end(JSON.stringify({ error: { code: "TOKEN_EXPIRED", message: "m", retryable: false } }));
    expect(await ask(door)).toBe("TOKEN_EXPIRED");
    expect(await ask({ ...door, serverName: undefined })).toBe("TOKEN_EXPIRED");
  });

  test("is not sent to a machine whose certificate names no swarm", async () => {
    const { ca, key, cert } = await makeCertificates(["DNS:localhost", "IP:127.0.0.1"]);
    const asked: unknown[] = [];
    const server = createServer({ key, cert }, (request, response) => {
      asked.push(request.url);
      response.end();
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => void server.close());
    const { port } = server.address() as AddressInfo;
    expect(await ask({ host: "127.0.0.1", port, ca, serverName: undefined })).toBe("CERTIFICATE_MISMATCH");
    expect(asked).toEqual([]);
  });
});
