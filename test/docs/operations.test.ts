import { describe, expect, test } from "vitest";
import { EXIT } from "../../src/cli/failure.ts";
import { ENVIRONMENT } from "../../src/config.ts";
import { METRICS } from "../../src/metrics/node-metrics.ts";
import { ERRORS } from "../../src/protocols/errors.ts";
import { codeOf, readSource, sectionOf, tableRows } from "./documents.ts";

/** Variables that are no field of the configuration: where the broker is, where the tests report to and how long they go on, and a secret. */
const OTHER_VARIABLES = ["VGAS_NATS_SERVER", "VGAS_TEST_REPORT", "VGAS_TOKEN"];

describe("docs/operations.md", () => {
  const text = readSource("docs/operations.md");

  test("lists every field of the configuration with its variable, and no other", () => {
    const listed = tableRows(sectionOf(text, "Configuration")).map(([field, variable]) => [
      codeOf(field),
      codeOf(variable),
    ]);
    expect(listed).toEqual(Object.entries(ENVIRONMENT));
  });

  test("names no variable that does not exist", () => {
    const named = new Set([...text.matchAll(/\bVGAS_[A-Z_]+/g)].map(([name]) => name));
    named.delete("VGAS_DEAD");
    expect([...named].sort()).toEqual([...Object.values(ENVIRONMENT), ...OTHER_VARIABLES].sort());
  });

  test("lists every metric with its type and labels, and no other", () => {
    const listed = tableRows(sectionOf(text, "Metrics")).map(([name, type, labels = ""]) => ({
      name: codeOf(name),
      type,
      labels: labels === "" ? [] : labels.split(", "),
    }));
    expect(listed).toEqual(METRICS.map((metric) => ({ ...metric, labels: [...metric.labels] })));
  });

  test("lists every exit code, and no other", () => {
    const listed = tableRows(sectionOf(text, "Signals and exit codes")).flatMap(([codes = ""]) =>
      codes.split(", ").map(Number),
    );
    const real = new Set([...Object.values(EXIT), ...Object.values(ERRORS).map(({ exitCode }) => exitCode)]);
    expect(listed).toEqual([...real].sort((a, b) => a - b));
  });
});
