/** What the nodes of a swarm say of themselves, with the statistics of their micro services: also those that run no agents. */
import type { Bus } from "../bus/bus.ts";
import { ALL_STATS, serviceStats } from "../protocols/micro-service.ts";
import type { Names } from "../protocols/subjects.ts";
import type { Trouble } from "../protocols/trouble.ts";

export interface NodeSays {
  readonly host: string;
  readonly roles: readonly string[];
  readonly troubles: readonly Trouble[];
  /** Its wall clock less ours, ms, as well as one answer tells it. */
  readonly clockMs: number;
}

/** As long as heartbeats are listened for. */
const LISTEN_MS = 1_200;
/** What more answer is not read. */
const MAX_NODES = 1_000;

/** Nodes of another version say nothing, and are not there. Never longer than 1.2 s. @throws VgasError PERMISSION_DENIED, SHUTTING_DOWN */
export async function nodeReports(bus: Bus, names: Names): Promise<readonly NodeSays[]> {
  const said = new Map<string, NodeSays>();
  for (const { data, at } of await ask(bus)) {
    const node = read(data, at, names);
    if (node !== undefined) said.set(node.host, node);
  }
  return [...said.values()].sort((a, b) => (a.host < b.host ? -1 : 1));
}

/** Each answer is taken at once, so that its clock can be compared with ours. */
async function ask(bus: Bus): Promise<readonly { readonly data: Uint8Array; readonly at: number }[]> {
  const answers: { data: Uint8Array; at: number }[] = [];
  const inbox = await bus.subscribe(bus.inbox(), ({ data }) => {
    if (data.length > 0 && answers.length < MAX_NODES) answers.push({ data, at: Date.now() });
  });
  try {
    bus.publish(ALL_STATS, new Uint8Array(0), { reply: inbox.subject });
    await new Promise((resolve) => setTimeout(resolve, LISTEN_MS));
    return answers;
  } finally {
    inbox.unsubscribe();
  }
}

function read(data: Uint8Array, at: number, names: Names): NodeSays | undefined {
  try {
    const { id, metadata, endpoints } = serviceStats.parse(JSON.parse(new TextDecoder().decode(data)));
    const report = endpoints[0]?.data;
    // Other swarms of the same NATS system answer too.
    if (report === undefined || endpoints[0]?.subject !== names.host(id, "stats")) return undefined;
    return { host: id, roles: metadata.roles.split(","), troubles: report.troubles, clockMs: report.at - at };
  } catch {
    return undefined;
  }
}
