// Which episodes are shown, and in which order.

import type { Coded, Table } from "./data";
import type { Filters } from "./route";

const SORTED = [
  "step", "task", "reward", "advantage", "outcome", "turns", "calls", "errors", "tokens", "seconds",
  "environment",
] as const; // prettier-ignore

export function arrange(table: Table, filters: Filters, found: Uint8Array | null): number[] {
  const tests = [
    coded(table.phase, filters.phase),
    coded(table.environment, filters.environment),
    coded(table.outcome, filters.outcome),
    task(table.task, filters.task),
    range(table.step, filters.step),
    range(table.reward, filters.reward),
    found === null ? null : (index: number): boolean => found[index] === 1,
  ].filter((test) => test !== null);
  const kept: number[] = [];
  for (let index = 0; index < table.count; index++) {
    if (tests.every((test) => test(index))) kept.push(index);
  }
  return sorted(table, kept, filters.sort);
}

type Test = (index: number) => boolean;

function coded(column: Coded, wanted: string): Test | null {
  if (wanted === "") return null;
  const code = column.values.indexOf(wanted);
  return (index) => column.codes[index] === code;
}

function task(column: Coded, wanted: string): Test | null {
  if (wanted === "") return null;
  const lower = wanted.toLowerCase();
  const fits = column.values.map((value) => value.toLowerCase().includes(lower));
  return (index) => fits[column.codes[index]];
}

/** `40`, `10-20`, `<1`, `>=0.5`, and `none` for what has no value. */
function range(column: (number | null)[], wanted: string): Test | null {
  const text = wanted.trim();
  if (text === "") return null;
  if (text === "none") return (index) => column[index] === null;
  const between = /^(-?[\d.]+)\s*(?:-|\.\.|–)\s*(-?[\d.]+)$/.exec(text);
  const bound = /^(<=|>=|<|>|=)?\s*(-?[\d.]+(?:e-?\d+)?)$/.exec(text);
  if (between !== null) {
    const [low, high] = [Number(between[1]), Number(between[2])];
    return (index) => within(column[index], (value) => value >= low && value <= high);
  }
  if (bound === null) return () => false;
  const limit = Number(bound[2]);
  const compare: Record<string, (value: number) => boolean> = {
    "<": (value) => value < limit,
    "<=": (value) => value <= limit,
    ">": (value) => value > limit,
    ">=": (value) => value >= limit,
    "=": (value) => value === limit,
  };
  return (index) => within(column[index], compare[bound[1] ?? "="]);
}

function within(value: number | null, test: (value: number) => boolean): boolean {
  return value !== null && test(value);
}

function sorted(table: Table, kept: number[], sort: string): number[] {
  const name = SORTED.find((column) => column === sort.replace(/^-/, ""));
  if (name === undefined) return kept;
  const column = table[name];
  const sign = sort.startsWith("-") ? -1 : 1;
  if (Array.isArray(column)) {
    return kept.sort((a, b) => compare(column[a], column[b], sign) || a - b);
  }
  const ranks = rank(column.values);
  const { codes } = column;
  return kept.sort((a, b) => sign * (ranks[codes[a]] - ranks[codes[b]]) || a - b);
}

/** What has no value comes last, whichever way. */
function compare(a: number | null, b: number | null, sign: number): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
  return sign * (a - b);
}

function rank(values: string[]): number[] {
  const order = values.map((_, code) => code);
  const collator = new Intl.Collator("en", { numeric: true });
  order.sort((a, b) => collator.compare(values[a], values[b]));
  const ranks: number[] = [];
  for (const [place, code] of order.entries()) ranks[code] = place;
  return ranks;
}
