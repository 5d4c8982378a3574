/** A door without HTTP in front of it, on a clock that stands still. */
import { onTestFinished } from "vitest";
import { AdmissionDoor } from "../../src/admission/door.ts";
import { PendingStore } from "../../src/admission/pending-store.ts";
import { parseToken, type Token } from "../../src/admission/token.ts";
import { TokenStore } from "../../src/admission/token-store.ts";
import { type Authority, ensureAuthority } from "../../src/bus/certificates/authority.ts";
import type { Home } from "../../src/bus/home/home.ts";
import type { AdmissionRole } from "../../src/protocols/roles.ts";
import { temporaryHome } from "./home.ts";
import { Joiner } from "./joiner.ts";
import { ManualClock } from "./manual-clock.ts";
import { RecordingLogger } from "./recording-logger.ts";

export interface Rig {
  readonly home: Home;
  readonly authority: Authority;
  readonly clock: ManualClock;
  readonly logger: RecordingLogger;
  readonly tokens: TokenStore;
  readonly pending: PendingStore;
  door: AdmissionDoor;
  restart(): void;
  joiner(user: string, options?: ConstructorParameters<typeof Joiner>[2]): Joiner;
  token(options?: Partial<{ role: AdmissionRole; uses: number; ttlMs: number; http: boolean }>): Promise<Token>;
}

export async function makeRig(): Promise<Rig> {
  const home = await temporaryHome();
  await home.credentials.prepare();
  const authority = await ensureAuthority(home.layout);
  const [clock, logger] = [new ManualClock(), new RecordingLogger()];
  const tokens = new TokenStore(home.layout, clock);
  const makeDoor = (): AdmissionDoor => new AdmissionDoor({ home, authority, clock, logger, natsPort: () => 4222 });
  const rig: Rig = {
    ...{ home, authority, clock, logger, tokens, pending: new PendingStore(home.layout, clock) },
    door: makeDoor(),
    restart: () => {
      rig.door.stop();
      rig.door = makeDoor();
    },
    joiner: (user, options) => new Joiner(() => rig.door, user, options),
    token: async (options = {}) => {
      const request = { role: "worker", ttlMs: 60_000, uses: 1, ...options } as const;
      return parseToken((await tokens.create(authority, request)).line);
    },
  };
  onTestFinished(() => rig.door.stop());
  return rig;
}

/** The last refusal in the master's log. */
export function refused({ logger }: Rig): object | undefined {
  const line = logger.lines.findLast(({ level }) => level === "warn");
  return line && { ...line.fields, message: line.message };
}
