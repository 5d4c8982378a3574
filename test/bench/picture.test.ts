import { expect, test } from "vitest";
import type { Chart } from "../../bench/benchmark.ts";
import { picture } from "../../bench/picture.ts";

function pictureOf(...charts: readonly Chart[]): string {
  return picture({
    at: "2026-11-30T12:00:00.000Z",
    machine: { processor: "Fast & <small>", cores: 2, memoryGiB: 24, platform: "linux x64" },
    versions: { vgas: "0.1.0", node: "20.20.2" },
    quick: false,
    pairs: 3,
    benchmarks: [
      { name: "some", measures: "", seconds: 1, tables: [], charts, targets: [], notes: [], notCompared: [] },
    ],
  });
}

test("a bar is as long as its median, next to the longest of its chart", () => {
  const svg = pictureOf({
    title: "Speed",
    unit: "tasks/s",
    bars: [
      { label: "one", samples: [90, 100, 110], of: "vgas" },
      { label: "half", samples: [50, 50, 50], of: "floor" },
    ],
  });
  const widths = [...svg.matchAll(/<rect class="(vgas|floor)"[^>]* width="([\d.]+)"/g)].map(([, , width]) =>
    Number(width),
  );
  expect(widths).toHaveLength(2);
  expect(widths[1]).toBeCloseTo((widths[0] as number) / 2, 0);
});

test("what was not compared has no bar, and a chart without bars no panel", () => {
  const svg = pictureOf(
    {
      title: "Kept",
      unit: "ms",
      bars: [
        { label: "here", samples: [1], of: "vgas" },
        { label: "gone", samples: [], of: "rival" },
      ],
    },
    { title: "Empty", unit: "ms", bars: [{ label: "nothing", samples: [Number.NaN], of: "vgas" }] },
  );
  expect(svg).toContain("Kept");
  expect(svg).not.toMatch(/gone|Empty|NaN/);
});

test("names are text, not markup", () => {
  expect(pictureOf()).toContain("Fast &amp; &lt;small&gt;");
});
