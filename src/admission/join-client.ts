/** The joiner's side of the join protocol: one HTTPS request each, to a door whose certificate authority is known by now. */

import { request } from "node:https";
import { checkServerIdentity, type PeerCertificate } from "node:tls";
import type { z } from "zod";
import { serverNameOf } from "../bus/certificates/authority.ts";
import { Deadline } from "../bus/deadline.ts";
import { refusal, SWARM_ID } from "../protocols/admission.ts";
import { VgasError } from "../protocols/errors.ts";
import { fromWireError } from "../protocols/wire-error.ts";
import { hostPort } from "./candidates.ts";

/** A door, and how it is known again. */
export interface Door {
  readonly host: string;
  readonly port: number;
  /** PEM of the authority that the first contact showed, and that is trusted with this swarm. */
  readonly ca: string;
  /** Undefined where the swarm's id is not known yet: then any swarm's name of that authority will do. */
  readonly serverName: string | undefined;
}

/** Letting somebody in takes the broker a reload or two. */
const TIMEOUT_MS = 30_000;
/** The largest answer has some 600 bytes. */
const MAX_ANSWER_BYTES = 64 * 1024;

/**
 * Posts `body` and reads the answer.
 *
 * @throws VgasError what the door refuses with; NO_SWARM if there is no answer, or none of a door; CERTIFICATE_MISMATCH
 */
export async function post<T>(
  door: Door,
  path: string,
  body: object,
  schema: z.ZodType<T>,
  signal: AbortSignal,
): Promise<T> {
  const where = hostPort(door.host, door.port);
  const { status, text } = await exchange(door, path, JSON.stringify(body), signal).catch((cause: unknown) => {
    throw failure(where, cause, signal);
  });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  const parsed = schema.safeParse(value);
  if (status === 200 && parsed.success) return parsed.data;
  const refused = refusal.safeParse(value);
  if (status !== 200 && refused.success) throw fromWireError(refused.data.error);
  throw new VgasError("NO_SWARM", `what answers at ${where} is not the door of a swarm (HTTP ${status})`);
}

async function exchange(
  { host, port, ca, serverName }: Door,
  path: string,
  body: string,
  signal: AbortSignal,
): Promise<{ readonly status: number; readonly text: string }> {
  const deadline = new Deadline(TIMEOUT_MS, signal);
  return await new Promise<{ readonly status: number; readonly text: string }>((resolve, reject) => {
    const outgoing = request(
      {
        ...{ host, port, path, ca, method: "POST", agent: false, minVersion: "TLSv1.3" },
        // In so many words: the environment can turn the default off.
        rejectUnauthorized: true,
        ...(serverName === undefined
          ? { servername: "", checkServerIdentity: checkAnySwarm }
          : {
              servername: serverName,
              checkServerIdentity: (_: string, shown: PeerCertificate) => checkServerIdentity(serverName, shown),
            }),
        headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
        signal: deadline.signal,
      },
      (incoming) => {
        const parts: Buffer[] = [];
        let bytes = 0;
        incoming.on("data", (part: Buffer) => {
          bytes += part.length;
          if (bytes > MAX_ANSWER_BYTES) incoming.destroy(new Error("its answer is too long"));
          else parts.push(part);
        });
        incoming.once("error", reject);
        incoming.once("end", () => {
          resolve({ status: incoming.statusCode ?? 0, text: Buffer.concat(parts).toString() });
        });
      },
    );
    outgoing.once("error", reject);
    outgoing.end(body);
  }).finally(() => deadline.clear());
}

/** The name of some swarm: which one, its door says, and it is checked against that afterwards. */
function checkAnySwarm(_host: string, shown: PeerCertificate): Error | undefined {
  return swarmIdOf(shown) === undefined ? new Error("the certificate holds no swarm's name") : undefined;
}

function swarmIdOf({ subjectaltname = "" }: PeerCertificate): string | undefined {
  const names = subjectaltname.split(", ").map((each) => each.replace(/^DNS:/, ""));
  const ids = names.map((each) => each.split(".")[0] ?? "");
  return ids.find((id, i) => SWARM_ID.test(id) && names[i] === serverNameOf(id));
}

function failure(where: string, cause: unknown, signal: AbortSignal): VgasError {
  if (signal.aborted) return new VgasError("ABORTED", `asking ${where} was given up`, { cause });
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const why = cause instanceof Error ? cause.message : String(cause);
  if (/CERT|TLS_CERT|SIGNED|ISSUER|VERIFY|CRL/.test(code) || why.includes("holds no swarm's name")) {
    return new VgasError("CERTIFICATE_MISMATCH", `what answers at ${where} has no certificate of the swarm: ${why}`, {
      cause,
    });
  }
  return new VgasError("NO_SWARM", `the door at ${where} does not answer: ${why}`, { cause });
}
