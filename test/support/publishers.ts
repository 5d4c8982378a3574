/** Publishers on connections of their own, which end with the test, and numbered messages for them. */
import { afterEach } from "vitest";
import type { Bus } from "../../src/bus/bus.ts";
import { Publisher, type PublisherOptions } from "../../src/bus/publisher.ts";
import type { TestNats } from "./nats.ts";
import { TcpProxy } from "./proxy.ts";

/** No answer is ever late, however slow the machine is: what is sent again, a reconnect sends. */
export const PATIENT = { ackTimeoutMs: 600_000 } as const satisfies PublisherOptions;

export function usePublishers(nats: TestNats) {
  /** Undone after each test, the last one first. */
  const cleanup: (() => unknown)[] = [];
  afterEach(async () => {
    for (const step of cleanup.splice(0).reverse()) await step();
  });
  const open = async (options: PublisherOptions = {}, url = nats.url): Promise<{ bus: Bus; publisher: Publisher }> => {
    const bus = await nats.bus({ url });
    const publisher = new Publisher(bus, { ...PATIENT, ...options });
    cleanup.push(() => publisher.close());
    return { bus, publisher };
  };
  /** `direct` is another connection, past the proxy. */
  const openThroughProxy = async (options: PublisherOptions = {}) => {
    const proxy = await TcpProxy.to(nats.port);
    cleanup.push(() => proxy.close());
    return { proxy, ...(await open(options, proxy.url)), direct: await nats.bus() };
  };
  return { cleanup, open, openThroughProxy };
}

export const numbers = (count: number, first = 0): string[] =>
  Array.from({ length: count }, (_, i) => String(first + i));
export const sorted = (texts: readonly string[]): string[] => [...texts].sort((a, b) => Number(a) - Number(b));
