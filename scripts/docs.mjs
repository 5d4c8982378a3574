/**
 * Writes docs/api from the docstrings of what src/index.ts exports; `--check` only says what is not as they say.
 *
 * The compiler's declarations are read, not the sources: they have the types that are inferred. Nothing is needed for it that the
 * build does not need.
 */
import "./lib/node-version.mjs";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { paths, root } from "./lib/checkout.mjs";
import { declarationsOf, isInternal, membersOf } from "./lib/declarations.mjs";
import { run } from "./lib/run.mjs";

const folder = join(root, "docs/api");

/** Page by the beginning of the path of what it is about; the first that fits. @type {[page: string, title: string, about: RegExp][]} */
const PAGES = [
  ["client", "Client library", /^client(?:\.ts|\/)/],
  ["agents", "Agents", /^actors\/agent\/|^testing/],
  ["host", "Hosting nodes and actors", /^(?:host|config)\.ts|^host\/|^actors\/runtime\//],
  ["messages", "Tasks, results, events and errors", /./],
];

const pages = await render();
if (process.argv.includes("--check")) {
  const stale = [...pages].filter(([name, text]) => readIfThere(join(folder, name)) !== text).map(([name]) => name);
  const strays = existsSync(folder) ? readdirSync(folder).filter((name) => !pages.has(name)) : [];
  for (const name of [...stale, ...strays])
    process.stderr.write(`docs/api/${name}: not what the docstrings say: npm run docs\n`);
  process.exitCode = stale.length + strays.length === 0 ? 0 : 1;
} else {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of pages) writeFileSync(join(folder, name), text);
  process.stderr.write(`${pages.size} pages written to docs/api\n`);
}

/** @returns {Promise<Map<string, string>>} text by file name */
async function render() {
  mkdirSync(paths.cache, { recursive: true });
  const dir = mkdtempSync(join(paths.cache, "api-"));
  try {
    const compiler = join(paths.nodeModules, "typescript/bin/tsc");
    const options = ["-p", "tsconfig.build.json", "--declarationMap", "false", "--outDir", dir];
    const { code } = await run(process.execPath, [compiler, ...options], { cwd: root, show: true });
    if (code !== 0) throw new Error("the sources do not compile");
    return renderPages(
      exportsOf(["index", "testing"].map((name) => readFileSync(join(dir, `${name}.d.ts`), "utf8")).join("\n")),
      dir,
    );
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/**
 * Names by the file that declares them.
 * @param {string} index
 * @returns {[name: string, file: string][]}
 */
function exportsOf(index) {
  return [...index.matchAll(/export (?:type )?\{([^}]*)\} from "\.\/([^"]+)"/g)].flatMap(([, names = "", file = ""]) =>
    names
      .split(",")
      .map((name) => name.trim().replace(/^type /, ""))
      .filter((name) => name !== "")
      .map((name) => /** @type {[string, string]} */ ([name, file.replace(/\.js$/, ".ts")])),
  );
}

/**
 * @param {readonly [name: string, file: string][]} exported
 * @param {string} dir
 */
function renderPages(exported, dir) {
  /** @type {Map<string, string>} */
  const texts = new Map();
  const index = ["# API", "", 'What `import … from "vgas"` gives, made from the docstrings by `npm run docs`.', ""];
  const sorted = [...exported].sort(([one], [other]) => (one < other ? -1 : 1));
  for (const [page, title, about] of PAGES) {
    const entries = sorted.filter(([, file]) => PAGES.find(([, , each]) => each.test(file))?.[2] === about);
    if (entries.length === 0) continue;
    const rendered = entries.map(([name, file]) => entryOf(name, file, dir));
    texts.set(`${page}.md`, `${[`# ${title}`, ...rendered].join("\n\n")}\n`);
    index.push(
      `- [${title}](${page}.md): ${entries.map(([name]) => `[${name}](${page}.md#${name.toLowerCase()})`).join(", ")}`,
    );
  }
  texts.set("README.md", `${index.join("\n")}\n`);
  return texts;
}

/**
 * @param {string} name
 * @param {string} file
 * @param {string} dir
 */
function entryOf(name, file, dir) {
  const found = declarationsOf(readFileSync(join(dir, file.replace(/\.ts$/, ".d.ts")), "utf8"));
  const declaration = found.find((each) => each.name === name);
  if (declaration === undefined) throw new Error(`${file} declares no ${name}`);
  const schema = /= z\.infer<typeof ([\w$]+)>/.exec(declaration.code)?.[1];
  const doc = declaration.doc || (schema === undefined ? "" : (found.find((each) => each.name === schema)?.doc ?? ""));
  const parts = [`## ${name}`, prose(doc), `Source: [src/${file}](../../src/${file})`];
  if (schema !== undefined) parts.push(`\`\`\`ts\n${schemaOf(file, schema)}\n\`\`\``);
  else if (!/^export (?:declare )?(?:abstract )?(?:class|interface)\b/.test(declaration.code))
    parts.push(code(declaration.code));
  else {
    parts.push(code(`${(declaration.code.split("\n")[0] ?? "").replace(/ \{.*$/, "")}`));
    for (const member of membersOf(declaration.code))
      parts.push(`### ${name}.${member.name}`, code(member.code), prose(member.doc));
  }
  return parts.filter((part) => part !== "").join("\n\n");
}

/**
 * A schema of zod reads better than the type that is inferred from it.
 * @param {string} file
 * @param {string} name
 */
function schemaOf(file, name) {
  const text = readFileSync(join(paths.src, file), "utf8");
  return new RegExp(`^export const ${name} = [\\s\\S]*?;$`, "m").exec(text)?.[0] ?? "";
}

/** @param {string} text */
function code(text) {
  return `\`\`\`ts\n${text.replace(/^export (?:declare )?/gm, "").replace(/^(?: {4})+/gm, (indent) => " ".repeat(indent.length / 2))}\n\`\`\``;
}

/** @param {string} doc */
function prose(doc) {
  if (isInternal(doc)) return "";
  return doc
    .replace(/^@throws /gm, "**Throws** ")
    .replace(/^@returns /gm, "**Returns** ")
    .replace(/^@param (\w+) /gm, "- `$1`: ");
}

/** @param {string} path */
function readIfThere(path) {
  return existsSync(path) ? readFileSync(path, "utf8") : undefined;
}
