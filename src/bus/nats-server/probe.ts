import { AuthorizationError, connect, nkeyAuthenticator, type ServerInfo } from "@nats-io/transport-node";

/** What a server said to one attempt to connect. */
export type Probe =
  | { readonly answer: "accepted"; readonly info: ServerInfo }
  | { readonly answer: "refused" }
  | { readonly answer: "unreachable"; readonly cause: unknown };

/** Long enough for a server under full load to verify a signature, short against anybody's patience. */
const PROBE_TIMEOUT_MS = 5_000;

/** Connects once with that seed, and hangs up. */
export async function probe(url: string, seed: Uint8Array): Promise<Probe> {
  try {
    const connection = await connect({
      servers: url,
      authenticator: nkeyAuthenticator(seed),
      reconnect: false,
      timeout: PROBE_TIMEOUT_MS,
      name: "vgas probe",
      ignoreClusterUpdates: true,
      noAsyncTraces: true,
    });
    const { info } = connection;
    await connection.close();
    return info === undefined ? { answer: "unreachable", cause: "no INFO" } : { answer: "accepted", info };
  } catch (cause) {
    return cause instanceof AuthorizationError ? { answer: "refused" } : { answer: "unreachable", cause };
  }
}
