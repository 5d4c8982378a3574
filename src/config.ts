/** Configuration of a node: flag beats environment beats config file beats default; checked once, then frozen. */
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { z } from "zod";
import { VgasError } from "./protocols/errors.ts";
import { isToken } from "./protocols/tokens.ts";

export const ROLES = ["dispatcher", "agents", "vault", "discovery", "http"] as const;
/** What a node does. */
export type NodeTask = (typeof ROLES)[number];

const token = z.string().refine(isToken, "must be a token [A-Za-z0-9_-]{1,64}");
const port = z.number().int().min(0).max(65_535);
const url = z
  .string()
  .regex(
    /^(?:nats|tls):\/\/[^\s,]+(?:,(?:nats|tls):\/\/[^\s,]+)*$/,
    "must be nats://HOST:PORT or tls://HOST:PORT, several separated by commas",
  );

const UNLOCK = /^(?:prompt|stdin|file:.+|env:[A-Za-z_][A-Za-z0-9_]*|systemd(?::[A-Za-z0-9._-]+)?|keyring)$/;

/** `host:port`, `[v6]:port`. */
const PEER = /^(?:[^\s:[\]]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}$/;

const schema = z.strictObject({
  home: z.string().min(1),
  prefix: token,
  natsUrl: url.optional(),
  /** nkey seed for an external NATS system. */
  natsSeedFile: z.string().min(1).optional(),
  /** Certificate authority of an external NATS system. */
  natsCaFile: z.string().min(1).optional(),
  natsPort: port,
  httpPort: port,
  /** Listen beyond loopback, over TLS, and announce the node. */
  lan: z.boolean(),
  /** Announce and browse by mDNS, where `lan` or joining asks for it. */
  mdns: z.boolean(),
  /** Network interfaces to announce and browse on, by name or address; none: all but those of containers and tunnels. */
  interfaces: z.array(z.string().min(1)),
  /** HTTP doors of masters to ask without mDNS. */
  peers: z.array(z.string().regex(PEER, "must be HOST:PORT")),
  pool: token,
  agents: z.number().int().min(0).max(10_000),
  slots: z.number().int().min(1).max(10_000),
  modules: z.array(z.string().min(1)),
  /** Load modules again when they, or files that they import, change. */
  watch: z.boolean(),
  roles: z.array(z.enum(ROLES)).min(1),
  replicas: z.number().int().min(1).max(5),
  durability: z.enum(["process", "power"]),
  resultsTtlMs: z.number().int().min(1_000),
  /** Most messages of a kind and priority that are not finished; 0 is no limit. */
  maxWaiting: z.number().int().min(0).max(1_000_000_000),
  graceMs: z.number().int().min(0).max(86_400_000),
  /** Where the vault's passphrase comes from at the start; without it the vault stays sealed (unlock.ts). */
  vaultUnlock: z
    .string()
    .regex(UNLOCK, "must be prompt, stdin, file:PATH, env:NAME, systemd, systemd:NAME or keyring")
    .optional(),
  logLevel: z.enum(["debug", "info", "warn", "error", "silent"]),
});

export type Config = Readonly<z.infer<typeof schema>>;
export type ConfigInput = { readonly [Field in keyof Config]?: Config[Field] | undefined };

const DEFAULTS = {
  prefix: "vgas",
  natsPort: 4222,
  httpPort: 8080,
  lan: false,
  mdns: true,
  interfaces: [],
  peers: [],
  pool: "default",
  agents: 4,
  slots: 16,
  modules: [],
  watch: false,
  roles: [...ROLES],
  replicas: 1,
  durability: "process",
  resultsTtlMs: 24 * 3_600_000,
  maxWaiting: 0,
  graceMs: 30_000,
  logLevel: "info",
} satisfies Omit<ConfigInput, "home" | "natsUrl" | "natsSeedFile" | "natsCaFile" | "vaultUnlock">;

