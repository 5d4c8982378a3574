/** The body of a request on its way to the vault: any BodyInit, cut into pieces that a message can carry. */
import { VgasError } from "../../protocols/errors.ts";
import { CALL_CHUNK_BYTES, MAX_CALL_BODY_BYTES } from "../../protocols/vault/operations.ts";

export interface BodyPiece {
  readonly data: Uint8Array;
  readonly more: boolean;
}

export interface UploadBody {
  /** In bytes, where it is known. */
  readonly length: number | undefined;
  /** Whether it can be sent a second time. */
  readonly repeatable: boolean;
  /** At least one piece; all but the last are as large as a piece may be. Breaks off with `signal`'s reason. */
  pieces(signal: AbortSignal): AsyncGenerator<BodyPiece, undefined>;
}

/** Rejects with TOO_LARGE, or with what reading the body threw. */
export async function requestBody(request: Request, init: RequestInit | undefined): Promise<UploadBody | undefined> {
  const { body } = request;
  if (body === null) return undefined;
  const given = init?.body ?? undefined;
  // A Request does not tell what it was made of, so its body can be read once.
  const isStream = given === undefined || (typeof given === "object" && Symbol.asyncIterator in given);
  if (isStream) return { length: undefined, repeatable: false, pieces: (signal) => streamed(body, signal) };
  if (given instanceof Blob) checkLength(given.size);
  const bytes = new Uint8Array(await request.arrayBuffer());
  checkLength(bytes.length);
  return { length: bytes.length, repeatable: true, pieces: () => cut(bytes) };
}

async function* cut(bytes: Uint8Array): AsyncGenerator<BodyPiece, undefined> {
  let at = 0;
  do {
    const data = bytes.subarray(at, at + CALL_CHUNK_BYTES);
    at += CALL_CHUNK_BYTES;
    yield { data, more: at < bytes.length };
  } while (at < bytes.length);
  return undefined;
}

async function* streamed(body: ReadableStream<unknown>, signal: AbortSignal): AsyncGenerator<BodyPiece, undefined> {
  const reader = body.getReader();
  const stop = () => void reader.cancel(signal.reason).catch(() => undefined);
  signal.addEventListener("abort", stop, { once: true });
  let gathered: Uint8Array[] = [];
  let length = 0;
  try {
    for (;;) {
      signal.throwIfAborted();
      const { done, value } = await reader.read();
      signal.throwIfAborted();
      if (done) break;
      if (!(value instanceof Uint8Array)) throw new TypeError("the body's stream must give Uint8Arrays");
      for (let rest = value; rest.length > 0; ) {
        // Only now is it known that more follows.
        if (length === CALL_CHUNK_BYTES) {
          yield { data: Buffer.concat(gathered), more: true };
          gathered = [];
          length = 0;
        }
        const taken = rest.subarray(0, CALL_CHUNK_BYTES - length);
        gathered.push(taken);
        length += taken.length;
        rest = rest.subarray(taken.length);
      }
    }
    yield { data: Buffer.concat(gathered), more: false };
    return undefined;
  } finally {
    signal.removeEventListener("abort", stop);
    // Nobody wants the rest, if there is one.
    stop();
  }
}

function checkLength(length: number): void {
  if (length > MAX_CALL_BODY_BYTES)
    throw new VgasError("TOO_LARGE", `the body has ${length} bytes, and may have ${MAX_CALL_BODY_BYTES}`);
}
