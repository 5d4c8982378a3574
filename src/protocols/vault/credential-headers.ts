/**
 * Headers in which keys and sessions are carried, in small letters. An agent's own never cross the bus, nor reach a provider: clients
 * want some key to be set, and it may be a real one. The vault puts its own in.
 */
export const CREDENTIAL_HEADERS = [
  "api-key",
  "authorization",
  "cookie",
  "cookie2",
  "x-api-key",
  "x-goog-api-key",
] as const;
