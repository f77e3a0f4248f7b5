// What metrics.jsonl says, a small picture for each name; those about the reward come first.

import type { VNode } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";

import { readJson, type Curve, type Report } from "./data";
import { number, oneLine } from "./text";

const WIDTH = 320;
const HEIGHT = 120;

export function useReport(): Report | null {
  const [report, setReport] = useState<Report | null>(null);
  useEffect(() => void readJson<Report>("report").then(setReport), []);
  return report;
}

export function Curves(): VNode {
  const report = useReport();
  const [wanted, setWanted] = useState("");
  const curves = useMemo(() => arranged(report?.curves ?? [], wanted), [report, wanted]);
  if (report === null) return <p class="loading">Reading …</p>;
  if (report.curves.length === 0) {
    return <p class="loading">No curves: there was no metrics.jsonl, and no episode has a step.</p>;
  }
  return (
    <main class="curves scroll" tabIndex={0}>
      <div class="controls">
        <input class="search" type="search" placeholder="part of a name" aria-label="filter the curves" value={wanted} onInput={(event) => setWanted(event.currentTarget.value)} />
        <span class="count">{curves.length} curves</span>
      </div>
      <div class="grid">{curves.map((curve) => <Picture key={curve.name} curve={curve} />)}</div>
    </main>
  );
}

function arranged(curves: Curve[], wanted: string): Curve[] {
  const lower = wanted.toLowerCase();
  const rank = (name: string): number => {
    if (name === "reward") return 0;
    if (/^(episode\/right|reward|episode\/scores|loss$|entropy|kl$)/.test(name)) return 1;
    return name.startsWith("episode/") ? 2 : 3;
  };
  return curves
    .filter(({ name }) => name.toLowerCase().includes(lower))
    .sort((a, b) => rank(a.name) - rank(b.name) || a.name.localeCompare(b.name));
}

function Picture({ curve }: { curve: Curve }): VNode {
  const [at, setAt] = useState<number | null>(null);
  const known = curve.values.filter((value) => value !== null);
  const [low, high] = known.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  const [first, last] = [curve.steps[0], curve.steps[curve.steps.length - 1]];
  const x = (step: number): number => 2 + ((WIDTH - 4) * (step - first)) / Math.max(1e-9, last - first);
  const y = (value: number): number => HEIGHT - 6 - ((HEIGHT - 12) * (value - low)) / (high - low || 1);
  const seen = at ?? curve.steps.length - 1;
  return (
    <figure>
      <figcaption>
        <span>{oneLine(curve.name, 60)}</span>
        <b>{number(curve.values[seen])}</b>
        <small>step {number(curve.steps[seen])}</small>
      </figcaption>
      <svg
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        role="img"
        aria-label={`${oneLine(curve.name, 60)} from ${number(low)} to ${number(high)}`}
        onPointerMove={(event) => {
          const box = event.currentTarget.getBoundingClientRect();
          setAt(nearest(curve.steps, first + ((event.clientX - box.left) / box.width) * (last - first)));
        }}
        onPointerLeave={() => setAt(null)}
      >
        <line class="base" x1="0" x2={WIDTH} y1={HEIGHT - 6} y2={HEIGHT - 6} />
        <path class="raw" d={pathOf(curve.steps, curve.values, x, y)} />
        <path class="smooth" d={pathOf(curve.steps, smoothed(curve.values), x, y)} />
        {at !== null && curve.values[seen] !== null && (
          <circle cx={x(curve.steps[seen])} cy={y(curve.values[seen])} r="3.5" />
        )}
      </svg>
      <div class="ends"><span>{number(low)} – {number(high)}</span><span>step {number(first)} – {number(last)}</span></div>
    </figure>
  );
}

function nearest(steps: number[], wanted: number): number {
  let best = 0;
  for (const [n, step] of steps.entries()) if (Math.abs(step - wanted) < Math.abs(steps[best] - wanted)) best = n;
  return best;
}

function pathOf(steps: number[], values: (number | null)[], x: (step: number) => number, y: (value: number) => number): string {
  let path = "";
  let pen = "M";
  for (const [n, value] of values.entries()) {
    if (value === null) {
      pen = "M";
      continue;
    }
    path += `${pen}${x(steps[n]).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = "L";
  }
  return path;
}

/** The mean of a few steps before and behind. */
function smoothed(values: (number | null)[]): (number | null)[] {
  const reach = Math.floor(values.length / 25);
  return values.map((value, n) => {
    if (value === null) return null;
    const around = values.slice(Math.max(0, n - reach), n + reach + 1).filter((one) => one !== null);
    return around.reduce((sum, one) => sum + one, 0) / around.length;
  });
}
