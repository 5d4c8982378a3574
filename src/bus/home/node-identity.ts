import { randomBytes } from "node:crypto";
import { z } from "zod";
import { VgasError } from "../../protocols/errors.ts";
import { isToken } from "../../protocols/tokens.ts";
import { createWhole, readIfPresent, writeWhole } from "./files.ts";

const nodeIdentity = z.object({
  v: z.literal(1),
  hostId: z.string().refine(isToken),
  /** Subject prefix of this node's swarm: the credentials of this home are made for it. */
  prefix: z.string().refine(isToken),
  /** Milliseconds since the epoch. */
  createdAt: z.number(),
});
export type NodeIdentity = z.infer<typeof nodeIdentity>;

const BASE32 = "abcdefghijklmnopqrstuvwxyz234567";
const HOST_ID_CHARS = 9;

/** `n` and 9 random base32 characters: 45 bits, so 10 000 nodes collide with a probability of one in a million. */
export function newHostId(): string {
  let id = "n";
  for (const byte of randomBytes(HOST_ID_CHARS)) id += BASE32[byte % BASE32.length];
  return id;
}

/** The identity kept at `path`; the first caller makes it, and all callers get the same. */
export async function ensureNodeIdentity(path: string, prefix: string, nowMs: number): Promise<NodeIdentity> {
  const fresh: NodeIdentity = { v: 1, hostId: newHostId(), prefix, createdAt: nowMs };
  const existing = await readNodeIdentity(path);
  if (existing !== undefined) return existing;
  if (await createWhole(path, `${JSON.stringify(fresh)}\n`)) return fresh;
  return (await readNodeIdentity(path)) ?? fresh;
}

export async function readNodeIdentity(path: string): Promise<NodeIdentity | undefined> {
  const text = await readIfPresent(path);
  if (text === undefined) return undefined;
  try {
    return nodeIdentity.parse(JSON.parse(text));
  } catch (error) {
    throw new VgasError("CONFIG", `${path} is damaged; restore it, or delete it to give this node a new id`, {
      cause: error,
    });
  }
}

export async function writeNodeIdentity(path: string, identity: NodeIdentity): Promise<void> {
  await writeWhole(path, `${JSON.stringify(identity)}\n`);
}
