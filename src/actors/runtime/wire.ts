/** Messages and replies as bytes. A local message goes through here too, so that it fails as a remote one would. */
import { encode } from "../../bus/codec/codec.ts";
import { isJson } from "../../bus/codec/json.ts";
import { decodeMirrored, encodeMirrored } from "../../bus/codec/task.ts";
import { type ActorReply, actorMessage, actorReply } from "../../protocols/actor-messages.ts";
import { ERRORS, TaskError, VgasError } from "../../protocols/errors.ts";
import { fromWireError, toWireError } from "../../protocols/wire-error.ts";
import type { MessageSpec } from "./definition.ts";
import type { Outcome } from "./letter.ts";

/** What a message is written in, and answered in. */
export type Encoding = "msgpack" | "json";

/** Complaints of a schema that are passed on; a bad array could have a thousand. */
const MAX_ISSUES = 3;

export interface ReadMessage {
  readonly encoding: Encoding;
  readonly type: string;
  readonly fields: Record<string, unknown>;
}

/** The encoding to answer in, where the message itself could not be read. */
export function encodingOf(data: Uint8Array): Encoding {
  return isJson(data) ? "json" : "msgpack";
}

/** @throws VgasError INVALID_OUTPUT for what cannot be encoded, INVALID for what is no message */
export function writeMessage(message: { readonly type: string }): Uint8Array {
  if (!actorMessage.safeParse(message).success) throw noMessage();
  return encode(message);
}

/** @throws VgasError INVALID */
export function readMessage(data: Uint8Array): ReadMessage {
  const { encoding, value } = decodeMirrored(data);
  const parsed = actorMessage.safeParse(value);
  if (!parsed.success) throw noMessage();
  const { type, ...fields } = parsed.data;
  return { encoding, type, fields };
}

/** @throws VgasError UNKNOWN_MESSAGE naming the fields that are wrong */
export function checkFields(spec: MessageSpec, message: ReadMessage): object {
  const complain = (what: string): VgasError => new VgasError("UNKNOWN_MESSAGE", `message "${message.type}": ${what}`);
  let parsed: ReturnType<MessageSpec["schema"]["safeParse"]>;
  try {
    parsed = spec.schema.safeParse(message.fields);
  } catch (error) {
    throw complain(error instanceof Error ? error.message : "its schema threw");
  }
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.slice(0, MAX_ISSUES);
  throw complain(issues.map(({ path, message: text }) => `${path.join(".") || "fields"}: ${text}`).join("; "));
}

/** The reply for an outcome. One that cannot be encoded or is too large is answered with that error. */
export function writeReply(outcome: Outcome, encoding: Encoding, maxBytes: number): Uint8Array {
  const reply: ActorReply =
    "error" in outcome ? { error: toWireError(outcome.error) } : { value: outcome.value ?? null };
  try {
    const bytes = encodeMirrored(reply, encoding);
    if (bytes.length <= maxBytes) return bytes;
    throw new VgasError("TOO_LARGE", `the reply has ${bytes.length} bytes, the server takes at most ${maxBytes}`);
  } catch (error) {
    return encodeMirrored({ error: toWireError(error) }, encoding);
  }
}

/**
 * The value of a reply.
 *
 * @throws the error of the reply: a VgasError for a code of the catalogue, otherwise a TaskError with the actor's own code
 */
export function readReply(data: Uint8Array): unknown {
  const parsed = actorReply.safeParse(decodeMirrored(data).value);
  if (!parsed.success) throw new VgasError("INTERNAL", "what answered for the actor is no reply");
  const reply = parsed.data;
  if (!("error" in reply)) return reply.value ?? null;
  const { code, message, retryable } = reply.error;
  throw code in ERRORS ? fromWireError(reply.error) : new TaskError(code, message, { retryable });
}

function noMessage(): VgasError {
  return new VgasError("INVALID", "a message to an actor is a map with a type of 1 to 128 characters");
}
