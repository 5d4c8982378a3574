import { readFile } from "node:fs/promises";
import { AuthorizationError, connect, nkeyAuthenticator, type ServerInfo } from "@nats-io/transport-node";
import { tlsOptions } from "../tls-options.ts";
import type { BrokerAddress } from "./broker-record.ts";

/** What a server said to one attempt to connect. */
export type Probe =
  | { readonly answer: "accepted"; readonly info: ServerInfo }
  | { readonly answer: "refused" }
  | { readonly answer: "unreachable"; readonly cause: unknown };

/** Long enough for a server under full load to verify a signature, short against anybody's patience. */
const PROBE_TIMEOUT_MS = 5_000;

/** Connects once with that seed, and hangs up. A broker whose certificate is not the expected one is "unreachable". */
export async function probe({ url, caFile, serverName }: BrokerAddress, seed: Uint8Array): Promise<Probe> {
  try {
    const ca = caFile === undefined ? undefined : await readFile(caFile, "utf8");
    const tls = tlsOptions([url], { ca, serverName });
    const connection = await connect({
      servers: url,
      authenticator: nkeyAuthenticator(seed),
      reconnect: false,
      timeout: PROBE_TIMEOUT_MS,
      name: "vgas probe",
      ignoreClusterUpdates: true,
      noAsyncTraces: true,
      ...(tls !== undefined && { tls }),
    });
    const { info } = connection;
    await connection.close();
    return info === undefined ? { answer: "unreachable", cause: "no INFO" } : { answer: "accepted", info };
  } catch (cause) {
    return cause instanceof AuthorizationError ? { answer: "refused" } : { answer: "unreachable", cause };
  }
}
