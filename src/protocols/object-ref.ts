/** Where a large value is, as somebody wrote it: checked before anything is read by it. */
import { VgasError } from "./errors.ts";
import { MAX_OBJECT_BYTES } from "./limits.ts";
import type { ObjectRef } from "./result.ts";

/** Longest name of an object, bytes of UTF-8: encoded it is a part of a subject. */
const MAX_NAME_BYTES = 255;
const SHA256 = /^[0-9a-f]{64}$/;

/**
 * @param field names it in the error
 * @param bucket the only one that may be named
 * @throws VgasError INVALID naming the field and the bound; TOO_LARGE
 */
export function parseObjectRef(field: string, value: unknown, bucket: string): ObjectRef {
  const ref = Object(value) as Partial<Record<keyof ObjectRef, unknown>>;
  const { name, bytes, sha256 } = ref;
  if (ref.bucket !== bucket) throw invalid(`${field}.bucket`, `"${bucket}"`, ref.bucket);
  if (typeof name !== "string" || name === "" || Buffer.byteLength(name) > MAX_NAME_BYTES)
    throw invalid(`${field}.name`, `text of 1 to ${MAX_NAME_BYTES} bytes`, name);
  if (typeof bytes !== "number" || !Number.isSafeInteger(bytes) || bytes < 0)
    throw invalid(`${field}.bytes`, "a number of bytes", bytes);
  if (typeof sha256 !== "string" || !SHA256.test(sha256))
    throw invalid(`${field}.sha256`, "64 hexadecimal digits in lower case", sha256);
  if (bytes > MAX_OBJECT_BYTES)
    throw new VgasError("TOO_LARGE", `${field} has ${bytes} bytes, at most ${MAX_OBJECT_BYTES} may be`);
  return { bucket, name, bytes, sha256 };
}

function invalid(field: string, bound: string, value: unknown): VgasError {
  let got: string;
  try {
    got = (JSON.stringify(value) ?? "nothing").slice(0, 80);
  } catch {
    got = `a ${typeof value}`;
  }
  return new VgasError("INVALID", `${field} must be ${bound}, got ${got}`);
}
