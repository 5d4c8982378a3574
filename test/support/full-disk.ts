import { open } from "node:fs/promises";
import { onTestFinished } from "vitest";

/**
 * Makes every `fdatasync` of this process but the first `after` fail as on a full disk, until the returned function is called or
 * the test ends. What
 * really full disks do to the trail is tested in test/actors/vault/trail; this one can be filled and emptied at any moment.
 */
export async function fillDisk({ after = 0 }: { readonly after?: number } = {}): Promise<() => void> {
  const handle = await open("/dev/null", "r");
  await handle.close();
  const prototype = Object.getPrototypeOf(handle) as { datasync: () => Promise<void> };
  const { datasync } = prototype;
  let room = after;
  prototype.datasync = function (this: unknown) {
    if (room-- > 0) return datasync.call(this);
    return Promise.reject(Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" }));
  };
  const empty = (): void => {
    prototype.datasync = datasync;
  };
  onTestFinished(empty);
  return empty;
}
