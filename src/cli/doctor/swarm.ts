/** What the swarm's NATS system has to have, as one credential sees it: version, limits, JetStream, streams, permissions. */
import type { Bus } from "../../bus/bus.ts";
import { connectBus } from "../../bus/connection.ts";
import { missingPermissions } from "../../bus/permission-check.ts";
import { replicaTrouble } from "../../bus/replicas.ts";
import { requireJetStream, serverFacts } from "../../bus/server-facts.ts";
import { checkTopology, type StreamCheck } from "../../bus/topology-check.ts";
import { isAtLeast } from "../../bus/versions.ts";
import { VgasError } from "../../protocols/errors.ts";
import { MAX_PAYLOAD_BYTES } from "../../protocols/limits.ts";
import { mayInspect, type UserRole } from "../../protocols/roles.ts";
import type { TopologyOptions } from "../../protocols/streams.ts";
import { Names } from "../../protocols/subjects.ts";
import { readHealth } from "../../swarm-view/health.ts";
import { type Check, failed, ok, warning } from "./check.ts";
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
    if (target.from === "external" && error instanceof VgasError && error.code === "PERMISSION_DENIED")
      return [unknownUser(target)];
    return [
      failed("swarm", messageOf(error), `reach ${where[target.from]} NATS at ${url} first; the rest is not known`),
    ];
  }
  try {
    return [
      ok("swarm", `${where[target.from]} NATS answers at ${url} to ${target.user} (${target.role})`),
      ...checkServer(bus),
      ...checkCluster(bus, topology),
      await checkPermissions(bus, target),
      ...(target.role === "guest" ? [] : await checkStorage(bus, target, topology)),
      ...(await checkHealth(bus, target)),
    ];
  } finally {
    await bus.close();
  }
}

function unknownUser(target: Target): Check {
  const { connect, role, user } = target;
  const message = `NATS at ${connect.url} refused the credential`;
  if (connect.seed === undefined)
    return failed("swarm", `${message}: there is none`, "give its seed: --nats-seed FILE");
  const print = `${printing(target)} --seed FILE`;
  return failed(
    "swarm",
    `${message} of ${user} (${role})`,
    `put what \`${print}\` prints among the users of its configuration, and let it read that again`,
  );
}

/** The command that prints what that credential is to be allowed. */
function printing({ role, user, prefix }: Target): string {
  return `vgas permissions --role ${role}${role === user ? "" : ` --user ${user}`} --prefix ${prefix}`;
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

function checkCluster(bus: Bus, { replicas }: TopologyOptions): readonly Check[] {
  const { clustered } = serverFacts(bus);
  if (!clustered && replicas > 1) {
    const remedy = "run three servers as a cluster (docs/operations.md), or leave --replicas out";
    return [failed("cluster", `--replicas ${replicas}, and the server is in no cluster`, remedy)];
  }
  if (!clustered) return [];
  return replicas > 1
    ? [ok("cluster", `${replicas} copies of everything`)]
    : [warning("cluster", "the server is in a cluster, and one copy is kept", "give `vgas up` --replicas 3")];
}

async function checkPermissions(bus: Bus, target: Target): Promise<Check> {
  const { role, user, prefix } = target;
  const missing = await missingPermissions(bus, role, user, new Names(prefix));
  const print = printing(target);
  if (missing === "unknown") {
    const why = "the server does not tell what the credential may do, or does not let it ask ($SYS.REQ.USER.INFO)";
    return warning("permissions", why, `compare them by hand with \`${print}\``);
  }
  if (missing.length === 0) return ok("permissions", `all that role ${role} needs`);
  const list = missing.map(({ operation, subject }) => `${operation} ${subject}`).join(", ");
  const remedy = `allow them to the user of this credential; \`${print}\` prints all`;
  return failed("permissions", `role ${role} lacks ${missing.length}: ${list}`, remedy, { details: { missing } });
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
    const others = streams.map(({ name }) => name).filter((name) => !visible(name));
    return [
      ok("jetstream", "on for this account"),
      ...streams.filter(({ name }) => visible(name)).map((stream) => streamLine(stream, role)),
      ...(others.length === 0 ? [] : [ok("streams", `not looked at: ${others.join(", ")}; role ${role} may not`)]),
    ];
  } catch (error) {
    const remedy =
      error instanceof VgasError && error.code === "CONFIG"
        ? "enable JetStream in the server and in this user's account (`jetstream: enabled`)"
        : "see what is wrong with permissions and the server above";
    return [failed("jetstream", messageOf(error), remedy)];
  }
}

const WATCHERS: ReadonlySet<UserRole> = new Set<UserRole>(["admin", "observer", "system"]);

/** What `vgas status` would say, for those who may look; nothing where no swarm is yet. */
async function checkHealth(bus: Bus, { role, prefix, connect }: Target): Promise<readonly Check[]> {
  if (!WATCHERS.has(role)) return [];
  try {
    const { reasons, remedies } = await readHealth({ bus, names: new Names(prefix), url: connect.url });
    if (reasons.length === 0) return [ok("health", "nothing degrades the swarm")];
    return reasons.map((reason, i) => warning("health", reason, remedies[i] ?? "see `vgas status`"));
  } catch {
    // Why is told by the checks above.
    return [];
  }
}

function streamLine({ name, state, differences, wanted, replicas }: StreamCheck, role: UserRole): Check {
  const check = `stream ${name}`;
  const what = differences
    .map((each) => `${each.field} is ${show(each.found)}, wanted ${show(each.wanted)}`)
    .join("; ");
  const details = { differences, wanted };
  switch (state) {
    case "missing":
      // Nobody but the node that makes it has this role.
      return (role === "system" ? warning : failed)(check, "it is missing", "`vgas up` makes it when it starts", {
        details,
      });
    case "unseen":
      return failed(check, "the credential may not look at it", "see what permissions it lacks above");
    case "differs":
      return failed(check, what, "change it with the nats tool where that is possible, or use another --prefix", {
        details,
      });
    case "adjustable":
      return warning(check, what, "`vgas up` changes it when it starts", { details });
    default: {
      const trouble = replicas && replicaTrouble(replicas);
      if (replicas === undefined || trouble === undefined) return ok(check, "as it must be");
      const remedy = "look at the servers of the cluster: `nats server report jetstream` shows them";
      return (replicas.leader === undefined ? failed : warning)(check, trouble, remedy, { details: { replicas } });
    }
  }
}

function show(value: unknown): string {
  return JSON.stringify(value) ?? "not set";
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
