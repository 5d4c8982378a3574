/** The main results as an SVG: one panel of horizontal bars for each chart, readable in light and in dark. */
import type { Bar, Chart } from "./benchmark.ts";
import type { Results } from "./document.ts";
import { median } from "./statistics.ts";

const WIDTH = 920;
const MARGIN = 24;
const HEADER = 64;
const BAR = 18;
const ROW = 26;
const PANEL_HEAD = 46;
const PANEL_GAP = 18;
/** Where bars begin and at most end; the figures stand behind the longest whisker. */
const LEFT = 300;
const RIGHT = WIDTH - MARGIN - 150;

const STYLE = `
  svg { --back: #ffffff; --text: #1f2328; --faint: #59636e; --rule: #d1d9e0; --vgas: #0969da; --floor: #8c959f; --rival: #bc4c00; }
  @media (prefers-color-scheme: dark) {
    svg { --back: #0d1117; --text: #f0f6fc; --faint: #9198a1; --rule: #3d444d; --vgas: #4493f8; --floor: #656c76; --rival: #db6d28; }
  }
  .back { fill: var(--back); }
  text { font: 13px system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; fill: var(--text); }
  .title { font-size: 18px; font-weight: 600; }
  .chart { font-size: 14px; font-weight: 600; }
  .faint { fill: var(--faint); font-size: 12px; }
  .label { text-anchor: end; }
  .own { font-weight: 600; }
  .rule { stroke: var(--rule); }
  .vgas { fill: var(--vgas); } .floor { fill: var(--floor); } .rival { fill: var(--rival); }
  .spread { stroke: var(--text); stroke-width: 1.5; fill: none; opacity: 0.75; }
`;

export function picture({ at, machine, versions, pairs, benchmarks }: Results): string {
  const charts = benchmarks.flatMap((benchmark) => benchmark.charts).map(withSamples);
  const panels: string[] = [];
  let y = HEADER + MARGIN;
  for (const chart of charts.filter(({ bars }) => bars.length > 0)) {
    panels.push(panel(chart, y));
    y += PANEL_HEAD + chart.bars.length * ROW + PANEL_GAP;
  }
  const height = y + MARGIN / 2;
  const where = `${machine.cores} cores (${machine.processor}), ${machine.memoryGiB} GiB`;
  const what = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="title">
<style>${STYLE}</style>
<rect class="back" width="${WIDTH}" height="${height}" rx="8"/>
<text id="title" class="title" x="${MARGIN}" y="36">vgas: what the benchmarks measured</text>
<text class="faint" x="${MARGIN}" y="57">${escaped(`${at.slice(0, 10)}, ${where}, ${what.join(", ")}`)}</text>
<text class="faint" x="${MARGIN}" y="75">Medians of ${pairs} pairs, of fewer where nothing is judged; the line across a bar is the spread, lowest to highest.</text>
${panels.join("\n")}
</svg>
`;
}

function withSamples(chart: Chart): Chart {
  return { ...chart, bars: chart.bars.filter(({ samples }) => samples.some(Number.isFinite)) };
}

function panel({ title, unit, digits = 0, bars }: Chart, top: number): string {
  const most = Math.max(...bars.flatMap(({ samples }) => samples.filter(Number.isFinite)));
  const scale = (value: number): number => LEFT + (Math.max(0, value) / (most || 1)) * (RIGHT - LEFT);
  const rows = bars.map((bar, i) => row(bar, top + PANEL_HEAD + i * ROW, digits, scale));
  return `<g>
<line class="rule" x1="${MARGIN}" y1="${top}" x2="${WIDTH - MARGIN}" y2="${top}"/>
<text class="chart" x="${MARGIN}" y="${top + 24}">${escaped(title)}</text>
<text class="faint" x="${WIDTH - MARGIN}" y="${top + 24}" text-anchor="end">${escaped(unit)}</text>
${rows.join("\n")}
</g>`;
}

function row({ label, samples, of }: Bar, y: number, digits: number, scale: (value: number) => number): string {
  const known = samples.filter(Number.isFinite);
  const [low, middle, high] = [Math.min(...known), median(known), Math.max(...known)];
  const format = { maximumFractionDigits: digits, minimumFractionDigits: digits };
  const text = y + BAR - 4;
  const centre = y + BAR / 2;
  const [from, to] = [scale(low), scale(high)].map((x) => x.toFixed(1));
  return `<text class="label${of === "vgas" ? " own" : ""}" x="${LEFT - 10}" y="${text}">${escaped(label)}</text>
<rect class="${of}" x="${LEFT}" y="${y}" width="${Math.max(1, scale(middle) - LEFT).toFixed(1)}" height="${BAR}" rx="2"/>
${known.length > 1 ? `<path class="spread" d="M${from} ${centre}H${to}M${from} ${centre - 4}v8M${to} ${centre - 4}v8"/>` : ""}
<text x="${(scale(high) + 8).toFixed(1)}" y="${text}"${of === "vgas" ? ' class="own"' : ""}>${middle.toLocaleString("en", format)}</text>`;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
