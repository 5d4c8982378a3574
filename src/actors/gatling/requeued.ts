import type { PulledMessage } from "../../bus/pull.ts";
import { HEADERS } from "../../protocols/subjects.ts";
import { elementOf, isToken } from "../../protocols/tokens.ts";

/** The id that an array element keeps when it is published again on its own. Headers that no dispatcher writes count as none. */
export function requeued(message: Pick<PulledMessage, "header">): string | undefined {
  const id = message.header(HEADERS.taskId);
  const submittedAt = Number(message.header(HEADERS.submittedAt) ?? Number.NaN);
  const attempts = Number(message.header(HEADERS.attempts) ?? Number.NaN);
  const whole =
    Number.isSafeInteger(submittedAt) && submittedAt >= 0 && Number.isSafeInteger(attempts) && attempts >= 0;
  return id !== undefined && isToken(id) && whole ? id : undefined;
}

/** The automatic id that it had in its array: names the record of who may run it. Undefined for rubbish. */
export function elementOfRequeued(message: Pick<PulledMessage, "header">): string | undefined {
  const id = message.header(HEADERS.element);
  return isToken(id) && elementOf(id) !== undefined ? id : undefined;
}
