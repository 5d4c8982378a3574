/** Draws what `vgas top` shows: pure, so that a frame of any size can be looked at without a terminal. */
import type { LaneState } from "../../swarm-view/health.ts";
import { printable, type Style } from "../style.ts";
import { age, type Column, count, cut, plural, renderTable } from "../table.ts";
import type { TopView } from "./feed.ts";

export const SORTS = ["rate", "waiting", "failing", "name"] as const;
export type Sort = (typeof SORTS)[number];

export interface FrameOptions {
  readonly columns: number;
  readonly rows: number;
  readonly style: Style;
  readonly sort: Sort;
  /** Lines that are scrolled away at the top of what is below the header. */
  readonly scroll: number;
  readonly paused: boolean;
}

/** Below this nothing can be read any more. */
const MIN_COLUMNS = 40;
const MIN_ROWS = 10;
const MAX_REASONS = 3;
/** Lines of a section besides its rows: one above it, and its heading. */
const FRAME_LINES = 2;

interface Section {
  readonly columns: readonly Column[];
  readonly rows: readonly (readonly (number | string)[])[];
}

/** Exactly `rows` lines, none wider than `columns`. */
export function frame(view: TopView, options: FrameOptions): readonly string[] {
  const { columns, rows, style } = options;
  if (columns < MIN_COLUMNS || rows < MIN_ROWS) {
    const text = `vgas top needs ${MIN_COLUMNS}x${MIN_ROWS}, this is ${columns}x${rows}`;
    return filled([cut(text, columns)], rows);
  }
  const header = headerLines(view, style, columns);
  const footer = style.dim(cut(footerText(options), columns));
  const room = rows - header.length - 1;
  const sections = sectionsOf(view, options.sort);
  const body = options.scroll > 0 ? scrolled(sections, options, room) : fitted(sections, options, room);
  return [...filled([...header, ...body], rows - 1), footer];
}

/** How far it is worth scrolling. */
export function scrollEnd(view: TopView, options: FrameOptions): number {
  const room = options.rows - headerLines(view, options.style, options.columns).length - 1;
  const lines = sectionsOf(view, options.sort).reduce((sum, { rows }) => sum + rows.length + FRAME_LINES, 0);
  return Math.max(0, lines - room);
}

/** The same for a pipe: everything, without a frame. */
export function plainText(view: TopView, style: Style): string {
  const lines = headerLines(view, style, undefined);
  for (const section of sectionsOf(view, "rate")) lines.push("", ...tableLines(section, style, undefined));
  return lines.join("\n");
}

function headerLines({ at, state, activity, trouble }: TopView, style: Style, columns: number | undefined): string[] {
  const clock = new Date(at).toTimeString().slice(0, 8);
  const clip = (text: string): string => cut(text, columns);
  if (state === undefined) return [clip(`vgas top  ${clock}  ${printable(trouble ?? "looking")}`)];
  const health = trouble === undefined ? state.health : "cut off";
  const coloured = health === "ok" ? style.green(health) : style.red(health);
  const [title, where] = ["vgas top  ", `  ${clock}  ${printable(state.url)}  prefix ${state.prefix}`];
  const room = columns === undefined ? undefined : columns - title.length - health.length;
  const lanes = [...state.lanes, ...state.unoffered];
  const sum = (of: (lane: LaneState) => number): number => lanes.reduce((all, lane) => all + of(lane), 0);
  const waiting = sum((lane) => lane.waiting);
  const load = `${plural(state.nodes, "node")}  ${count(state.running)}/${plural(state.slots, "slot")}`;
  const flow = `${rate(activity.tasksPerSecond)} tasks/s  ${count(waiting)} waiting  ${count(sum((lane) => lane.inHand))} in hand`;
  const reasons = trouble === undefined ? state.reasons : [trouble, ...state.reasons];
  const shown = reasons.slice(0, MAX_REASONS).map((reason) => style.red(clip(`! ${printable(reason)}`)));
  if (reasons.length > MAX_REASONS)
    shown.push(style.red(clip(`! and ${reasons.length - MAX_REASONS} more: vgas status`)));
  return [
    `${title}${coloured}${cut(where, room)}`,
    clip(`${load}  ${flow}  ${plural(state.dead, "dead letter")}`),
    ...shown,
  ];
}

function sectionsOf(view: TopView, sort: Sort): readonly Section[] {
  return [lanesOf(view, sort), nodesOf(view), slowestOf(view), failingOf(view)].filter(({ rows }) => rows.length > 0);
}

