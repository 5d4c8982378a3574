/** A history put in order, in one pass: tasks with what became of them, processes with their lives, and what struck when. */
import type {
  Beat,
  Began,
  Ended,
  Evicted,
  Exited,
  Healed,
  History,
  Outcome,
  Saw,
  Started,
  Streams,
  Struck,
  Submit,
  Told,
} from "../history.ts";

/** One execution of a task. */
export interface Execution {
  readonly began: Began;
  ended: Ended | undefined;
}

export interface Submission {
  readonly submit: Submit;
  outcome: Outcome | undefined;
}

/** What is known of one task id. */
export class Task {
  readonly pool: string;
  readonly id: string;
  /** Submissions that may have stored it; more than one where the id was submitted again. */
  readonly submissions: Submission[] = [];
  /** One of its submissions was acknowledged. */
  accepted = false;
  readonly executions: Execution[] = [];
  readonly seen: Saw[] = [];
  readonly told: Told[] = [];
  readonly stored: Streams["results"][number][] = [];

  constructor(pool: string, id: string) {
    this.pool = pool;
    this.id = id;
  }

  /** Most executions. */
  get mayBegin(): number {
    let sum = 0;
    for (const { submit } of this.submissions) sum += submit.maxAttempts;
    return sum;
  }

  get submittedAt(): number {
    return Math.min(...this.submissions.map(({ submit }) => submit.at));
  }

  /** When its result was seen first. */
  get seenAt(): number {
    return this.seen.length === 0 ? Number.POSITIVE_INFINITY : Math.min(...this.seen.map(({ at }) => at));
  }
}

/** One life of a process. */
export interface Life {
  readonly process: string;
  readonly pid: number;
  readonly role: Started["role"];
  readonly host: string | undefined;
  readonly from: number;
  exited: Exited | undefined;
  /** When it ended: infinity if it outlived the history. */
  to: number;
}

export class Record {
  readonly tasks = new Map<string, Map<string, Task>>();
  readonly submissions = new Map<string, Submission>();
  readonly executions: Execution[] = [];
  /** Executions of one process, by its pid. */
  readonly byPid = new Map<number, Execution[]>();
  /** Of every process, in their order. */
  readonly lives = new Map<string, Life[]>();
  /** Processes of the hosts that are known. */
  readonly processes = new Map<string, string>();
  readonly exits: Exited[] = [];
  readonly strikes: (Struck | Healed)[] = [];
  readonly evictions: Evicted[] = [];
  /** Moments at which a host was heard, by host. */
  readonly beats = new Map<string, number[]>();
  /** The last moment of anything. */
  end = Number.NEGATIVE_INFINITY;

  constructor(history: History, streams: Streams) {
    const started: Started[] = [];
    const outcomes: Outcome[] = [];
    const ended: Ended[] = [];
    const saws: Saw[] = [];
    const told: Told[] = [];
    for (const entry of history) {
      if (entry.at > this.end) this.end = entry.at;
      switch (entry.type) {
        case "submit":
          this.submissions.set(entry.call, { submit: entry, outcome: undefined });
          break;
        case "began":
          this.executions.push({ began: entry, ended: undefined });
          break;
        case "ended":
          ended.push(entry);
          break;
        case "saw":
          saws.push(entry);
          break;
        case "told":
          told.push(entry);
          break;
        case "started":
          started.push(entry);
          break;
        case "exited":
          this.exits.push(entry);
          break;
        case "struck":
        case "healed":
          this.strikes.push(entry);
          break;
        case "beat":
          this.#beat(entry);
          break;
        case "evicted":
          this.evictions.push(entry);
          break;
        default:
          outcomes.push(entry);
      }
    }
    this.#submissions(outcomes);
    this.#executions(ended);
    for (const saw of saws) this.task(saw.result.pool, saw.result.id).seen.push(saw);
    for (const each of told) this.task(each.pool, each.id).told.push(each);
    for (const result of streams.results) this.task(result.result.pool, result.result.id).stored.push(result);
    this.#lives(started);
    for (const beats of this.beats.values()) beats.sort((a, b) => a - b);
    this.strikes.sort((a, b) => a.at - b.at);
    this.evictions.sort((a, b) => a.at - b.at);
  }

  task(pool: string, id: string): Task {
    let ofPool = this.tasks.get(pool);
    if (ofPool === undefined) {
      ofPool = new Map();
      this.tasks.set(pool, ofPool);
    }
    let task = ofPool.get(id);
    if (task === undefined) {
      task = new Task(pool, id);
      ofPool.set(id, task);
    }
    return task;
  }

  *everyTask(): Iterable<Task> {
    for (const ofPool of this.tasks.values()) yield* ofPool.values();
  }

  /** Lives of processes that have one of `roles`. */
  livesOf(...roles: readonly Started["role"][]): readonly Life[] {
    return [...this.lives.values()].flat().filter(({ role }) => roles.includes(role));
  }

  #beat({ host, at }: Beat): void {
    const beats = this.beats.get(host);
    if (beats) beats.push(at);
    else this.beats.set(host, [at]);
  }

  #submissions(outcomes: readonly Outcome[]): void {
    for (const outcome of outcomes) {
      const submission = this.submissions.get(outcome.call);
      if (submission) submission.outcome = outcome;
    }
    for (const submission of this.submissions.values()) {
      const { submit, outcome } = submission;
      // A client that died wrote no outcome: nobody knows.
      if (outcome?.type === "refused") continue;
      const accepted = outcome?.type === "accepted";
      for (const id of (accepted ? outcome.ids : submit.ids) ?? []) {
        const task = this.task(submit.pool, id);
        task.submissions.push(submission);
        task.accepted ||= accepted;
      }
    }
  }

  #executions(ended: readonly Ended[]): void {
    const open = new Map<string, Execution[]>();
    for (const execution of this.executions) {
      const { began } = execution;
      this.task(began.pool, began.id).executions.push(execution);
      push(this.byPid, began.pid, execution);
      const key = keyOf(began);
      const same = open.get(key);
      if (same) same.push(execution);
      else open.set(key, [execution]);
    }
    for (const end of ended) {
      const execution = open.get(keyOf(end))?.find((each) => each.ended === undefined);
      if (execution) execution.ended = end;
    }
  }

  #lives(started: Started[]): void {
    const byPid = new Map<string, Life[]>();
    for (const { process, pid, role, host, at } of started.sort((a, b) => a.at - b.at)) {
      const life: Life = { process, pid, role, host, from: at, exited: undefined, to: Number.POSITIVE_INFINITY };
      push(this.lives, process, life);
      push(byPid, `${process} ${pid}`, life);
    }
    for (const exited of this.exits.sort((a, b) => a.at - b.at)) {
      const life = byPid.get(`${exited.process} ${exited.pid}`)?.find((each) => each.exited === undefined);
      if (life === undefined) continue;
      life.exited = exited;
      life.to = exited.at;
    }
    // The first life of a process can have begun before its host had an id.
    for (const { process, pid, host } of [...this.lives.values()].flat()) {
      const id = host ?? this.byPid.get(pid)?.[0]?.began.host;
      if (id !== undefined) this.processes.set(id, process);
    }
  }
}

function keyOf({ pid, agent, id, attempt }: Ended | Began): string {
  return `${pid} ${agent} ${attempt} ${id}`;
}

export function push<Key, Value>(map: Map<Key, Value[]>, key: Key, value: Value): void {
  const all = map.get(key);
  if (all) all.push(value);
  else map.set(key, [value]);
}
