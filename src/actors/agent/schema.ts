/** The input of an agent, checked by a schema of any library that follows Standard Schema: zod, valibot, arktype. */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { VgasError } from "../../protocols/errors.ts";

export type InputSchema<Input = unknown> = StandardSchemaV1<unknown, Input>;

/** More is not told of one input: the message is a part of the result. */
const MAX_ISSUES = 20;

export function isSchema(value: unknown): value is InputSchema {
  if ((typeof value !== "object" && typeof value !== "function") || value === null) return false;
  const props = (value as Partial<InputSchema>)["~standard"];
  return props?.version === 1 && typeof props.validate === "function";
}

/**
 * What the schema makes of `input`: at once, or later if the schema is one that waits.
 *
 * @throws VgasError INVALID_INPUT, with each path and what is wrong there
 */
export function validated(schema: InputSchema, input: unknown): unknown {
  const outcome = schema["~standard"].validate(input);
  return outcome instanceof Promise ? outcome.then(valueIn) : valueIn(outcome);
}

function valueIn(outcome: StandardSchemaV1.Result<unknown>): unknown {
  if (!outcome.issues) return outcome.value;
  const { issues } = outcome;
  const told = issues.slice(0, MAX_ISSUES).map(({ path, message }) => `${pathOf(path ?? [])}: ${message}`);
  const more = issues.length > MAX_ISSUES ? `; and ${issues.length - MAX_ISSUES} more` : "";
  throw new VgasError("INVALID_INPUT", `${told.join("; ")}${more}`);
}

/** `input.address[2].city`. */
function pathOf(path: NonNullable<StandardSchemaV1.Issue["path"]>): string {
  let text = "input";
  for (const part of path) {
    const key = typeof part === "object" ? part.key : part;
    if (typeof key === "number") text += `[${key}]`;
    else
      text +=
        typeof key === "string" && /^[A-Za-z_$][\w$]*$/.test(key) ? `.${key}` : `[${JSON.stringify(String(key))}]`;
  }
  return text;
}
