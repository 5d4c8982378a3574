/**
 * A swarm that exists on paper only, for the tests of the checker: it rotates strictly, loses nothing and does nothing twice, while
 * hosts and dispatchers are killed, paused and stopped and the broker goes away. Time is made up as well.
 */
import type { ResultStatus } from "../../src/protocols/result.ts";
import type { RosterRange, RotationRecord } from "../../src/protocols/rotation.ts";
import type { Began, Entry, LaneIndex, Streams, Submit } from "./history.ts";

export interface MadeUp {
  history: Entry[];
  streams: { -readonly [Key in keyof Streams]: Streams[Key] };
  index: LaneIndex[];
}

export interface MadeUpOptions {
  readonly hosts?: number;
  readonly dispatchers?: number;
  readonly agents?: number;
  readonly slots?: number;
  readonly messages?: number;
  readonly strikes?: readonly StrikeName[];
  /** Between two strikes, ms. */
  readonly pauseMs?: number;
}

export const STRIKES = [
  "kill host",
  "stop host",
  "pause host",
  "kill dispatcher",
  "pause dispatcher",
  "kill broker",
] as const;
export type StrikeName = (typeof STRIKES)[number];

const LANE = { pool: "default", kind: "work" };

interface Member {
  readonly name: string;
  pid: number;
  run: number;
  up: boolean;
  paused: boolean;
}

interface Host extends Member {
  draining: boolean;
  readonly running: number[];
}

interface Work {
  readonly id: string;
  readonly submit: Submit;
  readonly ending: "ok" | "fails" | "fails first" | "kills";
  done: boolean;
}

interface Waiting {
  readonly work: Work;
  readonly attempt: number;
}

interface Place {
  readonly host: Host;
  readonly agent: number;
}

interface Running {
  readonly work: Work;
  readonly began: Began;
  readonly host: Host;
  readonly agent: number;
  cut: boolean;
}

export function madeUp(random: () => number, options: MadeUpOptions = {}): MadeUp {
  return new Swarm(random, options).live();
}

class Swarm {
  readonly #random: () => number;
  readonly #options: Required<MadeUpOptions>;
  readonly #events: { readonly at: number; readonly does: () => void }[] = [];
  readonly #history: Entry[] = [];
  readonly #results: Streams["results"][number][] = [];
  readonly #dead: Streams["dead"][number][] = [];
  readonly #records: LaneIndex["records"][number][] = [];
  readonly #rosters: LaneIndex["rosters"][number][] = [];
  readonly #hosts: Host[];
  readonly #dispatchers: Member[];
  readonly #broker: Member = { name: "broker", pid: 1, run: 1, up: true, paused: false };
  readonly #waiting: Waiting[] = [];
  readonly #running = new Set<Running>();
  #now = 0;
  #pids = 100;
  #revision = 0;
  #sequence = 0;
  #nonces = 0;
  #record: RotationRecord = { v: 1, index: 0, base: 0, roster: 0, by: "", nonce: "" };
  #places: Place[] = [];

