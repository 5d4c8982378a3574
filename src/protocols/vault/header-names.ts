/** Names of headers, in small letters, that belong to the connection or frame the message: no key can be carried in one. */

/** Of one connection, not of the call. */
export const HOP_BY_HOP_HEADERS: readonly string[] = [
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
];

/** What the vault itself says of a message. */
export const FRAMING_HEADERS: readonly string[] = ["accept-encoding", "content-length", "expect", "host"];

export function carriesKeys(header: string): boolean {
  return !HOP_BY_HOP_HEADERS.includes(header) && !FRAMING_HEADERS.includes(header);
}
