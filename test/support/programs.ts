/** Programs that tests run as processes of their own. */
import { join } from "node:path";
import { inject } from "vitest";

/** Bundled before the tests, see `bundle-programs.ts`. */
export const PROGRAMS = {
  appender: "test/actors/vault/trail/fixtures/appender.ts",
  authority: "test/bus/fixtures/authority.ts",
  broker: "test/bus/fixtures/broker.ts",
  flood: "test/actors/discovery/fixtures/flood.ts",
  issue: "test/bus/fixtures/issue.ts",
  "killed-writer": "test/actors/vault/store/fixtures/killed-writer.ts",
  lock: "test/bus/fixtures/lock.ts",
  "failpoint-passer": "test/failpoints/fixtures/failpoint-passer.ts",
  node: "test/actors/discovery/fixtures/node.ts",
  rival: "test/actors/vault/store/fixtures/rival.ts",
  user: "test/admission/fixtures/user.ts",
} as const;

export type ProgramName = keyof typeof PROGRAMS;

declare module "vitest" {
  interface ProvidedContext {
    /** Folder of the bundled programs. */
    readonly programs: string;
  }
}

/** The command line that runs that program. */
export function programCommand(name: ProgramName, ...args: readonly string[]): [string, ...string[]] {
  return [process.execPath, join(inject("programs"), `${name}.js`), ...args];
}
