/** What an operator sets for a key, from the flags of `store`. */
import { type Command, InvalidArgumentError } from "commander";
import type { z } from "zod";
import { type Budget, type KeySettings, newKeySettings, type settingsChange } from "../../../protocols/vault/keys.ts";
import { UsageError } from "../../failure.ts";
import { tokenArgument } from "./session.ts";

export interface SettingsFlags {
  readonly header?: string;
  readonly scheme?: string;
  readonly origin?: readonly string[];
  readonly allowPrivate?: boolean;
  readonly lease?: boolean;
  readonly kinds?: readonly string[];
  readonly pools?: readonly string[];
  readonly nodes?: readonly string[];
  readonly budget?: readonly Budget[];
  readonly reset?: readonly (keyof KeySettings)[];
}

const NANO_PER_USD = 1_000_000_000;
const FIELDS = Object.keys(newKeySettings.shape) as readonly (keyof KeySettings)[];

export function addSettingsOptions(command: Command): Command {
  return command
    .option("--header <name>", "header that carries the key (default: the provider's, or authorization)", headerName)
    .option("--scheme <text>", "what stands before the key in it, such as Bearer; '' for nothing", scheme)
    .option("--origin <url>", "where calls with it may go, such as https://api.example.com; repeatable", collectOrigin)
    .option("--allow-private", "these may be addresses of a private network or of the vault's machine")
    .option("--no-allow-private", "not so (the default)")
    .option("--lease", "agents may have the key itself (the default)")
    .option("--no-lease", "agents never get the key, only calls made with it")
    .option("--kinds <list>", "only for tasks of these kinds (default: all)", tokenList)
    .option("--pools <list>", "only for tasks of these pools (default: all)", tokenList)
    .option("--nodes <list>", "only for these nodes (default: all)", tokenList)
    .option(
      "--budget <limit>",
      "at most this much: calls=1000/day, tokens=2000000/month, cost=5.50/day (US dollars); repeatable",
      collectBudget,
    )
    .option("--reset <list>", `with --update, the default again for these: ${FIELDS.join(", ")}`, fields);
}

/** The settings of a new key. @throws UsageError also for `http://` without --allow-private */
export function settingsOf(flags: SettingsFlags): z.input<typeof newKeySettings> {
  const open = flags.origin?.find((origin) => origin.startsWith("http:"));
  if (open !== undefined && !flags.allowPrivate)
    throw new UsageError(
      `${open} is not encrypted`,
      "Use https, or give --allow-private if it is an address of a private network or of the vault's machine.",
    );
  return givenOf(flags);
}

/** The settings that were given. @throws UsageError for two budgets of one sort */
function givenOf(flags: SettingsFlags): z.input<typeof newKeySettings> {
  const { header, scheme: before, origin, allowPrivate, lease, kinds, pools, nodes, budget } = flags;
  return {
    ...(header !== undefined && { header }),
    ...(before !== undefined && { scheme: before }),
    ...(origin !== undefined && { origins: [...new Set(origin)] }),
    ...(allowPrivate !== undefined && { allowPrivate }),
    ...(lease !== undefined && { lease }),
    ...(kinds !== undefined && { kinds: [...kinds] }),
    ...(pools !== undefined && { pools: [...pools] }),
    ...(nodes !== undefined && { nodes: [...nodes] }),
    ...(budget !== undefined && { budgets: distinct(budget) }),
  };
}

/** The settings that were given, and null for those that get their default again. @throws UsageError */
export function settingsChangeOf(flags: SettingsFlags): z.input<typeof settingsChange> {
  const given = givenOf(flags);
  const { reset = [] } = flags;
  const both = reset.find((field) => field in given);
  if (both !== undefined) throw new UsageError(`--reset names ${both}, which is given too`, "Give one of them.");
  return { ...given, ...Object.fromEntries(reset.map((field) => [field, null])) };
}

function distinct(budgets: readonly Budget[]): Budget[] {
  const names = budgets.map(({ unit, per }) => `${unit} per ${per}`);
  const twice = names.find((name, i) => names.indexOf(name) !== i);
  if (twice !== undefined) throw new UsageError(`two budgets for ${twice}`, "Give one of them.");
  return [...budgets];
}

function fields(text: string): readonly (keyof KeySettings)[] {
  const known = (part: string): part is keyof KeySettings => (FIELDS as readonly string[]).includes(part);
  const parts = text.split(",").map((part) => part.trim());
  if (parts.every(known)) return parts;
  throw new InvalidArgumentError(`It must be of ${FIELDS.join(", ")}, separated by commas.`);
}

function headerName(text: string): string {
  const name = text.toLowerCase();
  checked(
    newKeySettings.shape.header,
    name,
    "It must be the name of a header that can carry a key, such as x-api-key.",
  );
  return name;
}

/** `Bearer` means `Bearer ` : a word is set apart from the key, anything else stands as it is. */
function scheme(text: string): string {
  const spaced = /[A-Za-z0-9]$/.test(text) ? `${text} ` : text;
  checked(newKeySettings.shape.scheme, spaced, "It must be at most 64 printable characters.");
  return spaced;
}

function collectOrigin(text: string, before: readonly string[] = []): readonly string[] {
  const origin = text.replace(/\/$/, "");
  const complaint = "It must be https://HOST or https://HOST:PORT, without a path.";
  checked(newKeySettings.shape.origins, [origin], complaint);
  return [...before, origin];
}

function tokenList(text: string): readonly string[] {
  return text.split(",").map((part) => tokenArgument(part.trim()));
}

function collectBudget(text: string, before: readonly Budget[] = []): readonly Budget[] {
  return [...before, budgetOf(text)];
}

/** `calls=1000/day`; a cost in dollars becomes billionths, exactly. */
export function budgetOf(text: string): Budget {
  const [, unit, whole = "", fraction = "", per] =
    /^(calls|tokens|cost)=(\d{1,15})(?:\.(\d{1,9}))?\/(day|month)$/.exec(text) ?? [];
  if (unit === undefined || (unit !== "cost" && fraction !== ""))
    throw new InvalidArgumentError("It must be such as calls=1000/day, tokens=2000000/month or cost=5.50/day.");
  const limit = unit === "cost" ? Number(whole) * NANO_PER_USD + Number(fraction.padEnd(9, "0")) : Number(whole);
  if (!Number.isSafeInteger(limit)) throw new InvalidArgumentError("It is too large.");
  return { unit: unit as Budget["unit"], per: per as Budget["per"], limit };
}

function checked(schema: z.ZodType, value: unknown, complaint: string): void {
  if (!schema.safeParse(value).success) throw new InvalidArgumentError(complaint);
}
