import type { ErrorCode } from "../protocols/errors.ts";
import type { Role } from "../protocols/roles.ts";

/** What becomes of it; `where` is `host:port`, or the candidate's id before it was dialled. */
export type EnrolEvent =
  | { readonly type: "seen"; readonly where: string; readonly swarmId?: string }
  | { readonly type: "dialing"; readonly where: string }
  | { readonly type: "joining"; readonly where: string; readonly swarmId: string }
  | { readonly type: "pending"; readonly where: string; readonly user: string; readonly fingerprint: string }
  | { readonly type: "rejected"; readonly where: string; readonly code: ErrorCode; readonly why: string }
  | { readonly type: "joined"; readonly swarmId: string; readonly user: string; readonly role: Role };
