/**
 * Loaded before a node (`--import`): its wall clock is ahead of the machine's by what a file says, in milliseconds, which is read
 * again now and then. What was read last is written beside it. The file is that of the member, found by its VGAS_FAILPOINTS_DIR
 * (`<world>/failpoints/<member>@<life>`): `<world>/clocks/<member>`.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";

const LOOK_MS = 100;
const counts = process.env["VGAS_FAILPOINTS_DIR"];

if (counts) {
  const file = join(dirname(dirname(counts)), "clocks", basename(counts).replace(/@.*/, ""));
  const Real = Date;
  let shiftMs = 0;
  const look = () => {
    let text = "";
    try {
      text = readFileSync(file, "utf8");
    } catch {
      return;
    }
    if (text === "" || Number(text) === shiftMs) return;
    shiftMs = Number(text);
    writeFileSync(`${file}.seen`, text);
  };
  const now = () => Real.now() + shiftMs;
  look();
  setInterval(look, LOOK_MS).unref();
  globalThis.Date = new Proxy(Real, {
    construct: (target, args, self) => Reflect.construct(target, args.length === 0 ? [now()] : args, self),
    apply: () => new Real(now()).toString(),
    get: (target, key, self) => (key === "now" ? now : Reflect.get(target, key, self)),
  });
}
