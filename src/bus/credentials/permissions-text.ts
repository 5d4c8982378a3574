/** Permissions, exports and imports as nats-server's configuration has them. */
import type { Export, Import } from "../../protocols/guest-account.ts";
import type { Permissions } from "../../protocols/roles.ts";

/** A `permissions` block. `indent` stands before each line. */
export function renderPermissions({ publish, subscribe, deny }: Permissions, indent: string): string {
  const inner = `${indent}  `;
  return [
    `${indent}permissions: {`,
    `${inner}publish: { allow: [${list(publish, inner)}]${denied(deny?.publish, inner)} }`,
    `${inner}subscribe: { allow: [${list(subscribe, inner)}]${denied(deny?.subscribe, inner)} }`,
    `${indent}}\n`,
  ].join("\n");
}

export function renderExports(exports: readonly Export[], indent: string): string {
  const lines = exports.map(({ kind, subject }) => `${indent}  { ${kind}: ${JSON.stringify(subject)} }\n`);
  return `${indent}exports: [\n${lines.join("")}${indent}]\n`;
}

/** `account` is the one that exports them. */
export function renderImports(imports: readonly Import[], account: string, indent: string): string {
  const lines = imports.map(({ kind, subject, to }) => {
    const renamed = to === subject ? "" : `, to: ${JSON.stringify(to)}`;
    return `${indent}  { ${kind}: { account: ${account}, subject: ${JSON.stringify(subject)} }${renamed} }\n`;
  });
  return `${indent}imports: [\n${lines.join("")}${indent}]\n`;
}

function denied(subjects: readonly string[] | undefined, indent: string): string {
  return subjects === undefined || subjects.length === 0 ? "" : `, deny: [${list(subjects, indent)}]`;
}

function list(subjects: readonly string[], indent: string): string {
  return subjects.map((subject) => `\n${indent}  ${JSON.stringify(subject)}`).join("");
}
