/** Streams of a test's own, made with the library's manager and not with the code under test. */
import { jetstreamManager, type StreamConfig } from "@nats-io/jetstream";
import type { Bus } from "../../src/bus/bus.ts";

/** Makes a stream `name` over `<name>.>`, with what `config` adds. */
export async function makeStream(bus: Bus, name: string, config: Partial<StreamConfig> = {}): Promise<void> {
  const manager = await jetstreamManager(bus.native);
  await manager.streams.add({ name, subjects: [`${name}.>`], allow_direct: true, ...config });
}

/** Every stored message in order: its subject, sequence and text. */
export async function readStream(
  bus: Bus,
  name: string,
): Promise<{ readonly subject: string; readonly sequence: number; readonly text: string }[]> {
  const manager = await jetstreamManager(bus.native);
  const { state } = await manager.streams.info(name);
  const found = [];
  for (let sequence = state.first_seq; sequence <= state.last_seq; sequence++) {
    const message = await manager.streams.getMessage(name, { seq: sequence });
    if (message !== null) found.push({ subject: message.subject, sequence, text: message.string() });
  }
  return found;
}
