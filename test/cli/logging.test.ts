import { randomBytes } from "node:crypto";
import { describe, expect, test } from "vitest";
import { formatToken, newToken } from "../../src/admission/token.ts";
import { jsonLogger } from "../../src/cli/logging.ts";
import { withoutSecrets } from "../../src/cli/secrets.ts";
import { withFields } from "../../src/protocols/logger.ts";

/** A logger and the lines that it has written. */
function recorder(level: Parameters<typeof jsonLogger>[0] = "debug") {
  const lines: string[] = [];
  return { lines, logger: jsonLogger(level, { write: (line) => void lines.push(line) }) };
}

const SEED = `SU${"A2".repeat(28)}`;
const TOKEN = formatToken(newToken({ swarmId: "abcdefghij", pin: randomBytes(32).toString("base64url") }));

describe("the log", () => {
  test("is one JSON object a line, with level, time, pid, message and fields", () => {
    const { logger, lines } = recorder();
    logger.warn({ task: "s1", code: 5 }, "it failed");
    const line = JSON.parse(lines.join("")) as Record<string, unknown>;
    expect(line).toMatchObject({ level: 40, pid: process.pid, task: "s1", code: 5, msg: "it failed" });
    expect(lines[0]).toMatch(/^[^\n]*\n$/);
  });

  test("leaves out what is below its level, and all with `silent`", () => {
    const { logger, lines } = recorder("warn");
    logger.info({}, "not this");
    logger.error({}, "this");
    const quiet = recorder("silent");
    quiet.logger.error({}, "not this either");
    expect([lines.length, quiet.lines.length]).toEqual([1, 0]);
  });

  test("has the fields that are bound to it on each line, as they are then", () => {
    const { logger, lines } = recorder();
    const bindings: { node?: string } = {};
    const bound = withFields(logger, bindings);
    bound.info({}, "before");
    bindings.node = "nabc";
    withFields(bound, { task: "s1" }).info({ attempt: 1 }, "after");
    const [before, after] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(before).not.toHaveProperty("node");
    expect(after).toMatchObject({ node: "nabc", task: "s1", attempt: 1 });
  });

  test("shows an error with its type, message and stack under err", () => {
    const { logger, lines } = recorder();
    logger.error({ err: new RangeError("too far") }, "it failed");
    const { err } = JSON.parse(lines.join("")) as { err: Record<string, string> };
    expect(err).toMatchObject({ type: "RangeError", message: "too far" });
    expect(err["stack"]).toContain("logging.test");
  });

  test.each([
    ["an nkey seed", SEED, SEED],
    ["a token", TOKEN, TOKEN.slice(-50)],
    ["a key of OpenAI", `sk-proj-${"aB3_".repeat(10)}`, "aB3_aB3_"],
    ["a key of Anthropic", `sk-ant-api03-${"aB3-".repeat(20)}`, "aB3-aB3-"],
    ["a key of Google", `AIza${"aB3_".repeat(8)}`, "aB3_aB3_"],
    ["a bearer", `Authorization: Bearer ${"abc.def".repeat(4)}`, "abc.def"],
    ["a password of a URL", "nats://user:hunter22@host:4222", "hunter22"],
  ])("hides %s in a message, in a field and in an error, and the line stays JSON", (_, text, secret) => {
    const { logger, lines } = recorder();
    logger.error({ field: text, nested: { list: [text] }, err: new Error(text) }, `it was ${text}`);
    const line = lines.join("");
    expect(line).not.toContain(secret);
    expect(line.match(/\[secret\]/g)?.length).toBeGreaterThanOrEqual(4);
    expect(JSON.parse(line)).toHaveProperty("msg");
  });

  test("hides what a field is named for", () => {
    const { logger, lines } = recorder();
    logger.info(
      { apiKey: 'correct "horse', password: "battery", seed: "staple", secret: 1234567 },
      "passphrase=hunter22",
    );
    const line = lines.join("");
    for (const secret of ["correct", "horse", "battery", "staple", "hunter22"]) expect(line).not.toContain(secret);
    expect(JSON.parse(line)).toMatchObject({ password: "[secret]", seed: "[secret]", secret: 1234567 });
  });

  test("hides a private key in PEM, however its lines are broken", () => {
    const pem = `-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQ\nYDK2VwBCIE\n-----END PRIVATE KEY-----`;
    const { logger, lines } = recorder();
    logger.info({ pem }, "x");
    expect(lines.join("")).not.toContain("MC4CAQ");
    expect(JSON.parse(lines.join(""))).toHaveProperty("msg", "x");
  });

  test.each([
    "task s1795979 of kind sk-short",
    "subject vgas.tasks.default.echo",
    "SUBJECT",
    "a seed of ten",
    "http://host:80/a@b",
  ])("leaves %j as it is", (text) => {
    expect(withoutSecrets(text)).toBe(text);
  });
});
