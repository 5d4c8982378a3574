/** What the NATS server refuses to a connection. */
import { type NatsConnection, PermissionViolationError } from "@nats-io/transport-node";

/** Those of `subjects` that the server refuses; it has answered for all when this resolves. */
export async function refusedPublishes(
  connection: NatsConnection,
  subjects: readonly string[],
): Promise<ReadonlySet<string>> {
  const refused = violations(connection, "publish");
  for (const subject of subjects) connection.publish(subject, new Uint8Array());
  return await settled(connection, refused);
}

export async function refusedSubscribes(
  connection: NatsConnection,
  subjects: readonly string[],
): Promise<ReadonlySet<string>> {
  const refused = violations(connection, "subscription");
  const subscriptions = subjects.map((subject) => connection.subscribe(subject, { callback: () => undefined }));
  const found = await settled(connection, refused);
  for (const subscription of subscriptions) subscription.unsubscribe();
  return found;
}

/** The server sends a violation before the PONG of a later flush; one turn lets the client hand it on. */
async function settled(connection: NatsConnection, refused: ReadonlySet<string>): Promise<ReadonlySet<string>> {
  await connection.flush();
  await new Promise((resolve) => setImmediate(resolve));
  return new Set(refused);
}

/** Fills as the server refuses. */
function violations(connection: NatsConnection, operation: "publish" | "subscription"): ReadonlySet<string> {
  const refused = new Set<string>();
  void (async () => {
    for await (const status of connection.status()) {
      if (status.type !== "error" || !(status.error instanceof PermissionViolationError)) continue;
      if (status.error.operation === operation) refused.add(status.error.subject);
    }
  })();
  return refused;
}
