/** A nats-server and each node on a machine of its own, joined by cables; observer and client reach the server past those. */
import { join } from "node:path";
import { type Machine, Network } from "../../support/network.ts";
import { NatsBroker } from "../broker.ts";
import type { Ground, Site } from "../ground.ts";

const PORT = 4222;

export async function network({ dir, watcher, logOf }: Site): Promise<Ground> {
  const cables = new Network();
  const machines = new Map<string, Machine>();
  const machineOf = async (name: string): Promise<Machine> => {
    const machine = await cables.machine();
    machines.set(name, machine);
    return machine;
  };
  const there = await machineOf("broker");
  const broker = new NatsBroker({
    ...{ name: "broker", dir: join(dir, "broker"), logFile: logOf("broker"), watcher },
    port: PORT,
    address: there.address(),
    enter: (argv) => there.enter(argv),
  });
  await broker.start();
  const url = `nats://127.0.0.1:${await there.forward(PORT, there.address())}`;
  return {
    brokers: [broker],
    master: undefined,
    machines,
    node: async (name) => {
      const machine = await machineOf(name);
      return { args: ["up", "--nats", broker.url], enter: (argv) => machine.enter(argv) };
    },
    observer: async () => ({ url, seed: undefined, inboxPrefix: "_INBOX.observer" }),
    client: () => ({ url }),
    close: async () => {
      await broker.kill();
      await cables.close();
    },
  };
}
