import type { Finding } from "./report.ts";
import { bar, column, count, type Screen, size } from "./screen.ts";

const BAR_COLUMNS = 24;
const SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏";

/** What the bar shows: how far it is, how much was read, and which barrels have fired since the last frame. */
export class Progress {
  readonly #screen: Screen;
  readonly #total: number;
  readonly #barrels = new Map<string, number>();
  #done = 0;
  #bytes = 0;
  #frame = 0;

  constructor(screen: Screen, total: number) {
    this.#screen = screen;
    this.#total = total;
  }

  add({ result }: Finding): void {
    this.#done++;
    this.#bytes += result.output?.bytes ?? 0;
    if (result.agent !== undefined) this.#barrels.set(result.agent, this.#frame);
  }

  draw(frame: number): string {
    this.#frame = frame;
    const screen = this.#screen;
    const spin = screen.paintBar("cyan", SPINNER[frame % SPINNER.length] ?? "");
    const share = this.#done / this.#total;
    const filled = screen.paintBar("green", column(bar(share, BAR_COLUMNS), BAR_COLUMNS));
    const barrels = [...this.#barrels]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([, fired]) => {
        const age = frame - fired;
        return age <= 1 ? screen.paintBar("yellow", "●") : screen.paintBar("dim", age <= 4 ? "•" : "○");
      });
    const counts = `${count(this.#done)}/${count(this.#total)}`;
    return `${spin} ▕${filled}▏ ${String(Math.floor(share * 100)).padStart(3)} %  ${counts}  ${size(this.#bytes)}  agents ${barrels.join("")}`;
  }
}
