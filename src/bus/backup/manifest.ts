/** The first entry of a backup: what is in it, so that nothing else is taken out of it. */
import { z } from "zod";
import { VgasError } from "../../protocols/errors.ts";
import { isToken } from "../../protocols/tokens.ts";
import { isLeftOut, isSafePath } from "./contents.ts";

export const MANIFEST = "vgas-backup.json";
/** Of the archive. One with a higher number is of a newer vgas. */
export const FORMAT = 1;
/** Some 200 bytes a file, and a home with 10 000 lanes has 100 000 files. */
export const MAX_MANIFEST_BYTES = 256 * 2 ** 20;

const path = z.string().refine(isSafePath);
const schema = z.object({
  format: z.literal(FORMAT),
  /** Version of the vgas that made it. */
  vgas: z.string(),
  hostId: z.string().refine(isToken),
  /** Milliseconds since the epoch. */
  madeAt: z.number(),
  /** Below the home, with `/` between their parts; a directory comes before what is in it. */
  directories: z.array(path),
  files: z.array(
    z.object({
      path,
      bytes: z.number().int().min(0),
      /** Hex. */
      sha256: z.string().regex(/^[0-9a-f]{64}$/),
    }),
  ),
});
export type Manifest = Readonly<z.infer<typeof schema>>;
export type FileRecord = Manifest["files"][number];

const anyFormat = z.object({ format: z.number(), vgas: z.string() });

/** @throws VgasError CONFIG if a newer vgas made it, BACKUP_DAMAGED if it is none or contradicts itself */
export function parseManifest(text: string): Manifest {
  const manifest = shaped(text);
  const directories = new Set(manifest.directories);
  const paths = [...manifest.directories, ...manifest.files.map((file) => file.path)];
  if (new Set(paths).size !== paths.length) throw damaged("its manifest names a file twice");
  for (const each of paths) {
    const parent = each.slice(0, Math.max(0, each.lastIndexOf("/")));
    if (parent !== "" && !directories.has(parent)) throw damaged(`its manifest has no directory for ${each}`);
    if (isLeftOut(each)) throw damaged(`its manifest names ${each}, which no backup holds`);
  }
  if (!manifest.files.some((file) => file.path === "node.json")) throw damaged("it holds no node");
  return manifest;
}

function shaped(text: string): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw damaged("its manifest is no JSON", cause);
  }
  const told = anyFormat.safeParse(value);
  if (told.success && told.data.format > FORMAT) {
    const { format, vgas } = told.data;
    const message = `the backup is of format ${format}, made by vgas ${vgas}, and this one knows up to ${FORMAT}`;
    throw new VgasError("CONFIG", `${message}: restore it with that version`);
  }
  const parsed = schema.safeParse(value);
  if (!parsed.success) throw damaged("its manifest has another form", parsed.error);
  return parsed.data;
}

export function damaged(why: string, cause?: unknown): VgasError {
  return new VgasError("BACKUP_DAMAGED", `the backup cannot be used: ${why}`, cause === undefined ? {} : { cause });
}
