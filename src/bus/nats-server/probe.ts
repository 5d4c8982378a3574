import { readFile } from "node:fs/promises";
import {
  AuthorizationError,
  connect,
  type NatsConnection,
  nkeyAuthenticator,
  RequestError,
  type ServerInfo,
} from "@nats-io/transport-node";
import { jsApi } from "../../protocols/subjects.ts";
import { tlsOptions } from "../tls-options.ts";
import type { BrokerAddress } from "./broker-record.ts";
import type { Look } from "./watch.ts";

/** What a server said to one attempt to connect. */
export type Probe =
  | { readonly answer: "accepted"; readonly info: ServerInfo }
  | { readonly answer: "refused" }
  | { readonly answer: "unreachable"; readonly cause: unknown };

/** Long enough for a server under full load to verify a signature, short against anybody's patience. */
const PROBE_TIMEOUT_MS = 5_000;

/** Connects once with that seed, and hangs up. A broker whose certificate is not the expected one is "unreachable". */
export async function probe(address: BrokerAddress, seed: Uint8Array): Promise<Probe> {
  try {
    const connection = await open(address, seed, PROBE_TIMEOUT_MS);
    const { info } = connection;
    await connection.close();
    return info === undefined ? { answer: "unreachable", cause: "no INFO" } : { answer: "accepted", info };
  } catch (cause) {
    return cause instanceof AuthorizationError ? { answer: "refused" } : { answer: "unreachable", cause };
  }
}

/** Whether it answers, and its JetStream does. One that refuses the credential answers: it may be reading its users again. */
export async function lookAt(address: BrokerAddress, seed: Uint8Array, timeoutMs: number): Promise<Look> {
  const until = performance.now() + timeoutMs;
  let connection: NatsConnection | undefined;
  try {
    connection = await open(address, seed, timeoutMs);
    const timeout = Math.max(1, until - performance.now());
    const { data } = await connection.request(jsApi.accountInfo, "", { timeout });
    return "error" in (JSON.parse(new TextDecoder().decode(data)) as object) ? "off" : "well";
  } catch (cause) {
    if (cause instanceof AuthorizationError) return "well";
    return cause instanceof RequestError && cause.isNoResponders() ? "off" : "silent";
  } finally {
    await connection?.close();
  }
}

async function open(
  { url, caFile, serverName }: BrokerAddress,
  seed: Uint8Array,
  timeout: number,
): Promise<NatsConnection> {
  const ca = caFile === undefined ? undefined : await readFile(caFile, "utf8");
  const tls = tlsOptions([url], { ca, serverName });
  return await connect({
    servers: url,
    authenticator: nkeyAuthenticator(seed),
    reconnect: false,
    timeout,
    name: "vgas probe",
    ignoreClusterUpdates: true,
    noAsyncTraces: true,
    ...(tls !== undefined && { tls }),
  });
}
