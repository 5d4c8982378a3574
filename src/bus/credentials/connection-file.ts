/**
 * What `vgas connection` prints and `--connection` reads: everything a client or a node needs to reach a swarm.
 *
 * ```
 * {url, nkeySeedFile, caFile?, serverName?, inboxPrefix, role?, vaultKey?}   files of this machine
 * {url, nkeySeed, ca?, serverName?, inboxPrefix, role?, vaultKey?}           --inline: the secret itself, for another machine
 * ```
 *
 * `serverName` is the name that the server's certificate holds, whatever address `url` has; who does without it verifies the
 * address. `role` is there for a guest, which works otherwise than a client. `vaultKey` is there for an admin: the public nkey
 * by which the vault's node proves itself before a secret is sent to it. The user's name is the inbox prefix behind `_INBOX.`;
 * for a node's credential it is the host id.
 */
import { readFile } from "node:fs/promises";
import { z } from "zod";
import { VgasError } from "../../protocols/errors.ts";
import { ROLES, type Role, type UserRole } from "../../protocols/roles.ts";
import { inboxPrefix } from "../../protocols/subjects.ts";
import { isToken } from "../../protocols/tokens.ts";
import { diskError } from "../home/files.ts";
import { parseSeed, readSeed } from "./user-records.ts";

/** `nats://host:port` or `tls://host:port`, several separated by commas. */
const URLS = /^(?:nats|tls):\/\/[^\s,/@]+(?:,(?:nats|tls):\/\/[^\s,/@]+)*$/;

const HOST_NAME = /^[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*$/;

const PUBLIC_NKEY = /^U[A-Z2-7]{55}$/;

const common = {
  url: z.string().regex(URLS, "must be nats://host:port or tls://host:port, several separated by commas"),
  inboxPrefix: z.string().refine((prefix) => userOf(prefix) !== undefined, "must be _INBOX.<user>"),
  serverName: z.string().regex(HOST_NAME, "must be a host name").optional(),
  role: z.enum(ROLES).optional(),
  vaultKey: z.string().regex(PUBLIC_NKEY, "must be the public nkey of a user, U…").optional(),
};
const byFile = z.object({ ...common, nkeySeedFile: z.string().min(1), caFile: z.string().min(1).optional() });
const inline = z.object({ ...common, nkeySeed: z.string().min(1), ca: z.string().min(1).optional() });

/** As printed without `--inline`. */
export type ConnectionByFile = z.infer<typeof byFile>;
/** As printed with `--inline`. */
export type InlineConnection = z.infer<typeof inline>;
export type ConnectionDescription = ConnectionByFile | InlineConnection;

/** A connection ready to be used. */
export interface ResolvedConnection {
  readonly url: string;
  /** Name of the user; for a node's credential its host id. */
  readonly user: string;
  readonly inboxPrefix: string;
  readonly seed: Uint8Array;
  /** PEM of the authority to trust, if the swarm has one of its own. */
  readonly ca: string | undefined;
  /** Name that the server's certificate must hold, instead of the address. */
  readonly serverName?: string | undefined;
  /** What the credential is for, if the description says it. */
  readonly role?: Role | undefined;
  /** Public nkey (`U…`) of the node that runs the vault, in the description of an admin. */
  readonly vaultKey?: string | undefined;
}

/**
 * Reads either form; fields it does not know are left out.
 *
 * @throws VgasError CONFIG naming the field. The text is never quoted, for it may hold a seed
 */
export function parseConnection(text: string): ConnectionDescription {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new VgasError("CONFIG", "the connection is not JSON; give what `vgas connection` printed");
  }
  const holds = (field: string): boolean => typeof value === "object" && value !== null && field in value;
  if (holds("nkeySeed") === holds("nkeySeedFile")) {
    throw new VgasError("CONFIG", 'the connection must have exactly one of "nkeySeedFile" and "nkeySeed"');
  }
  const parsed = (holds("nkeySeed") ? inline : byFile).safeParse(value);
  if (parsed.success) return parsed.data;
  const said = parsed.error.issues.map((issue) => `"${issue.path.join(".")}" ${issue.message}`);
  throw new VgasError("CONFIG", `the connection is not what \`vgas connection\` prints: ${said.join("; ")}`);
}

/** Reads the files that the description names. @throws VgasError CONFIG, or NOT_FOUND if the seed is missing */
export async function resolveConnection(description: ConnectionDescription): Promise<ResolvedConnection> {
  const { url, inboxPrefix: prefix, serverName, role, vaultKey } = description;
  const user = userOf(prefix);
  if (user === undefined) throw new VgasError("CONFIG", `"inboxPrefix" must be _INBOX.<user>, got "${prefix}"`);
  const shared = { url, user, inboxPrefix: prefix, serverName, role, vaultKey };
  if ("nkeySeed" in description) {
    const seed = parseSeed(description.nkeySeed, 'the connection\'s "nkeySeed"');
    return { ...shared, seed, ca: description.ca };
  }
  const seed = await readSeed(description.nkeySeedFile);
  const ca = description.caFile === undefined ? undefined : await readAuthority(description.caFile);
  return { ...shared, seed, ca };
}

/** What to describe: a credential as `Credentials` gives it, and where the broker is reached. */
export interface DescribeOptions {
  readonly url: string;
  readonly credential: {
    readonly user: string;
    readonly seed: Uint8Array;
    readonly seedFile: string;
    readonly role?: UserRole;
  };
  readonly caFile?: string | undefined;
  readonly serverName?: string | undefined;
  /** For who seals secrets for the vault: public nkey of the node that runs it. */
  readonly vaultKey?: string | undefined;
  /** Put the secrets themselves in. */
  readonly inline?: boolean;
}

export async function describeConnection(options: DescribeOptions): Promise<ConnectionDescription> {
  const { url, credential, caFile, serverName, vaultKey } = options;
  const shared = {
    url,
    inboxPrefix: inboxPrefix(credential.user),
    ...(serverName !== undefined && { serverName }),
    ...(credential.role === "guest" && { role: credential.role }),
    ...(vaultKey !== undefined && { vaultKey }),
  };
  if (options.inline !== true) {
    return { ...shared, nkeySeedFile: credential.seedFile, ...(caFile === undefined ? {} : { caFile }) };
  }
  const nkeySeed = new TextDecoder().decode(credential.seed);
  return { ...shared, nkeySeed, ...(caFile === undefined ? {} : { ca: await readAuthority(caFile) }) };
}

/** The user of an inbox prefix `_INBOX.<user>`, undefined if it is none. */
function userOf(prefix: string): string | undefined {
  const user = prefix.slice(prefix.indexOf(".") + 1);
  return isToken(user) && prefix === inboxPrefix(user) ? user : undefined;
}

async function readAuthority(path: string): Promise<string> {
  return await readFile(path, "utf8").catch((error: unknown) => {
    throw diskError(error, `read ${path}`);
  });
}
