/** What to do about what the vault refuses, where the command knows it better than the catalogue of errors does. */
import { type ErrorCode, VgasError } from "../../../protocols/errors.ts";
import { isSharedRole } from "../../../protocols/roles.ts";
import { OPERATIONS, type OperationName } from "../../../protocols/vault/operations.ts";
import { AdvisedError, saysWhatToDo } from "../../failure.ts";

/** Remedies of one command, by code: one sentence each. */
export type Advice = Readonly<Partial<Record<ErrorCode, string>>>;

const ON_ITS_NODE = "The vault's node says so: do it on that machine, then give the command again.";
const ITS_LOG = "`vgas status` shows which nodes are heard; the log of the vault's node says what became of its vault.";
const READING: ReadonlySet<string> = new Set(["hello", "list", "show", "usage", "audit", "seal", "unseal"]);
const TIMED_OUT = /^vault\.(\w+) timed out after (\d+) ms$/;
/** The trail's own complaints name its folder or itself. */
const OF_THE_TRAIL = /audit trail|[/\\]trail\b/;

/** `error` as the command tells it; `op` is what was asked of the vault. */
export function advised(error: unknown, op: OperationName | "hello", advice: Advice = {}): unknown {
  if (!(error instanceof VgasError) || error instanceof AdvisedError) return error;
  const { code, message } = error;
  if (code === "UNDELIVERABLE") return new AdvisedError(error, message, ITS_LOG);
  const [, asked, ms] = TIMED_OUT.exec(message) ?? [];
  if (ms !== undefined) return timedOut(error, asked === "hello" ? asked : op, ms);
  const hint = advice[code] ?? remedy(error, op);
  return hint === undefined || saysWhatToDo(message) ? error : new AdvisedError(error, message, hint);
}

function timedOut(error: VgasError, op: string, ms: string): AdvisedError {
  const after = READING.has(op) ? "" : "It may have been done all the same: look before you repeat it. ";
  const longer = "--timeout takes milliseconds, or a time such as 2m; `vgas status` says how the swarm is.";
  return new AdvisedError(error, `the vault did not answer within ${ms} ms`, `${after}${longer}`);
}

function remedy({ code, message }: VgasError, op: OperationName | "hello"): string | undefined {
  switch (code) {
    case "CONFIG":
      return ON_ITS_NODE;
    case "NOT_FOUND":
      return "`vgas vault list` shows the keys that there are.";
    case "CONFLICT":
      return "`vgas vault status` and `vgas vault list` show how it is now; then give the command again.";
    case "VAULT_DAMAGED":
      if (!OF_THE_TRAIL.test(message)) return undefined;
      return "Restore the folder trail from a backup. If it is lost: move it away, and `vgas vault unseal --accept-rollback`.";
    case "PERMISSION_DENIED": {
      if (op === "hello" || !message.startsWith("the role ")) return undefined;
      const roles = OPERATIONS[op].roles.filter(isSharedRole);
      return `The role ${roles.join(" or ")} may: \`vgas connection --role ${roles[0]}\` on the swarm's machine makes such a connection.`;
    }
    default:
      return undefined;
  }
}
