import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const ROOT = new URL("../../", import.meta.url);

/** Text of a file of this checkout. */
export function readSource(path: string): string {
  return readFileSync(fileURLToPath(new URL(path, ROOT)), "utf8");
}

/** What stands below the heading `## title`, up to the next heading of that level. */
export function sectionOf(text: string, title: string): string {
  const sections = text.split(/^## /m).slice(1);
  const section = sections.find((each) => each.split("\n", 1)[0] === title);
  if (section === undefined) throw new Error(`there is no heading "## ${title}"`);
  return section;
}

/** Cells of all table rows, headers and rules left out. */
export function tableRows(text: string): string[][] {
  const lines = text.split("\n");
  return lines.flatMap((line, i) => {
    const isHeading = lines[i + 1]?.startsWith("|---") === true;
    if (!line.startsWith("| ") || isHeading) return [];
    const cells = line.split("|").slice(1, -1);
    return [cells.map((cell) => cell.trim())];
  });
}

/** `text` of a cell that is nothing but inline code; undefined for any other. */
export function codeOf(cell: string | undefined): string | undefined {
  return /^`([^`]+)`$/.exec(cell ?? "")?.[1];
}

/** Lines of the fenced block with that language. */
export function blockLines(text: string, language: string): string[] {
  const block = new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\``, "m").exec(text)?.[1];
  if (block === undefined) throw new Error(`there is no block "${language}"`);
  return block.trimEnd().split("\n");
}
