/** JSON as commands read and write it: outputs may hold binary and integers that `JSON.stringify` cannot show. */
import { decodeJson, encodeJson } from "../bus/codec/json.ts";
import { VgasError } from "../protocols/errors.ts";
import { UsageError } from "./failure.ts";
import { MAX_LINE_BYTES } from "./lines.ts";

/** One line: binary as base64, integers beyond 2^53 as strings. */
export function jsonLine(value: unknown): string {
  return Buffer.from(encodeJson(value)).toString();
}

/** The value of an argument. @throws UsageError naming `what` if it is no JSON */
export function parseJsonArgument(text: string, what: string): unknown {
  try {
    return decodeJson(new TextEncoder().encode(text));
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new UsageError(`${what} is not JSON: ${why}`, `Quote it for the shell: '{"a":1}', '"text"', 42, null.`);
  }
}

/** The JSON value on standard input. @throws UsageError; VgasError TOO_LARGE before more is read than any task can hold */
export async function readJsonInput(what: string): Promise<unknown> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of process.stdin as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > MAX_LINE_BYTES)
      throw new VgasError("TOO_LARGE", `${what} on stdin has more than ${MAX_LINE_BYTES} bytes`);
    parts.push(chunk);
  }
  return parseJsonArgument(Buffer.concat(parts).toString(), what);
}
