/**
 * Checks that the documents name only what exists: relative links and their anchors, npm scripts, commands of the CLI.
 * Exits with 1 and one line per mistake.
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { root } from "./lib/checkout.mjs";
import { filesBelow } from "./lib/files.mjs";

const scripts = Object.keys(JSON.parse(readFileSync(join(root, "package.json"), "utf8")).scripts ?? {});
const commands = commandNames();
const documents = [
  ...readdirSync(root).filter((name) => name.endsWith(".md")),
  ...["docs", "examples", "bench"].flatMap((folder) =>
    filesBelow(join(root, folder))
      // What the benchmarks compare with is not ours.
      .filter((path) => path.endsWith(".md") && !path.includes("/node_modules/"))
      .map((path) => relative(root, path)),
  ),
];

const mistakes = documents.flatMap((document) => {
  const text = readFileSync(join(root, document), "utf8");
  return [...brokenLinks(document, text), ...unknownScripts(text), ...unknownCommands(text)].map(
    (mistake) => `${document}: ${mistake}`,
  );
});
for (const mistake of mistakes) process.stderr.write(`${mistake}\n`);
process.stderr.write(`${documents.length} documents checked, ${mistakes.length} mistakes\n`);
process.exitCode = mistakes.length === 0 ? 0 : 1;

/**
 * @param {string} document
 * @param {string} text
 * @returns {string[]}
 */
function brokenLinks(document, text) {
  const mistakes = [];
  for (const [, target = ""] of withoutCode(text).matchAll(/\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)/g)) {
    if (/^[a-z][a-z0-9+.-]*:/i.test(target)) continue;
    const [file = "", anchor] = decodeURIComponent(target).split("#");
    const path = file === "" ? join(root, document) : resolve(root, dirname(document), file);
    if (!existsSync(path)) mistakes.push(`link to ${target}: no such file`);
    else if (anchor !== undefined && path.endsWith(".md") && !anchorsOf(path).has(anchor)) {
      mistakes.push(`link to ${target}: no such heading`);
    }
  }
  return mistakes;
}

/** @param {string} text */
function unknownScripts(text) {
  const named = [...text.matchAll(/\bnpm run ([a-z][\w:-]*)/g)].map(([, name = ""]) => name);
  return [...new Set(named)].filter((name) => !scripts.includes(name)).map((name) => `npm run ${name}: no such script`);
}

/**
 * Commands count only in code, as `vgas NAME` at the start of a command: prose may say "vgas does".
 * @param {string} text
 */
function unknownCommands(text) {
  if (commands === undefined) return [];
  const code = [...text.matchAll(/^(```|~~~)[^\n]*\n([\s\S]*?)^\1/gm), ...text.matchAll(/(`)([^`\n]+)`/g)];
  const named = code.flatMap(([, , body = ""]) =>
    [...body.matchAll(/(?:^|[|;&(]|\$ |npx )[ \t]*(?:\.?\/?bin\/|\.\/)?vgas ([a-z][\w-]*)/gm)].map(
      ([, name = ""]) => name,
    ),
  );
  return [...new Set(named)].filter((name) => !commands.has(name)).map((name) => `vgas ${name}: no such command`);
}

/** @returns {Set<string> | undefined} undefined as long as there is no CLI */
function commandNames() {
  const folder = join(root, "src/cli/commands");
  if (!existsSync(folder) || !statSync(folder).isDirectory()) return undefined;
  const names = readdirSync(folder).map((name) => name.replace(/\.ts$/, ""));
  return new Set([...names, "help"]);
}

/**
 * Headings as GitHub makes anchors of them.
 * @param {string} path
 */
function anchorsOf(path) {
  /** @type {Map<string, number>} */
  const seen = new Map();
  const anchors = new Set();
  for (const [, heading = ""] of withoutCode(readFileSync(path, "utf8"), false).matchAll(/^#{1,6}\s+(.+?)\s*#*$/gm)) {
    const slug = heading
      .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replace(/\s/g, "-");
    const count = seen.get(slug) ?? 0;
    seen.set(slug, count + 1);
    anchors.add(count === 0 ? slug : `${slug}-${count}`);
  }
  return anchors;
}

/**
 * @param {string} text
 * @param {boolean} [inline] whether `inline code` goes too
 */
function withoutCode(text, inline = true) {
  const withoutBlocks = text.replace(/^(```|~~~)[^\n]*\n[\s\S]*?^\1/gm, "");
  return inline ? withoutBlocks.replace(/`[^`\n]*`/g, "") : withoutBlocks;
}