function lanesOf({ at, state, activity }: TopView, sort: Sort): Section {
  const rows = [...(state?.lanes ?? []), ...(state?.unoffered ?? [])].map((lane) => {
    const name = `${lane.pool}.${lane.kind}`;
    const { done = 0, failed = 0 } = activity.lanes.get(name) ?? {};
    return { ...lane, name, done, failed };
  });
  const by: Record<Sort, (a: (typeof rows)[number], b: (typeof rows)[number]) => number> = {
    rate: (a, b) => b.done - a.done,
    waiting: (a, b) => b.waiting - a.waiting,
    failing: (a, b) => b.failed - a.failed,
    name: () => 0,
  };
  rows.sort((a, b) => by[sort](a, b) || (a.name < b.name ? -1 : 1));
  return {
    columns: [
      { title: "LANE", shorten: true, min: 16 },
      { title: "AGENTS", align: "right", leaveOut: 2 },
      { title: "WAITING", align: "right", min: 7 },
      { title: "IN HAND", align: "right", leaveOut: 1 },
      { title: "OLDEST", align: "right", min: 9 },
      { title: "DONE/s", align: "right" },
      { title: "FAIL/s", align: "right" },
      { title: "" },
    ],
    rows: rows.map((lane) => [
      ...[lane.name, lane.agents, lane.waiting, lane.inHand],
      lane.oldestAt === undefined ? "" : age(at - lane.oldestAt),
      ...[rate(lane.done), rate(lane.failed)],
      lane.paused ? "paused" : lane.agents === 0 ? "nobody" : "",
    ]),
  };
}

function nodesOf({ nodes, activity }: TopView): Section {
  return {
    columns: [
      { title: "NODE", shorten: true, min: 16 },
      { title: "STATE", min: 8 },
      { title: "AGENTS", align: "right", leaveOut: 1 },
      { title: "RUNNING", align: "right", min: 8 },
      { title: "LAG ms", align: "right" },
      { title: "DONE/s", align: "right" },
      { title: "MACHINE", leaveOut: 2 },
    ],
    rows: nodes.map((node) => [
      ...[node.host, node.state, node.agents],
      node.running === undefined ? "?" : `${node.running}/${node.slots}`,
      node.lagMs === undefined ? "?" : Math.round(node.lagMs),
      rate(activity.nodes.get(node.host) ?? 0),
      node.machine ?? "?",
    ]),
  };
}

function slowestOf({ at, slowest }: TopView): Section {
  return {
    columns: [
      { title: "SLOWEST", shorten: true, min: 17 },
      { title: "KIND", shorten: true },
      { title: "AGENT", shorten: true, leaveOut: 1 },
      { title: "ATTEMPT", align: "right", leaveOut: 2 },
      { title: "RUNS FOR", align: "right", min: 9 },
    ],
    rows: slowest.map(({ id, pool, kind, agent, attempt, startedAt }) => [
      ...[id, `${pool}.${kind}`, agent, attempt],
      age(at - startedAt),
    ]),
  };
}

function failingOf({ at, activity }: TopView): Section {
  return {
    columns: [
      { title: "FAILING", shorten: true },
      { title: "CODE" },
      { title: "SEEN", align: "right" },
      { title: "LAST", align: "right", min: 9 },
      { title: "MESSAGE", shorten: true },
    ],
    rows: activity.failing.map(({ lane, code, count: seen, lastAt, message }) => [
      ...[lane, code, seen],
      age(at - lastAt),
      message,
    ]),
  };
}

/** As much of each section as fits: short ones whole, and what they leave is shared by the others. */
function fitted(sections: readonly Section[], options: FrameOptions, room: number): readonly string[] {
  const shares = shareOut(
    sections.map(({ rows }) => rows.length),
    room - FRAME_LINES * sections.length,
  );
  return sections.flatMap((section, i) => {
    const share = shares[i] ?? 0;
    const hidden = section.rows.length - share;
    const lines = tableLines({ ...section, rows: section.rows.slice(0, share) }, options.style, options.columns);
    const more = hidden > 0 ? [options.style.dim(cut(`  … ${count(hidden)} more: scroll down`, options.columns))] : [];
    return ["", ...lines.slice(0, hidden > 0 ? -1 : undefined), ...more];
  });
}

/** Everything, from line `scroll` on. */
function scrolled(sections: readonly Section[], options: FrameOptions, room: number): readonly string[] {
  const lines = sections.flatMap((section) => ["", ...tableLines(section, options.style, options.columns)]);
  return lines.slice(options.scroll, options.scroll + room);
}

/** Of `room` lines, how many each gets that wants so many. Each gets its fill, or as many as any other. */
export function shareOut(wants: readonly number[], room: number): readonly number[] {
  const shares = wants.map(() => 0);
  let left = Math.max(0, room);
  for (;;) {
    const hungry = wants.flatMap((want, i) => ((shares[i] as number) < want ? [i] : []));
    if (left === 0 || hungry.length === 0) return shares;
    for (const i of hungry) {
      if (left === 0) break;
      shares[i] = (shares[i] as number) + 1;
      left--;
    }
  }
}

function tableLines({ columns, rows }: Section, style: Style, width: number | undefined): readonly string[] {
  return renderTable(columns, rows, { style, width }).split("\n");
}

function footerText({ sort, paused, scroll }: FrameOptions): string {
  const state = `${paused ? "PAUSED  " : ""}${scroll > 0 ? `line ${scroll + 1}  ` : ""}`;
  return `${state}q quit  p ${paused ? "go on" : "pause"}  s sort: ${sort}  arrows scroll`;
}

function filled(lines: readonly string[], rows: number): readonly string[] {
  return Array.from({ length: rows }, (_, i) => lines[i] ?? "");
}

/** `0`, `0.3`, `12`, `1 204`. */
function rate(value: number): string {
  if (value === 0) return "0";
  return value < 9.95 ? value.toFixed(1) : count(Math.round(value));
}