  constructor(random: () => number, options: MadeUpOptions) {
    this.#random = random;
    this.#options = {
      hosts: 3,
      dispatchers: 2,
      agents: 2,
      slots: 3,
      messages: 60,
      strikes: [],
      pauseMs: 12_000,
      ...options,
    };
    const member = (name: string): Member => ({ name, pid: this.#pids++, run: 1, up: true, paused: false });
    this.#hosts = Array.from({ length: this.#options.hosts }, (_, i) => ({
      ...member(`host-${i}`),
      draining: false,
      running: new Array<number>(this.#options.agents).fill(0),
    }));
    this.#dispatchers = Array.from({ length: this.#options.dispatchers }, (_, i) => member(`dispatcher-${i}`));
  }

  live(): MadeUp {
    const { messages, strikes, pauseMs } = this.#options;
    this.#started(this.#broker, "broker");
    for (const dispatcher of this.#dispatchers) this.#started(dispatcher, "dispatcher");
    for (const host of this.#hosts) {
      this.#started(host, "host");
      this.#after(this.#random() * 1_000, () => this.#beat(host));
    }
    this.#newRoster();
    const lasts = (strikes.length + 1) * pauseMs;
    for (let i = 0; i < messages; i++) this.#after(5_000 + this.#random() * lasts, () => this.#submit(i));
    for (const [i, strike] of strikes.entries()) this.#after(6_000 + i * pauseMs, () => this.#strike(strike));
    const end = lasts + 60_000;
    for (let next = this.#next(); next && next.at < end; next = this.#next()) {
      this.#now = next.at;
      next.does();
    }
    return {
      history: this.#history,
      streams: { results: this.#results, dead: this.#dead, waiting: this.#waiting.length },
      index: [{ ...LANE, records: this.#records, rosters: this.#rosters }],
    };
  }

  #after(ms: number, does: () => void): void {
    const event = { at: this.#now + ms, does };
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#events[middle] as typeof event).at > event.at) low = middle + 1;
      else high = middle;
    }
    this.#events.splice(low, 0, event);
  }

  #next(): { readonly at: number; readonly does: () => void } | undefined {
    return this.#events.pop();
  }

  #one<Value>(all: readonly Value[]): Value {
    return all[Math.floor(this.#random() * all.length)] as Value;
  }

  #started({ name, pid }: Member, role: "broker" | "dispatcher" | "host"): void {
    const host = role === "host" ? { host: name } : {};
    this.#history.push({ type: "started", at: this.#now, process: name, pid, role, ...host });
  }

  #beat(host: Host): void {
    if (host.up && !host.paused && this.#broker.up) {
      this.#history.push({ type: "beat", at: this.#now, host: host.name, run: `${host.name}.${host.run}` });
    }
    this.#after(1_000, () => this.#beat(host));
  }

  #submit(i: number): void {
    const call = `call-${i}`;
    const own = this.#random() < 0.5;
    const count = this.#random() < 0.2 ? 5 : 1;
    const array = count > 1;
    const ending = this.#one(["ok", "ok", "ok", "ok", "fails", "fails first"] as const);
    const maxAttempts = this.#one([1, 3, 100]);
    const hostile = !array && this.#random() < 0.05;
    const failing = ending === "fails" || (ending === "fails first" && maxAttempts === 1);
    const ends: readonly ResultStatus[] = hostile || failing ? ["failed"] : ["ok"];
    const ids = own && !hostile ? Array.from({ length: count }, (_, n) => `task-${i}-${n}`) : null;
    const submit: Submit = {
      type: "submit",
      at: this.#now,
      call,
      ...LANE,
      ids,
      count,
      maxAttempts,
      ends,
      ...(hostile && { hostile: "malformed" }),
    };
    this.#history.push(submit);
    const refused = this.#random() < 0.05;
    const lost = !this.#broker.up;
    const sequence = 1_000 + i;
    const known = ids ?? Array.from({ length: count }, (_, n) => (array ? `s${sequence}-${n}` : `s${sequence}`));
    this.#after(2, () => {
      const at = this.#now;
      if (refused) this.#history.push({ type: "refused", at, call, code: "RESOURCE_LIMIT" });
      else if (lost) this.#history.push({ type: "unknown", at, call, code: "TIMEOUT" });
      else this.#history.push({ type: "accepted", at, call, ids: known });
    });
    if (refused || (lost && this.#random() < 0.5)) return;
    for (const id of known) {
      const work: Work = { id, submit, ending, done: false };
      if (hostile) this.#store(work, { status: "failed", attempt: 0, code: "INVALID", reason: "malformed" });
      else this.#waiting.push({ work, attempt: 1 });
    }
    this.#after(3, () => this.#pump());
  }

  /** Draws for what waits, as often as an agent has a free slot. */
  #pump(): void {
    const dealers = this.#dispatchers.filter(({ up, paused }) => up && !paused);
    if (!this.#broker.up || dealers.length === 0 || this.#waiting.length === 0) return;
    const free = ({ host, agent }: Place): boolean =>
      host.up && !host.draining && (host.running[agent] as number) < this.#options.slots;
    const size = this.#places.length;
    let { index } = this.#record;
    const drawn: (() => void)[] = [];
    while (this.#waiting.length > 0 && this.#places.some(free)) {
      const ticket = index++;
      const place = this.#places[(ticket - this.#record.base) % size] as Place;
      if (!free(place)) continue;
      const { work, attempt } = this.#waiting.shift() as Waiting;
      place.host.running[place.agent] = (place.host.running[place.agent] as number) + 1;
      drawn.push(() => this.#begin(work, attempt, ticket, place.host, place.agent));
    }
    if (drawn.length === 0) return;
    this.#write({ ...this.#record, index }, this.#one(dealers));
    for (const begin of drawn) begin();
  }

  #write(record: RotationRecord, by: Member): void {
    this.#record = { ...record, by: `${by.name}.${by.run}`, nonce: `${by.name}.${this.#nonces++}` };
    this.#records.push({ revision: ++this.#revision, record: this.#record });
  }

  #newRoster(): void {
    const { agents, slots } = this.#options;
    const members = this.#hosts.filter(({ up, paused, draining }) => up && !paused && !draining);
    const ranges = members.map(
      ({ name, run }): RosterRange => ({ host: name, run: `${name}.${run}`, first: 0, count: agents, slots }),
    );
    this.#places = members.flatMap((host) => Array.from({ length: agents }, (_, agent) => ({ host, agent })));
    this.#rosters.push({ revision: ++this.#revision, ranges });
    const { index } = this.#record;
    this.#write({ ...this.#record, base: index, roster: this.#revision }, this.#dispatchers[0] as Member);
    this.#pump();
  }

  #begin(work: Work, attempt: number, ticket: number, host: Host, agent: number): void {
    const { pid, name } = host;
    const at = this.#now + 1;
    const began: Began = {
      type: "began",
      at,
      ...LANE,
      id: work.id,
      attempt,
      ticket,
      agent: `${name}-${agent}`,
      host: name,
      pid,
    };
    this.#history.push(began);
    const running: Running = { work, began, host, agent, cut: false };
    this.#running.add(running);
    this.#after(2 + this.#random() * 300, () => this.#end(running));
  }

  #end(running: Running): void {
    const { work, began, host, agent } = running;
    // One that was killed wrote nothing.
    if (host.pid !== began.pid || !host.up) return;
    if (host.paused || !this.#broker.up) {
      this.#after(100, () => this.#end(running));
      return;
    }
    this.#running.delete(running);
    const { id, attempt, pid } = began;
    const threw = work.ending === "fails" || (work.ending === "fails first" && attempt === 1);
    this.#history.push({
      type: "ended",
      at: this.#now,
      id,
      attempt,
      agent: began.agent,
      host: host.name,
      pid,
      threw,
    });
    host.running[agent] = (host.running[agent] as number) - 1;
    if (!threw) this.#store(work, { status: "ok", attempt, began });
    else if (attempt >= work.submit.maxAttempts || work.ending === "fails") {
      this.#store(work, { status: "failed", attempt, began, code: "TASK_FAILED", reason: "attempts-exhausted" });
    } else if (!running.cut) this.#again(work, attempt, 500);
    this.#pump();
  }

  #again(work: Work, attempt: number, afterMs: number): void {
    this.#after(afterMs, () => {
      if (work.done) return;
      const { maxAttempts } = work.submit;
      if (attempt < maxAttempts) {
        this.#waiting.push({ work, attempt: attempt + 1 });
        this.#pump();
      } else {
        const code = maxAttempts === 1 ? "INTERRUPTED" : "CRASHED_REPEATEDLY";
        this.#store(work, { status: "failed", attempt, code, reason: "crashed-repeatedly" });
      }
    });
  }

  #store(
    work: Work,
    how: {
      readonly status: ResultStatus;
      readonly attempt: number;
      readonly began?: Began;
      readonly code?: string;
      readonly reason?: string;
    },
  ): void {
    if (work.done) return;
    work.done = true;
    const { status, attempt, began, code, reason } = how;
    const result = {
      id: work.id,
      ...LANE,
      status,
      attempt,
      submittedAt: 0,
      finishedAt: 0,
      ...(began && { agent: began.agent, host: began.host, ticket: began.ticket }),
      ...(code !== undefined && { error: { code, message: code, retryable: false } }),
    };
    const stored = { sequence: ++this.#sequence, digest: `${work.id}.${attempt}`, result };
    this.#results.push(stored);
    if (reason !== undefined) this.#dead.push({ id: work.id, pool: LANE.pool, reason });
    this.#after(5, () => this.#history.push({ type: "saw", at: this.#now, ...stored }));
  }

  #strike(fault: StrikeName): void {
    const whom = fault.endsWith("host")
      ? this.#one(this.#hosts)
      : fault.endsWith("broker")
        ? this.#broker
        : this.#one(this.#dispatchers);
    const process = whom.name;
    this.#history.push({ type: "struck", at: this.#now, fault, process });
    const healed = (): void => {
      this.#history.push({ type: "healed", at: this.#now, fault, process });
    };
    if (fault === "kill host") this.#killHost(whom as Host, healed);
    else if (fault === "stop host") this.#stopHost(whom as Host, healed);
    else if (fault === "pause host") this.#pauseHost(whom as Host, healed);
    else if (fault === "kill dispatcher") this.#killDispatcher(whom, healed);
    else if (fault === "pause dispatcher") this.#pause(whom, healed);
    else this.#killBroker(healed);
  }

  #killHost(host: Host, healed: () => void): void {
    this.#exited(host, "SIGKILL");
    this.#after(1_000 + this.#random() * 1_000, () => {
      this.#evict(host, "nobody listens there");
      this.#newRoster();
      this.#redo(host, host.pid);
    });
    this.#after(3_500, () => {
      host.running.fill(0);
      this.#restart(host, "host", healed);
      this.#after(1_000, () => this.#newRoster());
    });
  }

  #stopHost(host: Host, healed: () => void): void {
    const stoppedAt = this.#now;
    host.draining = true;
    this.#newRoster();
    const look = (): void => {
      if (host.running.some((running) => running > 0)) this.#after(10, look);
      else {
        this.#exited(host, 0, stoppedAt);
        this.#after(1_500, () => this.#evict(host, "nobody listens there"));
        this.#after(3_000, () => {
          host.draining = false;
          this.#restart(host, "host", healed);
          this.#after(1_000, () => this.#newRoster());
        });
      }
    };
    look();
  }

  #pauseHost(host: Host, healed: () => void): void {
    const { pid } = host;
    host.paused = true;
    this.#after(3_100, () => {
      this.#evict(host, "it fell silent");
      this.#newRoster();
      this.#redo(host, pid);
    });
    this.#after(6_000, () => {
      host.paused = false;
      healed();
      this.#after(1_000, () => this.#newRoster());
    });
  }

  #killDispatcher(dispatcher: Member, healed: () => void): void {
    // The tickets of its open batch are wasted, and what it had in hand comes back.
    this.#write({ ...this.#record, index: this.#record.index + 3 }, dispatcher);
    const held = this.#waiting.shift();
    if (held) this.#again(held.work, held.attempt, 10_000);
    this.#exited(dispatcher, "SIGKILL");
    this.#after(1_000, () => this.#restart(dispatcher, "dispatcher", healed));
  }

  #pause(dispatcher: Member, healed: () => void): void {
    dispatcher.paused = true;
    this.#after(4_000, () => {
      dispatcher.paused = false;
      healed();
      this.#pump();
    });
  }

  #killBroker(healed: () => void): void {
    this.#exited(this.#broker, "SIGKILL");
    this.#after(1_000, () => {
      this.#restart(this.#broker, "broker", healed);
      this.#pump();
    });
  }

  #exited(member: Member, code: number | string, stoppedAt?: number): void {
    member.up = false;
    const { name, pid } = member;
    const stopped = stoppedAt === undefined ? {} : { stoppedAt };
    this.#history.push({ type: "exited", at: this.#now, process: name, pid, code, expected: true, ...stopped });
  }

  #restart(member: Member, role: "host" | "dispatcher" | "broker", healed: () => void): void {
    member.pid = this.#pids++;
    member.run++;
    member.up = true;
    this.#started(member, role);
    healed();
  }

  #evict(host: Host, why: string): void {
    for (const { name, up, paused } of this.#dispatchers) {
      if (up && !paused) this.#history.push({ type: "evicted", at: this.#now, process: name, host: host.name, why });
    }
  }

  /** What `host` ran in that life runs again. */
  #redo(host: Host, pid: number): void {
    for (const running of this.#running) {
      if (running.host !== host || running.began.pid !== pid) continue;
      running.cut = true;
      if (!host.up || host.pid !== pid) this.#running.delete(running);
      this.#again(running.work, running.began.attempt, 20);
    }
  }
}
