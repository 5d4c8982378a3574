/** `list` and `show`: the keys as everybody may see them. */
import type { Command } from "commander";
import type { KeyView } from "../../../protocols/vault/keys.ts";
import type { Cli } from "../../cli.ts";
import { printable, type Style } from "../../style.ts";
import { renderTable } from "../../table.ts";
import { addNameOption, DEFAULT_NAME } from "./keys.ts";
import { addVaultCommand, tokenArgument, type VaultFlags, withVault } from "./session.ts";
import { budgetText, dollars, keyName, time, usageText } from "./text.ts";

interface ShowFlags extends VaultFlags {
  readonly name?: string;
}

export function addList(vault: Command, cli: Cli): void {
  addVaultCommand(vault, "list")
    .summary("the keys, without their values")
    .description("Shows every key: its version, its last four characters, its use. With --json one object a line.")
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
        cli.terminal.data(flags.json ? JSON.stringify(key) : keyText(key));
      });
    });
}

function keyTable(keys: readonly KeyView[], style: Style, width: number | undefined): string {
  return renderTable(
    [
      { title: "KEY" },
      { title: "VERSION", align: "right" },
      { title: "ENDS IN" },
      { title: "FINGERPRINT" },
      { title: "USES", align: "right" },
      { title: "TOKENS", align: "right" },
      { title: "COST", align: "right" },
      { title: "LAST USED" },
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
      time(key.lastUsedAt),
      stateOf(key),
    ]),
    { style, width },
  );
}

function stateOf({ resting, budgets }: KeyView): string {
  if (resting !== undefined) return `rests until ${time(resting.until)}`;
  return budgets.some(({ used, reserved, limit }) => used + reserved >= limit) ? "budget used up" : "ready";
}

/** One field a line. */
function keyText(key: KeyView): string {
  const { settings, resting } = key;
  const { header, scheme, origins, allowPrivate, lease } = settings;
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
  fields.push(["leases", lease === false ? "no: agents only make calls with it" : "yes: agents may have the key"]);
  for (const field of ["kinds", "pools", "nodes"] as const)
    fields.push([field, settings[field] === undefined ? "all" : settings[field].join(" ")]);
  fields.push(["created", time(key.createdAt)], ["changed", time(key.changedAt)], ["last used", time(key.lastUsedAt)]);
  if (resting !== undefined)
    fields.push(["rests", `until ${time(resting.until)}: the provider answered ${resting.status}`]);
  fields.push(["used", usageText(key.usage)]);
  for (const budget of key.budgets) fields.push(["budget", budgetText(budget)]);
  const width = Math.max(...fields.map(([field]) => field.length)) + 2;
  return fields.map(([field, value]) => `${field.padEnd(width)}${printable(value)}`).join("\n");
}
