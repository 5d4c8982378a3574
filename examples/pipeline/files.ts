/** Files to work on: invoices, letters, notes and others, the same ones each time. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

const TEXTS = [
  (i: number) => `Invoice ${i}\nAmount ${(i % 97) + 3}.00, due in 30 days.\n`,
  (i: number) => `Dear reader ${i},\nthank you for your letter.\nSincerely, number ${i % 13}\n`,
  (i: number) => `Remember: file ${i} goes back to its shelf.\n`,
  (i: number) => `Nothing is known of ${i}.\n`,
] as const;

/** Written at once: more would only wait for the disk. */
const AT_ONCE = 64;

/** Writes `count` files into `folder` and returns their paths. */
export async function makeFiles(folder: string, count: number): Promise<readonly string[]> {
  await mkdir(folder, { recursive: true });
  const paths = Array.from({ length: count }, (_, i) => join(folder, `${String(i).padStart(5, "0")}.txt`));
  const left = paths.entries();
  const write = async (): Promise<void> => {
    for (const [i, path] of left) await writeFile(path, (TEXTS[i % TEXTS.length] ?? TEXTS[0])(i));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, write));
  return paths;
}
