/** What a NATS server says about itself when one connects. */
import type { Bus } from "./bus.ts";
import { jsApiCall } from "./js-api.ts";
import { isClustered } from "./leader.ts";
import { isAtLeast } from "./versions.ts";

const FAST_BATCHES_SINCE = "2.14.0";

export interface ServerFacts {
  readonly version: string;
  /** Largest message, bytes. */
  readonly maxPayload: number;
  /** The server runs JetStream; whether this account may use it is another question. */
  readonly jetstream: boolean;
  /** It asks for a credential. */
  readonly authenticates: boolean;
  /** It is one of a cluster. */
  readonly clustered: boolean;
  /**
   * Streams of it may take fast-ingest batches: it knows them, and is alone. Others of a cluster may be older, and would not load a stream with
   * a setting that they do not know.
   */
  readonly fastBatches: boolean;
}

export function serverFacts(bus: Bus): ServerFacts {
  const info = bus.native.info;
  const clustered = isClustered(bus);
  return {
    version: info?.version ?? "",
    maxPayload: info?.max_payload ?? 0,
    jetstream: info?.jetstream === true,
    authenticates: info?.auth_required === true,
    clustered,
    fastBatches: !clustered && isAtLeast(info?.version ?? "", FAST_BATCHES_SINCE),
  };
}

/** @throws VgasError CONFIG if this account has no JetStream; PERMISSION_DENIED, TIMEOUT */
export async function requireJetStream(bus: Bus): Promise<void> {
  await jsApiCall(bus, "asking whether JetStream is on", (manager) => manager.getAccountInfo());
}
