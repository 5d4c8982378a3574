/**
 * Agents that audit one installed package per task. An ordinary user module:
 *
 *   bin/vgas up --module examples/audit/agent.ts
 */
import { isAbsolute } from "node:path";
import { defineAgent, TaskError } from "vgas";
import { inspectPackage, type PackageAudit } from "./inspect.ts";
import type { InstalledPackage } from "./packages.ts";

export default defineAgent<InstalledPackage, PackageAudit>({
  kind: "audit-package",
  instances: 8,
  slots: 16,
  async run({ input }, { signal }) {
    if (typeof input?.folder !== "string" || typeof input.location !== "string" || !isAbsolute(input.folder)) {
      throw new TaskError("BAD_INPUT", "the input must be {folder: absolute path, location}", { retryable: false });
    }
    return await inspectPackage(input.folder, input.location, signal);
  },
});
