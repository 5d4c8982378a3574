import { expect, onTestFinished, test } from "vitest";
import { decode, encode } from "../../src/bus/codec/codec.ts";
import { serveDrain } from "../../src/host/draining.ts";
import { silentLogger } from "../../src/protocols/logger.ts";
import { Names } from "../../src/protocols/subjects.ts";
import { useNats } from "../support/nats.ts";

const nats = useNats();
const names = new Names();

async function serve(hostId: string, runsBroker: boolean) {
  const bus = await nats.bus();
  let drained = 0;
  const drain = async (): Promise<void> => void drained++;
  const stop = await serveDrain({ bus, names, hostId, runsBroker, logger: silentLogger, drain });
  onTestFinished(() => stop(0));
  const ask = async (body: Uint8Array): Promise<unknown> =>
    decode((await bus.request("drain", names.host(hostId, "drain"), body, { timeoutMs: 5_000 })).data);
  return { ask, drained: () => drained };
}

test("a node drains when an operator asks for it, and answers before it ends", async () => {
  const { ask, drained } = await serve("member", false);
  expect(await ask(encode({ v: 1 }))).toEqual({ v: 1 });
  expect(await ask(new Uint8Array(0))).toEqual({ v: 1 });
  expect(drained()).toBe(2);
});

test("one that runs the nats-server refuses unless it is forced", async () => {
  const { ask, drained } = await serve("leader", true);
  expect(await ask(encode({ v: 1 }))).toMatchObject({ error: { code: "CONFIG" } });
  expect(drained()).toBe(0);
  expect(await ask(encode({ v: 1, force: true }))).toEqual({ v: 1 });
  expect(drained()).toBe(1);
});

test("P9: bytes that are no drain get a typed error, and nothing ends", async () => {
  const { ask, drained } = await serve("other", false);
  for (const bytes of [encode({ v: 2 }), encode("drain"), Buffer.from([0xc1]), Buffer.from("{")])
    expect(await ask(bytes)).toMatchObject({ error: { code: "INVALID" } });
  expect(drained()).toBe(0);
});