/** Environment variable of each field. Lists are separated by commas. */
export const ENVIRONMENT: Readonly<Record<keyof Config, string>> = {
  home: "VGAS_HOME",
  prefix: "VGAS_PREFIX",
  natsUrl: "VGAS_NATS_URL",
  natsSeedFile: "VGAS_NATS_SEED_FILE",
  natsCaFile: "VGAS_NATS_CA_FILE",
  natsPort: "VGAS_NATS_PORT",
  httpPort: "VGAS_HTTP_PORT",
  lan: "VGAS_LAN",
  mdns: "VGAS_MDNS",
  interfaces: "VGAS_INTERFACES",
  peers: "VGAS_PEERS",
  pool: "VGAS_POOL",
  agents: "VGAS_AGENTS",
  slots: "VGAS_SLOTS",
  modules: "VGAS_MODULES",
  watch: "VGAS_WATCH",
  roles: "VGAS_ROLES",
  replicas: "VGAS_REPLICAS",
  durability: "VGAS_DURABILITY",
  resultsTtlMs: "VGAS_RESULTS_TTL_MS",
  maxWaiting: "VGAS_MAX_WAITING",
  graceMs: "VGAS_GRACE_MS",
  vaultUnlock: "VGAS_VAULT_UNLOCK",
  logLevel: "VGAS_LOG_LEVEL",
};

const NUMBERS: ReadonlySet<keyof Config> = new Set([
  "natsPort",
  "httpPort",
  "agents",
  "slots",
  "replicas",
  "resultsTtlMs",
  "maxWaiting",
  "graceMs",
]);
const LISTS: ReadonlySet<keyof Config> = new Set(["modules", "roles", "interfaces", "peers"]);
const SWITCHES: ReadonlySet<keyof Config> = new Set(["lan", "mdns", "watch"]);

const SWITCH: Readonly<Record<string, boolean>> = {
  ...{ 1: true, true: true, yes: true, on: true },
  ...{ 0: false, false: false, no: false, off: false },
};

/**
 * Resolves a configuration. `flags` are typed values; `env` is the process's environment; the config file is
 * `<home>/config.json`, if it is there.
 *
 * @throws VgasError CONFIG naming the field, where it was set, the bound and the value
 */
export function resolveConfig(
  flags: ConfigInput,
  env: Readonly<Record<string, string | undefined>> = process.env,
): Config {
  const fromEnv = readEnvironment(env);
  const home = resolve(flags.home ?? fromEnv.home ?? join(homedir(), ".vgas"));
  const fromFile = readConfigFile(join(home, "config.json"));
  const merged: Record<string, unknown> = { ...DEFAULTS };
  const sources: Record<string, string> = {};
  for (const [source, layer] of [
    [join(home, "config.json"), fromFile],
    ["the environment", fromEnv],
    ["the command line", flags],
  ] as const) {
    for (const [field, value] of Object.entries(layer)) {
      if (value === undefined) continue;
      merged[field] = value;
      sources[field] = source;
    }
  }
  merged["home"] = home;
  const parsed = schema.safeParse(merged);
  if (parsed.success) return Object.freeze(parsed.data);
  const issue = parsed.error.issues[0];
  const field = String(issue?.path[0] ?? (issue?.code === "unrecognized_keys" ? issue.keys[0] : ""));
  const where = sources[field] ? ` (set by ${sources[field]})` : "";
  throw new VgasError("CONFIG", `${field}: ${issue?.message}, got ${JSON.stringify(merged[field])}${where}`);
}

function readEnvironment(env: Readonly<Record<string, string | undefined>>): ConfigInput {
  const values: Record<string, unknown> = {};
  for (const [field, name] of Object.entries(ENVIRONMENT) as [keyof Config, string][]) {
    const text = env[name];
    if (text === undefined || text === "") continue;
    if (NUMBERS.has(field)) {
      const number = Number(text);
      if (!Number.isFinite(number))
        throw new VgasError("CONFIG", `${name} must be a number, got ${JSON.stringify(text)}`);
      values[field] = number;
    } else if (SWITCHES.has(field)) {
      const on = SWITCH[text.toLowerCase()];
      if (on === undefined) throw new VgasError("CONFIG", `${name} must be 1 or 0, got ${JSON.stringify(text)}`);
      values[field] = on;
    } else values[field] = LISTS.has(field) ? text.split(",").map((part) => part.trim()) : text;
  }
  return values;
}

function readConfigFile(path: string): ConfigInput {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    // Absent is the usual case; what else is wrong with the home is said when it is opened.
    if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return {};
    throw new VgasError("CONFIG", `${path} cannot be read: ${(error as Error).message}`, { cause: error });
  }
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  } catch (error) {
    throw new VgasError("CONFIG", `${path} is not JSON: ${(error as Error).message}`, { cause: error });
  }
  throw new VgasError("CONFIG", `${path} must hold one JSON object`);
}
