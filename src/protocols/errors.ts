/**
 * The catalogue of errors: one stable code each, with its meaning, its remedy, whether trying again can help, and the
 * exit code of a command that ends with it. docs/errors.md is checked against this table in both directions.
 *
 * A leaf: imports nothing.
 */

interface CatalogueEntry {
  readonly meaning: string;
  readonly remedy: string;
  readonly retryable: boolean;
  readonly exitCode: number;
}

/** Every code that vgas itself uses. A behaviour may add codes of its own with `TaskError`. */
export const ERRORS = {
  ABORTED: entry(
    "The caller's AbortSignal fired.",
    "Nothing is wrong; the operation was given up on request.",
    false,
    1,
  ),
  AGENT_CRASHED: entry(
    "The process that ran the behaviour ended before it had answered.",
    "Read the node's log for the process's last words; mend what ends it.",
    true,
    3,
  ),
  AGENT_ERROR: entry(
    "The behaviour threw something that was no TaskError.",
    "Read the message, mend the behaviour, or throw a TaskError that says whether a retry can help.",
    true,
    3,
  ),
  AUDIT_FAILED: entry(
    "The vault cannot write its audit trail, so it gives no key out.",
    "Look at the disk of the vault's home; the vault goes on by itself when the trail can be written again.",
    true,
    77,
  ),
  BACKUP_DAMAGED: entry(
    "The file is no backup of a home, or not what `vgas backup` wrote: cut off, changed, or with something else in it.",
    "Copy it again from where it was written, or take another backup.",
    false,
    1,
  ),
  BROKER_FAILED: entry(
    "The nats-server could not be started, or ended too often.",
    "Read the server's log named in the message; check the port, the disk and the version.",
    false,
    1,
  ),
  BUDGET_EXCEEDED: entry(
    "The budgets of the provider's keys leave no room for this use.",
    "Wait for the next day or month (UTC), raise the budget with `vgas vault store`, or store another key.",
    false,
    77,
  ),
  CANCELLED: entry("The task was cancelled.", "Nothing is wrong; submit it again if it is to run.", false, 3),
  CERTIFICATE_MISMATCH: entry(
    "The machine that answered does not show the certificate of the swarm that is meant.",
    "Check the address and the token. If both are right, somebody is between you and the swarm: do not go on.",
    false,
    77,
  ),
  CONFIG: entry(
    "A flag, variable, file or configuration value is not usable.",
    "Correct what the message names.",
    false,
    78,
  ),
  CONFLICT: entry(
    "A record is there already, or changed while it was being written.",
    "Look at what is there now, and decide anew.",
    true,
    1,
  ),
  CRASHED_REPEATEDLY: entry(
    "The task was started as often as it may be, and each time its host ended or vanished.",
    "Look at what the task does to its host; replay it from the dead letters once it is mended.",
    false,
    3,
  ),
  DRIFT: entry(
    "A stream, consumer or bucket exists with settings other than the ones vgas needs.",
    "Change it as the message says, or use another --prefix.",
    false,
    78,
  ),
  EXPIRED: entry(
    "The task was not started within its expiresMs.",
    "Add agents for its kind, or allow more time.",
    false,
    3,
  ),
  GRANT_VOID: entry(
    "The grant is not of a running attempt of this node: forged, expired, for another provider, or the attempt has ended.",
    "Use `ctx.vault` only while the task runs, and name the provider in the agent's `providers`.",
    false,
    77,
  ),
  HOME_COPIED: entry(
    "Two nodes run with the same id and credential: one home is a copy of the other.",
    "Stop one of them, give it an empty --home and let it join anew.",
    false,
    78,
  ),
  HOME_IN_USE: entry("Another node owns this home.", "Stop that node, or give this one its own --home.", false, 78),
  INTERNAL: entry("A defect of vgas itself.", "Report it with the log and what led to it.", false, 70),
  INTERRUPTED: entry(
    "It cannot be known whether the last allowed attempt ran, so it is not run again.",
    "Raise maxAttempts where running twice is harmless; otherwise check by hand what the attempt did.",
    false,
    3,
  ),
  INVALID: entry(
    "Bytes, a name or a field are not what the contract says.",
    "Correct what the message names.",
    false,
    2,
  ),
  INVALID_INPUT: entry(
    "The input is not what the agent's schema says.",
    "Correct the input; the message names what is wrong with it.",
    false,
    3,
  ),
  INVALID_OUTPUT: entry(
    "The behaviour's output cannot be encoded.",
    "Return plain data: no functions, symbols, class instances or cycles, and at most 64 MiB.",
    false,
    3,
  ),
  KEY_RESTING: entry(
    "The provider has refused every usable key or asked to wait.",
    "Try again after the time that the message names; `vgas vault show` says which key rests and why.",
    true,
    1,
  ),
  LANE_FULL: entry(
    "As many messages of that kind and priority wait as --max-waiting allows.",
    "Submit slower, add agents for the kind, or raise --max-waiting.",
    true,
    1,
  ),
  MAILBOX_FULL: entry(
    "The actor has as many unread messages as its mailbox takes.",
    "Send slower, or retry after a while.",
    true,
    1,
  ),
  NODE_EXISTS: entry("Another node has that node id.", "Give the node an empty --home: it makes a new id.", false, 77),
  NODE_REVOKED: entry(
    "The node was revoked; its id and credential are never let in again.",
    "If it is to come back, give it an empty --home and a new token.",
    false,
    77,
  ),
  NOT_ADMITTED: entry(
    "The swarm's operator did not let the node in.",
    "Ask the operator, who sees it in `vgas nodes`: `vgas approve NODE --fingerprint F`, or a token.",
    false,
    77,
  ),
  NOT_FOUND: entry(
    "There is nothing under that name.",
    "Check the name, and that it is looked for in the right swarm (--home, --prefix, --pool).",
    false,
    4,
  ),
  NO_SWARM: entry(
    "No swarm answered at that address.",
    "Start one with `vgas up`, or point --home, --nats or --connection at a running one.",
    true,
    69,
  ),
  OBJECT_MISSING: entry(
    "An input, context or output that was too large for a message is not in the object store any more, or is not what was put there.",
    "Submit the task again; outputs are kept as long as results (--results-ttl).",
    false,
    3,
  ),
  PERMISSION_DENIED: entry(
    "The credential does not open that subject, or its role may not do that.",
    "Use a credential of a role that may do it: `vgas connection --role R`; on a NATS system of your own `vgas permissions` prints what to allow.",
    false,
    77,
  ),
  PROOF_REFUSED: entry(
    "The proof of a token is wrong, or belongs to another request.",
    "Try again; if it stays, make a new token with `vgas token create`.",
    false,
    77,
  ),
  REPLAYED: entry(
    "The vault has seen this request, or it is too old.",
    "Nothing, unless you did not send it twice: then somebody repeats what you sent.",
    false,
    77,
  ),
  RESOURCE_LIMIT: entry(
    "No agent of that kind is free now, or a door takes no more at once.",
    "Submit it as a task that waits, or add agents; at a door, try again with less at once.",
    true,
    1,
  ),
  SHUTTING_DOWN: entry(
    "The node or client is stopping and takes nothing new.",
    "Use another node, or start it again.",
    true,
    1,
  ),
  STREAM_FULL: entry(
    "The stream is at its limit and took no more.",
    "Consume or purge what it holds, or raise its limit; tasks already accepted are kept and go on when there is room.",
    true,
    1,
  ),
  SUPERSEDED: entry(
    "A later attempt of the task has begun, so this one may not write any more.",
    "End the behaviour: its result would be refused.",
    false,
    3,
  ),
  TIMEOUT: entry(
    "The named operation took longer than it may.",
    "Allow more time, or look at why it is slow.",
    true,
    5,
  ),
  TOKEN_EXPIRED: entry(
    "The token's time is over.",
    "Make a new one with `vgas token create`; --ttl says how long it lasts.",
    false,
    77,
  ),
  TOKEN_INVALID: entry(
    "That is no token, or not all of one.",
    "Copy the whole line that `vgas token create` printed.",
    false,
    77,
  ),
  TOKEN_REVOKED: entry("The token was revoked.", "Ask the swarm's operator for a new one.", false, 77),
  TOKEN_UNKNOWN: entry(
    "The swarm did not issue that token, or has removed it.",
    "Check that it is for this swarm; make a new one with `vgas token create`.",
    false,
    77,
  ),
  TOKEN_USED_UP: entry(
    "The token has let in as many as it may.",
    "Make a new one with `vgas token create`; --uses says how many it lets in.",
    false,
    77,
  ),
  TOO_LARGE: entry(
    "The message is larger than the server takes.",
    "Send less at once. An input or a context may have 64 MiB (a guest's what fits into a message); store more elsewhere and send a reference.",
    false,
    2,
  ),
  UNDELIVERABLE: entry("No actor owns that name.", "Start the actor, or wait until its supervisor has.", true, 1),
  UNKNOWN_MESSAGE: entry(
    "The actor's protocol has no such message, or its fields are wrong.",
    "Correct the message; the actor's protocol names its fields.",
    false,
    2,
  ),
  UPSTREAM_FAILED: entry(
    "The provider could not be reached, or broke off its answer.",
    "Try again; if it stays, check the network of the vault's host and the provider's status.",
    true,
    1,
  ),
  VAULT_DAMAGED: entry(
    "The vault's file, or its audit trail, is not what was written.",
    "Restore what the message names from a backup; the vault's file also from the previous generation beside it (docs/vault.md).",
    false,
    1,
  ),
  VAULT_RESTARTED: entry(
    "The request was made for an earlier life of the vault.",
    "Send it again; `vgas` does so by itself.",
    true,
    1,
  ),
  VAULT_ROLLED_BACK: entry(
    "An older vault file was put back, or a file of another vault.",
    "Find out who did it. If it was you: `vgas vault unseal --accept-rollback`.",
    false,
    77,
  ),
  VAULT_SEALED: entry(
    "The vault is sealed, so it can give no key out.",
    "Open it with `vgas vault unseal`, or start the node with --vault-unlock.",
    true,
    77,
  ),
  VAULT_UNINITIALISED: entry("There is no vault yet.", "Make it with `vgas vault init`.", true, 77),
  WRONG_PASSPHRASE: entry(
    "The passphrase or key file does not open this vault.",
    "Use the one that it was made with, or was last re-keyed to.",
    false,
    77,
  ),
} as const satisfies Record<string, CatalogueEntry>;

/** A code of the catalogue; docs/errors.md says what each means and what to do. */
export type ErrorCode = keyof typeof ERRORS;

/** An error of vgas. `code` is stable and in the catalogue; `cause` is kept. */
export class VgasError extends Error {
  override readonly name = "VgasError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  /** Whether the same call can succeed later. */
  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }

  /** Exit code of a command that ends with this error. */
  get exitCode(): number {
    return ERRORS[this.code].exitCode;
  }
}

/** What a behaviour throws to fail a task with a code of its own; `retryable: false` fails it for good. */
export class TaskError extends Error {
  override readonly name = "TaskError";
  readonly code: string;
  readonly retryable: boolean;

  constructor(code: string, message: string, options: ErrorOptions & { readonly retryable?: boolean } = {}) {
    super(message, options);
    this.code = code;
    this.retryable = options.retryable ?? true;
  }
}

function entry(meaning: string, remedy: string, retryable: boolean, exitCode: number): CatalogueEntry {
  return { meaning, remedy, retryable, exitCode };
}
