/** Disks that fail: what every file handle does is replaced until the end of the test. */
import { open } from "node:fs/promises";
import { join } from "node:path";
import { onTestFinished } from "vitest";

/** The methods of every file handle. */
export async function handlePrototype(path: string): Promise<Record<string, (...args: never[]) => Promise<unknown>>> {
  const handle = await open(path, "r");
  await handle.close();
  return Object.getPrototypeOf(handle);
}

/** Lets `method` of every file handle fail with `code` until it is mended, and counts how often it was struck. */
export async function breakFiles(dir: string, method: string, code: string, strikes = (_args: unknown[]) => true) {
  const prototype = await handlePrototype(join(dir, "trail.key"));
  const original = prototype[method];
  if (original === undefined) throw new Error(`no ${method}`);
  const fault = {
    struck: 0,
    mend: () => {
      prototype[method] = original;
    },
  };
  prototype[method] = async function (this: unknown, ...args: never[]) {
    if (!strikes(args)) return await original.apply(this, args);
    fault.struck++;
    throw Object.assign(new Error(`${code}: injected, ${method}`), { code });
  };
  onTestFinished(fault.mend);
  return fault;
}
