/** Who may read over HTTP from another machine: whoever has the whole line of a usable token that may observe. */
import type { Authority } from "../bus/certificates/authority.ts";
import type { Clock } from "../protocols/clock.ts";
import { VgasError } from "../protocols/errors.ts";
import type { AdmissionRole } from "../protocols/roles.ts";
import { parseToken, publicKeyHash, sameText, type Token, tokenPublicKey } from "./token.ts";
import { refusalOf, type TokenStore, unknownToken } from "./token-store.ts";

/** A dispatcher reads all that an observer reads; the other roles do not. */
const MAY_OBSERVE: readonly AdmissionRole[] = ["observer", "dispatcher"];

/** Longer than any token line, in characters. */
const MAX_LINE_CHARS = 512;

export interface BearerParts {
  readonly authority: Authority;
  readonly tokens: TokenStore;
  readonly clock: Clock;
}

/** Never throws. What is wrong with a token is told only to who has its secret. */
export async function refusalOfBearer(line: string, parts: BearerParts): Promise<VgasError | undefined> {
  try {
    await check(line, parts);
    return undefined;
  } catch (error) {
    if (error instanceof VgasError) return error;
    return new VgasError("INTERNAL", "the token cannot be checked now", { cause: error });
  }
}

async function check(line: string, { authority, tokens, clock }: BearerParts): Promise<void> {
  if (line.length > MAX_LINE_CHARS) throw new VgasError("TOKEN_INVALID", "that is no token: it is too long");
  const token: Token = parseToken(line);
  if (token.swarmId !== authority.swarmId || !sameText(token.pin, authority.pin)) throw unknownToken(token.id);
  const record = await tokens.read(token.id);
  // As much work for an id that there is not.
  const right = sameText(publicKeyHash(tokenPublicKey(token)), record?.publicKeyHash ?? "");
  if (record === undefined || !right) throw unknownToken(token.id);
  const refused = refusalOf(record, clock.now());
  if (refused !== undefined) throw refused;
  if (!MAY_OBSERVE.includes(record.role)) {
    throw new VgasError(
      "PERMISSION_DENIED",
      `the token ${token.id} is of role ${record.role}, and reading takes an observer's`,
    );
  }
}
