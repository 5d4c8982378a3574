import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { expect, it, onTestFinished } from "vitest";
import { TcpProxy } from "./proxy.ts";
import { until } from "./wait.ts";

/** A client joined by a proxy to a server that echoes; `heard` is what came back, piece by piece. */
async function joined(): Promise<{ proxy: TcpProxy; client: Socket; heard: string[]; server: Promise<Socket> }> {
  const server = createServer((socket) => socket.on("error", () => undefined).pipe(socket)).listen(0, "127.0.0.1");
  await once(server, "listening");
  const accepted = once(server, "connection").then(([socket]) => socket as Socket);
  const proxy = await TcpProxy.to((server.address() as AddressInfo).port);
  const client = connect(Number(new URL(proxy.url).port), "127.0.0.1");
  const heard: string[] = [];
  client.on("data", (bytes) => heard.push(String(bytes))).on("error", () => undefined);
  onTestFinished(async () => {
    await proxy.close();
    server.close();
  });
  client.write("hello");
  await once(client, "data");
  heard.length = 0;
  return { proxy, client, heard, server: accepted };
}

it("holds bytes back in order, and tells how many", async () => {
  const { proxy, client, heard } = await joined();
  proxy.toServer.delayMs = 30;
  client.write("one");
  await until(() => proxy.struck.delayed === 3);
  proxy.toServer.delayMs = 0;
  client.write("two");
  await until(() => heard.join("") === "onetwo");
});

it("hands bytes on in pieces, and nothing is lost", async () => {
  const { proxy, client, heard } = await joined();
  proxy.toClient.piece = () => 1;
  client.write("abcdefgh");
  await until(() => heard.join("") === "abcdefgh");
  expect(proxy.struck.pieces).toBe(7);
  proxy.toClient.piece = () => 100;
  client.write("x".repeat(300_000));
  await until(() => heard.join("").length === 300_008);
});

it("loses one direction while the connection stands, and ends it when it heals", async () => {
  const { proxy, client, heard, server } = await joined();
  const got: string[] = [];
  (await server).on("data", (bytes) => got.push(String(bytes)));
  proxy.toServer.drop = true;
  const dropped = proxy.nextDrop();
  client.write("lost");
  await dropped;
  (await server).write("still here");
  await until(() => heard.join("") === "still here");
  expect([proxy.dropped, got, proxy.connections]).toEqual([4, [], 1]);
  proxy.heal();
  await once(client, "close");
});

it("resets", async () => {
  const { proxy, client, server } = await joined();
  const codes: (string | undefined)[] = [];
  client.on("error", (error: NodeJS.ErrnoException) => codes.push(error.code));
  (await server).on("error", (error: NodeJS.ErrnoException) => codes.push(error.code));
  proxy.reset();
  await until(() => codes.length === 2);
  expect([codes, proxy.struck.resets]).toEqual([["ECONNRESET", "ECONNRESET"], 1]);
});
