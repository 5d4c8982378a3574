/**
 * Reads declaration files as the compiler writes them: each declaration begins in the first column, each member of a class or an
 * interface four columns in, and a docstring stands right above what it is about.
 */

/** @typedef {{ name: string, doc: string, code: string }} Declared a docstring without its stars, and the code below it */

/**
 * The top-level declarations of a file; overloads are one.
 * @param {string} text
 * @returns {Declared[]}
 */
export function declarationsOf(text) {
  return declared(
    text.split("\n"),
    "",
    /^(?:export )?(?:declare )?(?:abstract )?(?:class|interface|type|function|const) ([\w$]+)/,
  );
}

/**
 * The public members of a class or an interface.
 * @param {string} code
 * @returns {Declared[]}
 */
export function membersOf(code) {
  const lines = code.split("\n").slice(1, -1);
  const members = declared(lines, "    ", /^(?:static |override |readonly |get |set |async )*([\w$]+|\[[^\]]+\])/);
  return members.filter(
    ({ name, code: member, doc }) =>
      !/^#|^(?:private|protected)\b/.test(member) && !isInternal(doc) && name !== "constructor",
  );
}

/** @param {string} doc */
export function isInternal(doc) {
  return /@internal\b/.test(doc);
}

/**
 * @param {readonly string[]} lines
 * @param {string} indent
 * @param {RegExp} named
 * @returns {Declared[]}
 */
function declared(lines, indent, named) {
  /** @type {Declared[]} */
  const found = [];
  let doc = "";
  for (let i = 0; i < lines.length; i++) {
    const line = lines[i] ?? "";
    if (!line.startsWith(indent)) continue;
    const own = line.slice(indent.length);
    if (own.startsWith("/**")) {
      const from = i;
      while (!lines[i]?.endsWith("*/")) i++;
      doc = docOf(lines.slice(from, i + 1).join("\n"));
      continue;
    }
    const from = i;
    let depth = depthOf(own);
    while ((depth > 0 || !/[;}]$/.test(lines[i] ?? "")) && i + 1 < lines.length) depth += depthOf(lines[++i] ?? "");
    const code = lines
      .slice(from, i + 1)
      .map((each) => each.slice(indent.length))
      .join("\n");
    const name = named.exec(own)?.[1];
    const last = found.at(-1);
    if (name !== undefined && doc === "" && last?.name === name) last.code += `\n${code}`;
    else if (name !== undefined) found.push({ name, doc, code });
    else if (own.startsWith("#")) found.push({ name: "#private", doc: "@internal", code });
    doc = "";
  }
  return found;
}

/** Brackets that a line leaves open; those of arrows and in texts do not count. @param {string} line */
function depthOf(line) {
  const bare = line.replace(/"(?:[^"\\]|\\.)*"|=>/g, "").replace(/\/\*.*?\*\//g, "");
  return (bare.match(/[{([<]/g)?.length ?? 0) - (bare.match(/[})\]>]/g)?.length ?? 0);
}

/** @param {string} comment */
function docOf(comment) {
  const lines = comment
    .replace(/^\s*\/\*\*\s?/, "")
    .replace(/\s*\*\/$/, "")
    .split("\n");
  return lines
    .map((line) => line.replace(/^\s*\* ?/, ""))
    .join("\n")
    .trim();
}
