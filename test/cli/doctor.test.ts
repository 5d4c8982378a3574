import { execFile } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { chmod, readFile, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { promisify } from "node:util";
import { jetstreamManager } from "@nats-io/jetstream";
import { createUser, fromSeed } from "@nats-io/nkeys";
import { Command } from "commander";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { ensureAuthority } from "../../src/bus/certificates/authority.ts";
import { ensureServerCertificate } from "../../src/bus/certificates/server-certificate.ts";
import { connectBus } from "../../src/bus/connection.ts";
import { describeConnection } from "../../src/bus/credentials/connection-file.ts";
import { renderPermissions } from "../../src/bus/credentials/permissions-text.ts";
import { readSeed } from "../../src/bus/credentials/user-records.ts";
import { openHome } from "../../src/bus/home/home.ts";
import { writeMembership } from "../../src/bus/home/membership.ts";
import { ensureTopology } from "../../src/bus/topology.ts";
import { isAtLeast } from "../../src/bus/versions.ts";
import type { Cli } from "../../src/cli/cli.ts";
import { addDoctor } from "../../src/cli/commands/doctor.ts";
import { addPermissions } from "../../src/cli/commands/permissions.ts";
import type { Check } from "../../src/cli/doctor/check.ts";
import { checkCertificate, checkMdns, checkNode } from "../../src/cli/doctor/machine.ts";
import { UsageError } from "../../src/cli/failure.ts";
import { Interrupt } from "../../src/cli/interrupt.ts";
import { Terminal } from "../../src/cli/terminal.ts";
import { permissionsOf } from "../../src/protocols/roles.ts";
import { TOPOLOGY_DEFAULTS } from "../../src/protocols/streams.ts";
import { Names } from "../../src/protocols/subjects.ts";
import { startBroker, temporaryDirectory, temporaryHome } from "../support/home.ts";
import { TestNats } from "../support/nats.ts";

const names = new Names();
const HOST = "nhostaaaaa";
const SMALL = { ...TOPOLOGY_DEFAULTS, maxTaskBytes: 2 ** 20, maxResultBytes: 2 ** 20, maxDeadBytes: 2 ** 20 };
/** No port of this machine is looked at, and none has to be free. */
const QUIET = ["--nats-port", "0", "--http-port", "0"];
const ENV = { VGAS_MDNS: "0" };

const interrupt = new Interrupt();
afterAll(() => {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.removeAllListeners(signal);
});

interface Told {
  readonly code: number;
  readonly out: string;
}

async function run(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Told> {
  const [out, err] = [new PassThrough(), new PassThrough()];
  const cli: Cli = {
    terminal: new Terminal(out as never, err as never, {}),
    interrupt,
    env: { ...ENV, ...env },
    exitCode: 0,
  };
  const program = new Command().exitOverride().configureOutput({ outputError: () => undefined });
  addDoctor(program, cli);
  addPermissions(program, cli);
  await program.parseAsync(args, { from: "user" });
  return { code: cli.exitCode, out: String(out.read() ?? "") };
}

async function doctor(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Diagnosis> {
  const { code, out } = await run(["doctor", "--json", ...QUIET, ...args], env);
  const checks = out
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Check);
  return { code, checks, of: (check) => checks.find((each) => each.check === check) };
}

interface Diagnosis {
  readonly code: number;
  readonly checks: readonly Check[];
  of(check: string): Check | undefined;
}

describe("vgas doctor", () => {
  test("finds nothing wrong with what a swarm needs, says a line of each thing it looked at, and why the swarm is degraded", async () => {
    const home = await temporaryHome();
    const broker = await startBroker(home);
    const { seed } = await home.credentials.read("system");
    const bus = await connectBus({ url: broker.url, seed, inboxPrefix: "_INBOX.system", name: "test" });
    onTestFinished(() => bus.close());
    await ensureTopology(bus, names, TOPOLOGY_DEFAULTS);
    const { code, checks } = await doctor(["--home", home.dir]);
    expect(checks.filter(({ verdict }) => verdict !== "ok")).toEqual([
      {
        ...{ check: "health", verdict: "warning", message: "no node with agents is heard, so no task runs" },
        remedy: expect.stringContaining("vgas join"),
      },
    ]);
    expect(checks.map(({ check }) => check)).toEqual(
      expect.arrayContaining(["node", "home", "disk", "nats-server", "swarm", "server version", "max_payload"]),
    );
    expect(checks.map(({ check }) => check)).toEqual(
      expect.arrayContaining(["permissions", "jetstream", "stream VGAS_TASKS", "stream KV_vgas_rotation"]),
    );
    expect(code).toBe(0);
    const text = await run(["doctor", "--home", home.dir, ...QUIET]);
    expect(text.out).toMatch(
      /^ok {7}swarm: this home's NATS answers at nats:\/\/127\.0\.0\.1:\d+ to observer \(observer\)$/m,
    );
  });

  test("is not alarmed by a home without a node, nor by one that is not there", async () => {
    const { code, of } = await doctor(["--home", join(await temporaryDirectory(), "new", "home")]);
    expect(of("home")).toMatchObject({ verdict: "ok", message: expect.stringContaining("will be made") });
    expect(of("swarm")).toMatchObject({ verdict: "warning", remedy: expect.stringContaining("vgas up") });
    expect(code).toBe(0);
  });

  test("finds a home that others can read, and a port that is taken", async () => {
    const dir = await temporaryDirectory();
    await chmod(dir, 0o755);
    const server = createServer().listen(0, "127.0.0.1");
    onTestFinished(() => void server.close());
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    const { code, of } = await doctor(["--home", dir, "--nats-port", String(port)]);
    expect(of("home")).toMatchObject({ verdict: "failed", remedy: `chmod 700 ${JSON.stringify(dir)}` });
    expect(of("nats port")).toMatchObject({ verdict: "failed", message: expect.stringContaining("in use") });
    expect(code).toBe(1);
    const http = (await doctor(["--home", dir, "--http-port", String(port)])).of("http port");
    expect(http).toMatchObject({ verdict: "failed", message: expect.stringContaining("--http-port N") });
    expect(JSON.stringify(http)).not.toContain("--nats-port");
  });

  test("names on an external system the permission, the stream and the setting that are missing", async () => {
    const [pair, admin] = [createUser(), createUser()];
    const whole = permissionsOf("worker", HOST, names);
    const missing = names.event("*", "*");
    const less = { ...whole, publish: whole.publish.filter((subject) => subject !== missing) };
    const server = new TestNats({
      config: `authorization { users: [
        { nkey: ${pair.getPublicKey()}\n${renderPermissions(less, "  ")} }
        { nkey: ${admin.getPublicKey()} } ] }`,
      maxPayload: 2 ** 19,
    });
    onTestFinished(() => server.close());
    await server.start();
    const dir = await temporaryDirectory();
    const [seed, all] = [join(dir, "worker.nk"), join(dir, "admin.nk")];
    await writeFile(seed, pair.getSeed(), { mode: 0o600 });
    await writeFile(all, admin.getSeed(), { mode: 0o600 });
    const bus = await server.bus({ seed: Uint8Array.from(admin.getSeed()), user: "admin" });
    await ensureTopology(bus, names, SMALL);
    const manager = await jetstreamManager(bus.native);
    await manager.streams.update(names.streams.results, { max_msgs_per_subject: 2 });
    await manager.streams.delete(names.streams.dead);

    const worker = await doctor(["--home", dir, "--nats", server.url, "--role", "worker", "--user", HOST], {
      VGAS_NATS_SEED_FILE: seed,
    });
    expect(worker.code).toBe(1);
    expect(worker.of("permissions")).toMatchObject({
      verdict: "failed",
      details: { missing: [{ operation: "publish", subject: missing }] },
      remedy: expect.stringContaining(`vgas permissions --role worker --user ${HOST}`),
    });
    expect(worker.of("max_payload")).toMatchObject({ verdict: "failed", remedy: expect.stringContaining("1048576") });
    expect(worker.of("stream VGAS_TASKS")?.verdict).not.toBe("failed");
    expect(worker.of("streams")).toMatchObject({
      verdict: "ok",
      message: expect.stringMatching(/VGAS_DEAD.*; role worker may not$/),
    });
    expect(worker.of("permissions")?.message).toMatch(/^role worker lacks 1: /);

    const { code, of } = await doctor(["--home", dir, "--nats", server.url], { VGAS_NATS_SEED_FILE: all });
    expect(code).toBe(1);
    expect(of("permissions")?.verdict).toBe("ok");
    expect(of("stream VGAS_DEAD")).toMatchObject({
      verdict: "failed",
      message: "it is missing",
      details: { wanted: expect.objectContaining({ name: "VGAS_DEAD", subjects: ["vgas.dead.*.*"] }) },
    });
    expect(of("stream VGAS_RESULTS")).toMatchObject({
      verdict: "failed",
      message: "max_msgs_per_subject is 2, wanted 1",
    });
    // Caps that somebody made smaller are no broken promise.
    expect(of("stream VGAS_TASKS")?.verdict).toBe("warning");
  });

  test("says that nothing answers, that a credential is refused, and that there is no JetStream", async () => {
    const dir = await temporaryDirectory();
    const nobody = await doctor(["--home", dir, "--nats", "nats://127.0.0.1:1"]);
    expect(nobody.of("swarm")).toMatchObject({ verdict: "failed", message: expect.stringContaining("no NATS server") });
    expect(nobody.code).toBe(1);

    const home = await temporaryHome();
    const { url } = await startBroker(home);
    const foreign = { user: "client", seed: Uint8Array.from(createUser().getSeed()), seedFile: "" };
    const file = join(dir, "connection.json");
    await writeFile(file, JSON.stringify(await describeConnection({ url, credential: foreign, inline: true })));
    const foreignSeed = join(dir, "foreign.nk");
    await writeFile(foreignSeed, foreign.seed, { mode: 0o600 });
    const external = ["--home", dir, "--nats", url, "--role", "client"];
    // Side by side: each tries for a while, for a server that reads its users again refuses everybody.
    const [refused, given, none] = await Promise.all([
      doctor(["--home", dir, "--connection", file]),
      doctor([...external, "--nats-seed", foreignSeed]),
      doctor(external),
    ]);
    expect(refused.of("swarm")).toMatchObject({
      verdict: "failed",
      message: expect.stringContaining("refused the credential"),
    });

    const guest = await home.credentials.issue("guest");
    await writeFile(file, JSON.stringify(await describeConnection({ url, credential: guest, inline: true })));
    expect(given.of("swarm")).toMatchObject({
      verdict: "failed",
      remedy: expect.stringContaining("`vgas permissions --role client --prefix vgas --seed FILE`"),
    });
    expect(none.of("swarm")).toMatchObject({ verdict: "failed", remedy: expect.stringContaining("--nats-seed FILE") });
    for (const { checks } of [given, none]) expect(JSON.stringify(checks)).not.toContain("vgas connection");

    const admitted = await doctor(["--home", dir, "--connection", file, "--role", "guest"]);
    expect(admitted.of("permissions")).toMatchObject({ verdict: "ok" });
    const asClient = await doctor(["--home", dir, "--connection", file, "--role", "client"]);
    expect(asClient.of("jetstream")).toMatchObject({ verdict: "failed" });
    expect(asClient.code).toBe(1);
  });
});

describe("vgas doctor over TLS", () => {
  test("looks at the certificate of the node that leads, and at the swarm as a member that joined it", async () => {
    const home = await temporaryHome();
    const authority = await ensureAuthority(home.layout);
    const certificate = await ensureServerCertificate(home.layout, { names: ["localhost"], addresses: ["127.0.0.1"] });
    const { url } = await startBroker(home, { tls: { authority, certificate } });
    const leader = await doctor(["--home", home.dir]);
    expect(leader.of("certificate")).toMatchObject({ verdict: "ok", message: expect.stringMatching(/^valid until /) });
    expect(leader.of("authority")?.verdict).toBe("ok");
    expect(leader.of("swarm")).toMatchObject({ verdict: "ok", message: expect.stringContaining("tls://") });

    const pair = createUser();
    await home.credentials.register({ user: HOST, role: "worker", publicKey: pair.getPublicKey() });
    const member = await temporaryHome();
    await writeMembership(member.layout, {
      swarmId: authority.swarmId,
      pin: authority.pin,
      prefix: "vgas",
      user: HOST,
      role: "worker",
      urls: [url],
      doors: [],
      ca: authority.caPem,
      serverName: authority.serverName,
      seed: Uint8Array.from(pair.getSeed()),
      inboxPrefix: `_INBOX.${HOST}`,
    });
    const { of } = await doctor(["--home", member.dir]);
    expect(of("swarm")).toMatchObject({ verdict: "ok", message: expect.stringContaining(`to ${HOST} (worker)`) });
    expect(of("permissions")).toMatchObject({ verdict: "ok" });
    expect(of("nats port")).toBeUndefined();
    await home.credentials.revoke(HOST);
    const revoked = await doctor(["--home", member.dir]);
    expect(revoked.of("swarm")).toMatchObject({ verdict: "failed" });
    expect(revoked.code).toBe(1);
  });
});

describe("what is missing on the command line", () => {
  test.each([
    { args: ["doctor", "--nats", "nats://127.0.0.1:1", "--role", "worker"] },
    { args: ["doctor", "--nats", "nats://127.0.0.1:1", "--role", "guest"] },
    { args: ["permissions", "--role", "guest"] },
  ])("is a mistake of the user's: $args", async ({ args }) => {
    await expect(run([...args, "--home", await temporaryDirectory()])).rejects.toBeInstanceOf(UsageError);
  });

  test("is a node's name only where no home says it", async () => {
    const home = await temporaryHome();
    const server = new TestNats();
    onTestFinished(() => server.close());
    await server.start();
    const { of } = await doctor(["--home", home.dir, "--nats", server.url, "--role", "worker"]);
    expect(of("swarm")?.message).toContain(`to ${home.hostId} (worker)`);
  });
});

describe("the checks of the machine", () => {
  test.each([
    ["20.19.0", "20.19.0", true],
    ["20.18.9", "20.19.0", false],
    ["22.0.0", "20.19.0", true],
    ["2.12.1-RC.2", "2.12.0", true],
    ["2.9.10", "2.12.0", false],
    ["", "2.12.0", false],
  ])("%s is at least %s: %s", (version, minimum, expected) => {
    expect(isAtLeast(version, minimum)).toBe(expected);
  });

  test("name a Node that is too old", () => {
    expect(checkNode("18.20.0").verdict).toBe("failed");
    expect(checkNode().verdict).toBe("ok");
  });

  test("warn of an mDNS port that somebody holds alone", async () => {
    const socket = createSocket("udp4");
    onTestFinished(() => void socket.close());
    socket.bind(0);
    await once(socket, "listening");
    expect(await checkMdns(socket.address().port)).toMatchObject({ check: "mdns", verdict: "warning" });
    const shared = createSocket({ type: "udp4", reuseAddr: true });
    onTestFinished(() => void shared.close());
    shared.bind(0);
    await once(shared, "listening");
    expect(await checkMdns(shared.address().port)).toMatchObject({ check: "mdns", verdict: "ok" });
  });

  test("tell how long a certificate lasts", async () => {
    const dir = await temporaryDirectory();
    const [key, file] = [join(dir, "k"), join(dir, "c")];
    const make = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "100"];
    await promisify(execFile)("openssl", [...make, "-subj", "/CN=x", "-keyout", key, "-out", file]);
    const pem = await readFile(file, "utf8");
    const day = 24 * 3_600_000;
    const at = (days: number): string =>
      checkCertificate("certificate", pem, Date.now() + days * day, "renew it").verdict;
    expect([at(-10), at(1), at(80), at(120)]).toEqual(["failed", "ok", "warning", "failed"]);
    expect(checkCertificate("certificate", "no PEM", Date.now(), "renew it").verdict).toBe("failed");
  });
});

describe("vgas permissions", () => {
  test("prints what a server can be configured with, for each role", async () => {
    const pairs = { admin: "admin", client: "client", observer: "observer", worker: HOST, dispatcher: HOST } as const;
    for (const [role, user] of Object.entries(pairs)) {
      const { out } = await run(["permissions", "--role", role, "--user", user, "--prefix", "other"]);
      const server = new TestNats({
        config: `authorization { users: [\n${out.replace("PUBLIC_NKEY\n", `${createUser().getPublicKey()}\n`)} ] }`,
      });
      onTestFinished(() => server.close());
      await server.start();
      expect(out).toContain(`"_INBOX.${user}.>"`);
      expect(out).toContain('"other.');
      expect(out).not.toContain('"vgas.');
      const json = JSON.parse((await run(["permissions", "--role", role, "--user", user, "--json"])).out);
      expect(json).toMatchObject({ role, user, prefix: "vgas" });
      await server.stop();
    }
  });

  test("prints for a guest what its account imports and the swarm's exports", async () => {
    const { out } = await run(["permissions", "--role", "guest", "--user", "gabcdefghi"]);
    expect(out).toContain('service: "vgas.guests.*.tasks.*.*"');
    expect(out).toContain("GUEST_gabcdefghi {");
    expect(out).toContain('subject: "vgas.guests.gabcdefghi.results.*.*" }, to: "vgas.results.*.*"');
    const json = JSON.parse((await run(["permissions", "--role", "guest", "--user", "gabcdefghi", "--json"])).out);
    expect(json.imports).toHaveLength(4);
    expect(json.account).toBe("GUEST_gabcdefghi");
  });

  test("binds a node's to the home that it is asked for, and makes it", async () => {
    const home = join(await temporaryDirectory(), "home");
    const { out } = await run(["permissions", "--role", "dispatcher", "--home", home]);
    const { hostId } = await openHome(home);
    expect(out).toMatch(new RegExp(`^# role dispatcher .* for node ${hostId}, `));
    expect(out).toContain(`"_INBOX.${hostId}.>"`);
    expect((await run(["permissions", "--role", "worker", "--home", home])).out).toContain(`"_INBOX.${hostId}.>"`);
    const json = JSON.parse((await run(["permissions", "--role", "system", "--home", home, "--json"])).out);
    expect(json).toEqual({ role: "system", user: hostId, prefix: "vgas", publish: [">"], subscribe: [">"] });
  });

  test("makes a seed that nobody else can read, once, and prints its public key", async () => {
    const dir = await temporaryDirectory();
    const seed = join(dir, "client.nk");
    const first = await run(["permissions", "--role", "client", "--seed", seed]);
    const made = await readFile(seed, "utf8");
    expect((await stat(seed)).mode & 0o777).toBe(0o600);
    expect(first.out).toContain(`nkey: ${fromSeed(await readSeed(seed)).getPublicKey()}\n`);
    expect(first.out).not.toContain(made.trim());
    expect(await run(["permissions", "--role", "client", "--seed", seed])).toEqual(first);
    expect(await readFile(seed, "utf8")).toBe(made);
    const guest = await run(["permissions", "--role", "guest", "--user", "gabcdefghi", "--seed", seed]);
    expect(guest.out).toMatch(/users: \[\n +\{\n +nkey: U/);
    await chmod(seed, 0o644);
    await expect(run(["permissions", "--role", "client", "--seed", seed])).rejects.toThrow("chmod 600");
    await writeFile(seed, "", { mode: 0o600 });
    await chmod(seed, 0o600);
    await expect(run(["permissions", "--role", "client", "--seed", seed])).rejects.toThrow("holds no seed");
  });

  test.each([
    { args: ["--role", "worker", "--user", "a.b"], message: "must be a token" },
    { args: ["--role", "guest", "--user", "nabc"], message: "a guest's name" },
    { args: ["--role", "king"], message: "Allowed choices" },
  ])("refuses $args", async ({ args, message }) => {
    await expect(run(["permissions", ...args])).rejects.toThrow(message);
  });
});
