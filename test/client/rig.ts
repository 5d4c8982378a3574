/** One broker for a test file, a fake swarm with streams of its own for each test, and clients of it. */
import { onTestFinished } from "vitest";
import type { ClientOptions } from "../../src/client/connect-to-swarm.ts";
import { type Client, connect } from "../../src/client.ts";
import { type TestNats, useNats } from "../support/nats.ts";
import { FakeSwarm, type FakeSwarmOptions } from "./fake-swarm.ts";

export interface ClientRig {
  readonly nats: TestNats;
  /** Fresh names each time. */
  swarm(options?: FakeSwarmOptions): Promise<FakeSwarm>;
  /** Closed with the test. */
  client(fake: FakeSwarm, options?: ClientOptions): Promise<Client>;
}

export function useClientRig(): ClientRig {
  const nats = useNats();
  let swarms = 0;
  return {
    nats,
    swarm: (options = {}) => FakeSwarm.start(nats, { prefix: `swarm${swarms++}`, ...options }),
    client: async (fake, options = {}) => {
      const client = await connect({ url: nats.url, prefix: fake.names.prefix, ...options });
      onTestFinished(() => client.close());
      return client;
    },
  };
}
