/** What the swarm's NATS system has to have, as one credential sees it: version, limits, JetStream, streams, permissions. */
import type { Bus } from "../../bus/bus.ts";
import { connectBus } from "../../bus/connection.ts";
import { missingPermissions } from "../../bus/permission-check.ts";
import { requireJetStream, serverFacts } from "../../bus/server-facts.ts";
import { checkTopology, type StreamCheck } from "../../bus/topology-check.ts";
import { VgasError } from "../../protocols/errors.ts";
import { MAX_PAYLOAD_BYTES } from "../../protocols/limits.ts";
import { mayInspect } from "../../protocols/roles.ts";
import type { TopologyOptions } from "../../protocols/streams.ts";
import { Names } from "../../protocols/subjects.ts";
import { type Check, failed, isAtLeast, ok, warning } from "./check.ts";
import type { Target } from "./target.ts";

const MINIMUM_SERVER = "2.12.0";

const MIB = 2 ** 20;

/** Never rejects: what cannot be looked at is a check that failed. */
export async function checkSwarm(target: Target, topology: TopologyOptions): Promise<readonly Check[]> {
  const { url } = target.connect;
  const where = {
    connection: "the connection's",
    external: "the given",
    home: "this home's",
    membership: "its swarm's",
  };
  let bus: Bus;
  try {
    bus = await connectBus({ ...target.connect, name: "vgas doctor" });
  } catch (error) {
    return [
      failed("swarm", messageOf(error), `reach ${where[target.from]} NATS at ${url} first; the rest is not known`),
    ];
  }
  try {
    return [
      ok("swarm", `${where[target.from]} NATS answers at ${url} to ${target.user} (${target.role})`),
      ...checkServer(bus),
      await checkPermissions(bus, target),
      ...(target.role === "guest" ? [] : await checkStorage(bus, target, topology)),
    ];
  } finally {
    await bus.close();
  }
}

function checkServer(bus: Bus): readonly Check[] {
  const { version, maxPayload, jetstream, authenticates } = serverFacts(bus);
  const upgrade = `run nats-server ${MINIMUM_SERVER} or newer: earlier ones lack security fixes and features that promises need`;
  const open =
    "give it users (`vgas permissions --role R` prints what each role needs): now everybody may do everything";
  return [
    isAtLeast(version, MINIMUM_SERVER)
      ? ok("server version", version)
      : failed("server version", `${version} is older than ${MINIMUM_SERVER}`, upgrade),
    maxPayload >= MAX_PAYLOAD_BYTES
      ? ok("max_payload", `${maxPayload} bytes`)
      : failed(
          "max_payload",
          `${maxPayload} bytes are less than ${MAX_PAYLOAD_BYTES}`,
          `set max_payload: ${MIB} in the server's configuration`,
        ),
    ...(authenticates ? [] : [warning("authentication", "the server asks for no credential", open)]),
    ...(jetstream
      ? []
      : [failed("jetstream", "the server runs without it", "add a `jetstream` block to its configuration")]),
  ];
}

async function checkPermissions(bus: Bus, { role, user, prefix }: Target): Promise<Check> {
  const missing = await missingPermissions(bus, role, user, new Names(prefix));
  const print = `vgas permissions --role ${role}${role === user ? "" : ` --user ${user}`} --prefix ${prefix}`;
  if (missing === "unknown") {
    const why = "the server does not tell what the credential may do, or does not let it ask ($SYS.REQ.USER.INFO)";
    return warning("permissions", why, `compare them by hand with \`${print}\``);
  }
  if (missing.length === 0) return ok("permissions", `all that role ${role} needs`);
  const list = missing.map(({ operation, subject }) => `${operation} ${subject}`).join(", ");
  const remedy = `allow them to the user of this credential; \`${print}\` prints all`;
  return failed("permissions", `a ${role} lacks ${missing.length}: ${list}`, remedy, { details: { missing } });
}

async function checkStorage(
  bus: Bus,
  { role, user, prefix }: Target,
  topology: TopologyOptions,
): Promise<readonly Check[]> {
  const names = new Names(prefix);
  const visible = (stream: string): boolean => mayInspect(role, user, names, stream);
  try {
    await requireJetStream(bus);
    const streams = await checkTopology(bus, names, topology, visible);
    const unseen = streams.filter(({ state }) => state === "unseen").map(({ name }) => name);
    const look = "use --role observer or admin to look at all of them";
    return [
      ok("jetstream", "on for this account"),
      ...streams.filter(({ state }) => state !== "unseen").map(streamLine),
      ...(unseen.length === 0 ? [] : [warning("streams", `a ${role} may not look at ${unseen.join(", ")}`, look)]),
    ];
  } catch (error) {
    const remedy =
      error instanceof VgasError && error.code === "CONFIG"
        ? "enable JetStream in the server and in this user's account (`jetstream: enabled`)"
        : "see what is wrong with permissions and the server above";
    return [failed("jetstream", messageOf(error), remedy)];
  }
}

function streamLine({ name, state, differences, wanted }: StreamCheck): Check {
  const check = `stream ${name}`;
  const what = differences
    .map((each) => `${each.field} is ${show(each.found)}, wanted ${show(each.wanted)}`)
    .join("; ");
  const details = { differences, wanted };
  switch (state) {
    case "missing":
      return failed(
        check,
        "it is missing",
        `\`vgas up\` with a credential of role admin makes it; --json prints its settings`,
        { details },
      );
    case "differs":
      return failed(check, what, "change it with the nats tool where that is possible, or use another --prefix", {
        details,
      });
    case "adjustable":
      return warning(check, what, "`vgas up` changes it when it starts with a credential that may", { details });
    default:
      return ok(check, "as it must be");
  }
}

function show(value: unknown): string {
  return JSON.stringify(value) ?? "not set";
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
