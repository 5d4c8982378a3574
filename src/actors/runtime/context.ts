/** What all actors of one host share. */
import type { Clock, Random } from "../../protocols/clock.ts";
import type { Logger } from "../../protocols/logger.ts";
import type { Escalation, EscalationDecision, InspectionEvent } from "./inspection.ts";
import type { Listeners } from "./listeners.ts";

export interface RuntimeContext {
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly inspection: Listeners<InspectionEvent>;
  readonly escalate: (escalation: Escalation) => EscalationDecision;
}
