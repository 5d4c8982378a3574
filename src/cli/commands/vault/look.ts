/** `list` and `show`: the keys as everybody may see them. */
import type { Command } from "commander";
import { leasable } from "../../../actors/vault/accounting/budgets.ts";
import type { KeyView } from "../../../protocols/vault/keys.ts";
import type { Cli } from "../../cli.ts";
import { printable, type Style } from "../../style.ts";
import { renderTable, wrap } from "../../table.ts";
import { addNameOption, DEFAULT_NAME } from "./keys.ts";
import { addVaultCommand, tokenArgument, type VaultFlags, withVault } from "./session.ts";
import { budgetText, dollars, keyName, minute, time, tokensText, usesText } from "./text.ts";

interface ShowFlags extends VaultFlags {
  readonly name?: string;
}

export function addList(vault: Command, cli: Cli): void {
  addVaultCommand(vault, "list")
    .summary("the keys, without their values")
    .description(
      "Shows every key: its version, its last four characters, its use. A narrow terminal shows less of it. With --json one object a line.",
    )
    .action(async (flags: VaultFlags) => {
      await withVault(cli, flags, async ({ call }) => {
        const { keys } = await call("list", {});
        const { terminal } = cli;
        if (flags.json) for (const key of keys) terminal.data(JSON.stringify(key));
        else if (keys.length === 0) terminal.note("The vault has no key yet: `vgas vault store PROVIDER`.");
        else terminal.data(keyTable(keys, terminal.outStyle, terminal.outColumns));
      });
    });
}

export function addShow(vault: Command, cli: Cli): void {
  addNameOption(addVaultCommand(vault, "show"))
    .summary("one key, without its value")
    .description("Shows the settings, the state and the use of one key; never the key itself.")
    .argument("<provider>", "whose key", tokenArgument)
    .action(async (provider: string, flags: ShowFlags) => {
      await withVault(cli, flags, async ({ call }) => {
        const key = await call("show", { provider, name: flags.name ?? DEFAULT_NAME });
        cli.terminal.data(flags.json ? JSON.stringify(key) : keyText(key, cli.terminal.outColumns));
      });
    });
}

function keyTable(keys: readonly KeyView[], style: Style, width: number | undefined): string {
  return renderTable(
    [
      { title: "KEY", shorten: true },
      { title: "VERSION", align: "right", leaveOut: 5 },
      { title: "ENDS IN", leaveOut: 2 },
      { title: "FINGERPRINT", leaveOut: 6 },
      { title: "USES", align: "right", leaveOut: 4 },
      { title: "TOKENS", align: "right", leaveOut: 3 },
      { title: "COST", align: "right" },
      { title: "LAST USED", leaveOut: 1 },
      { title: "STATE" },
    ],
    keys.map((key) => [
      keyName(key),
      key.version,
      key.last4 ?? "",
      key.fingerprint,
      key.usage.calls + key.usage.leases,
      key.usage.inputTokens + key.usage.outputTokens,
      dollars(key.usage.costNanoUsd),
      minute(key.lastUsedAt),
      stateOf(key),
    ]),
    { style, width },
  );
}

function stateOf({ resting, budgets }: KeyView): string {
  if (resting !== undefined) return `rests until ${time(resting.until)}`;
  return budgets.some(({ used, reserved, limit }) => used + reserved >= limit) ? "budget used up" : "ready";
}

/** One field a line, or more where the terminal is narrower. */
function keyText(key: KeyView, columns: number | undefined): string {
  const { settings, resting, usage } = key;
  const { header, scheme, origins, allowPrivate } = settings;
  const fields: [string, string][] = [
    ["key", keyName(key)],
    ["version", `${key.version}, sealed under term ${key.term}`],
    ["ends in", key.last4 ?? "not shown: the key is too short"],
    ["fingerprint", key.fingerprint],
  ];
  if (header !== undefined) fields.push(["header", `${header}: ${scheme ?? ""}<key>`]);
  if (origins !== undefined)
    fields.push(["calls to", origins.length === 0 ? "nowhere: give --origin" : origins.join(" ")]);
  fields.push(["private", allowPrivate ? "addresses of private networks too" : "public addresses only"]);
  fields.push(["leases", leasesText(key)]);
  for (const field of ["kinds", "pools", "nodes"] as const)
    fields.push([field, settings[field] === undefined ? "all" : settings[field].join(" ")]);
  fields.push(["created", time(key.createdAt)], ["changed", time(key.changedAt)], ["last used", time(key.lastUsedAt)]);
  if (resting !== undefined)
    fields.push(["rests", `until ${time(resting.until)}: the provider answered ${resting.status}`]);
  fields.push(["used", usesText(usage)], ["tokens", tokensText(usage)], ["cost", dollars(usage.costNanoUsd)]);
  for (const budget of key.budgets) fields.push(["budget", budgetText(budget)]);
  const width = Math.max(...fields.map(([field]) => field.length)) + 2;
  const room = columns === undefined ? undefined : Math.max(1, columns - width);
  return fields
    .flatMap(([field, value]) =>
      wrap(printable(value), room).map((line, i) => `${(i === 0 ? field : "").padEnd(width)}${line}`.trimEnd()),
    )
    .join("\n");
}

function leasesText({ settings: { lease }, budgets }: KeyView): string {
  if (lease === false) return "no: agents only make calls with it";
  return leasable(budgets)
    ? "yes: agents may have the key"
    : "no: it has a budget of tokens or cost, and what is done with a leased key cannot be counted";
}
