/** Compares what the server lets a credential do with what its role needs (roles.ts). */
import { z } from "zod";
import { VgasError } from "../protocols/errors.ts";
import { permissionsOf, USER_INFO, type UserRole } from "../protocols/roles.ts";
import { covers, meet } from "../protocols/subject-sets.ts";
import { inboxPrefix, type Names } from "../protocols/subjects.ts";
import type { Bus } from "./bus.ts";

/** Something that the role needs and the credential does not open, or not all of it. */
export interface MissingPermission {
  readonly operation: "publish" | "subscribe";
  /** As the table of roles has it. */
  readonly subject: string;
}

/** What the server says of one operation. Without `allow` everything is allowed that `deny` does not name. */
export interface Granted {
  readonly allow?: readonly string[] | undefined;
  readonly deny?: readonly string[] | undefined;
}

const TIMEOUT_MS = 2_000;

const subjects = z.array(z.string()).nullish();
const granted = z.object({ allow: subjects, deny: subjects }).nullish();
const userInfo = z.object({
  data: z.object({ permissions: z.object({ publish: granted, subscribe: granted }).nullish() }),
});

/**
 * What the credential of `bus` lacks of its role's permissions; empty if it is complete. "unknown" if the server does not say:
 * one that is older than this request, or a credential that may not ask. One that hears no answer lacks its inbox.
 */
export async function missingPermissions(
  bus: Bus,
  role: UserRole,
  user: string,
  names: Names,
): Promise<readonly MissingPermission[] | "unknown"> {
  const answer = await bus
    .request("asking for the own permissions", USER_INFO, new Uint8Array(), { timeoutMs: TIMEOUT_MS })
    .catch(() => undefined);
  const info = answer === undefined ? undefined : parse(answer.data);
  if (info === undefined) return await missingInbox(bus, user);
  const wanted = permissionsOf(role, user, names);
  return (["publish", "subscribe"] as const).flatMap((operation) => {
    const { allow, deny } = info[operation] ?? {};
    const have: Granted = { allow: allow ?? undefined, deny: deny ?? undefined };
    const lacking = lackingSubjects(wanted[operation], wanted.deny?.[operation] ?? [], have);
    return lacking.map((subject) => ({ operation, subject }));
  });
}

/**
 * Those of `wanted` that `have` does not open as a whole, but for what `spared` takes away again. One pattern of `have` has
 * to open a subject alone: two that do so together only (`a.b` and `a.c` for all there ever is of `a.*`) are not known to.
 * Pure.
 */
export function lackingSubjects(
  wanted: readonly string[],
  spared: readonly string[],
  have: Granted,
): readonly string[] {
  // `subject queue` opens a subject for that queue group only.
  const open = have.allow?.filter((pattern) => !pattern.includes(" "));
  const shut = (have.deny ?? []).map((pattern) => pattern.split(" ", 1)[0] ?? pattern);
  return wanted.filter((subject) => {
    if (open !== undefined && !open.some((pattern) => covers(pattern, subject))) return true;
    return shut.some((pattern) => {
      const refused = meet(pattern, subject);
      return refused !== undefined && !spared.some((spare) => covers(spare, refused));
    });
  });
}

/** Without its inbox a credential hears no answer, least of all what it lacks. */
async function missingInbox(bus: Bus, user: string): Promise<readonly MissingPermission[] | "unknown"> {
  const [inbox, prefix] = [bus.inbox(), inboxPrefix(user)];
  try {
    (await bus.subscribe(inbox, () => undefined)).unsubscribe();
  } catch (error) {
    const denied = error instanceof VgasError && error.code === "PERMISSION_DENIED" && inbox.startsWith(`${prefix}.`);
    if (denied) return [{ operation: "subscribe", subject: `${prefix}.>` }];
  }
  return "unknown";
}

function parse(data: Uint8Array): NonNullable<z.infer<typeof userInfo>["data"]["permissions"]> | undefined {
  try {
    return userInfo.parse(JSON.parse(new TextDecoder().decode(data))).data.permissions ?? {};
  } catch {
    return undefined;
  }
}
