import { describe, expect, test } from "vitest";
import * as limits from "../../src/protocols/limits.ts";
import { permissionsOf } from "../../src/protocols/roles.ts";
import { HEADERS, HOST_OPERATIONS, Names } from "../../src/protocols/subjects.ts";
import { ENVELOPE_FIELDS, KNOWN_FIELDS } from "../../src/protocols/task.ts";
import { blockLines, codeOf, readSource, sectionOf, tableRows } from "./documents.ts";

const text = readSource("docs/protocol.md");
const names = new Names();

describe("docs/protocol.md", () => {
  test("has every limit at its value, and no other", () => {
    const rows = tableRows(sectionOf(text, "Limits")).map(([name, value]) => [codeOf(name), Number(value)]);
    const { MAX_BURST_BYTES } = limits;
    const bounds = Object.entries(limits).filter(([name]) => name.startsWith("MAX_") && name !== "MAX_BURST_BYTES");
    expect(Object.fromEntries(rows)).toEqual(Object.fromEntries(bounds));
    expect(text).toContain(`split at ${MAX_BURST_BYTES.toLocaleString("en").replaceAll(",", " ")} bytes`);
  });

  test("lists exactly what a client may publish and subscribe to", () => {
    const { publish, subscribe } = permissionsOf("client", "client", names);
    expect(blockLines(text, "client-publish")).toEqual(publish);
    expect(blockLines(text, "client-subscribe").sort()).toEqual([...subscribe].sort());
  });

  test("lists every field of a task that the swarm interprets", () => {
    const fields = tableRows(sectionOf(text, "Submit a task")).map(([field]) => codeOf(field));
    expect(fields).toEqual(expect.arrayContaining([...KNOWN_FIELDS]));
    expect(ENVELOPE_FIELDS.length).toBeLessThan(KNOWN_FIELDS.size);
  });

  test("lists every subject", () => {
    const subjects = tableRows(sectionOf(text, "Subjects")).map(([subject]) => codeOf(subject));
    expect(subjects).toEqual(
      expect.arrayContaining([
        names.task("<pool>", "<kind>"),
        names.now("<pool>", "<kind>"),
        names.result("<pool>", "<taskId>"),
        names.event("<pool>", "<taskId>"),
        names.dead("<pool>", "<taskId>"),
        names.cancel("<pool>", "<taskId>"),
        names.actor("<name>"),
        names.actor("<name>", "<hostId>"),
        names.heartbeat("<hostId>"),
        names.host("<hostId>", "*"),
        names.settled("<dispatcherId>"),
        names.audit("<vaultId>"),
      ]),
    );
  });

  test("lists every request to a host", () => {
    const subjects = tableRows(sectionOf(text, "Inside the swarm")).map(([, subject]) => codeOf(subject));
    expect(subjects).toEqual(expect.arrayContaining(HOST_OPERATIONS.map((operation) => names.host("<h>", operation))));
  });

  test("names every stream, bucket and header of vgas", () => {
    const own = Object.values(HEADERS).filter((header) => header.startsWith("Vgas-"));
    for (const name of [...Object.values(names.streams), ...Object.values(names.buckets), ...own]) {
      expect(text).toContain(`\`${name}`);
    }
  });
});
