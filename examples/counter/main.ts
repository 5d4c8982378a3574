/**
 * Hosts a machine of one's own and speaks to it by name. `node scripts/setup.mjs`, then `npx jiti examples/counter/main.ts`.
 *
 * With scope "swarm" the whole swarm has one counter: start this on a second node with `connection`, and that one stands by
 * and takes over when the first one ends. Any NATS client asks it at `vgas.actors.counter` with `{"type": "add", "by": 1}`.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { resolveConfig, startHost } from "vgas";
import { counterMachine, counterProtocol } from "./counter.ts";

const home = mkdtempSync(join(tmpdir(), "vgas-counter-"));
const host = await startHost({ config: resolveConfig({ home, natsPort: 0, httpPort: 0, agents: 0 }) });
try {
  const counter = await host.spawn("counter", {
    machine: counterMachine,
    protocol: counterProtocol,
    scope: "swarm",
    input: { total: 40 },
  });
  await counter.ask({ type: "add", by: 1 });
  const { total } = await counter.ask({ type: "add", by: 1 });
  console.log(`The counter stands at ${total}.`);

  await counter.tell({ type: "freeze" });
  await counter.ask({ type: "add", by: 1 }).catch((error: Error) => console.log(`Refused: ${error.message}.`));
  console.log("It says:", await counter.ask({ type: "read" }));
  console.log("The host says:", counter.status());
} finally {
  await host.stop();
  rmSync(home, { recursive: true, force: true });
}
