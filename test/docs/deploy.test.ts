import { expect, test } from "vitest";
import { ENVIRONMENT, resolveConfig } from "../../src/config.ts";
import { readSource } from "./documents.ts";

const FILES = ["deploy/vgas.service", "deploy/vgas.env", "deploy/Dockerfile", "deploy/compose.yaml"];

test("deploy/ names no variable that does not exist", () => {
  const known = [...Object.values(ENVIRONMENT), "VGAS_NATS_SERVER"];
  for (const file of FILES)
    for (const [name] of readSource(file).matchAll(/\bVGAS_[A-Z_]+/g)) expect(known, file).toContain(name);
});

test("the example of an environment is a configuration, also with what is commented out", () => {
  const lines = [...readSource("deploy/vgas.env").matchAll(/^#?(VGAS_\w+)=(.*)$/gm)];
  const env = Object.fromEntries(lines.map(([, name = "", value = ""]) => [name, value]));
  expect(resolveConfig({}, env)).toMatchObject({ lan: true, durability: "power", graceMs: 30_000 });
});

test("whoever stops the service waits longer than a node drains", () => {
  const { graceMs } = resolveConfig({}, {});
  const seconds = (pattern: RegExp, file: string): number => Number(pattern.exec(readSource(file))?.[1]);
  expect(seconds(/^TimeoutStopSec=(\d+)$/m, "deploy/vgas.service") * 1_000).toBeGreaterThan(graceMs);
  expect(seconds(/stop_grace_period: (\d+)s/, "deploy/compose.yaml") * 1_000).toBeGreaterThan(graceMs);
});
