/** What a backup of a home says of itself: its first entry, by which everything else in it is checked. */
import { isAbsolute } from "node:path";
import { z } from "zod";
import { VgasError } from "../../../protocols/errors.ts";

export const MANIFEST = "vgas-backup.json";

/** About a hundred bytes for each file: a million of them. */
export const MAX_MANIFEST_BYTES = 128 * 2 ** 20;

const path = z.string().refine(isSafe);

const manifest = z.object({
  v: z.literal(1),
  /** Version of vgas that made it. */
  version: z.string(),
  hostId: z.string(),
  /** Milliseconds since the epoch. */
  at: z.number(),
  /** Directories that hold nothing. */
  directories: z.array(path),
  files: z.array(z.object({ path, bytes: z.number().int().min(0), sha256: z.string().regex(/^[0-9a-f]{64}$/) })),
});
export type Manifest = z.infer<typeof manifest>;
export type ManifestFile = Manifest["files"][number];

/** @throws VgasError INVALID */
export function parseManifest(bytes: Uint8Array): Manifest {
  try {
    return manifest.parse(JSON.parse(Buffer.from(bytes).toString()));
  } catch (cause) {
    throw new VgasError("INVALID", "its manifest is damaged, or of another version of vgas", { cause });
  }
}

/** A path that stays below the directory that it is put in, on every system. */
function isSafe(text: string): boolean {
  const parts = text.split("/");
  return (
    !isAbsolute(text) &&
    !/[\\:\p{Cc}]/u.test(text) &&
    parts.every((part) => part !== "" && part !== "." && part !== "..") &&
    text !== MANIFEST
  );
}
