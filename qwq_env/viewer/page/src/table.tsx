// All episodes: search, filters, and a list that is sorted by a click on its head.

import type { RefObject, VNode } from "preact";
import { useEffect, useState } from "preact/hooks";

import type { Go } from "./app";
import type { Coded, Store, Table } from "./data";
import { NO_FILTERS, readRoute, writeRoute, type Filters } from "./route";
import { counted, number, oneLine, seconds } from "./text";
import { Rows } from "./virtual";

interface Props {
  store: Store;
  order: number[];
  filters: Filters;
  cursor: number;
  progress: number;
  searchBox: RefObject<HTMLInputElement | null>;
  go: Go;
  open: (index: number) => void;
}

interface Column {
  key: string;
  label: string;
  title: string;
  cell: (table: Table, index: number) => VNode | string;
  numeric?: boolean;
}

const COLUMNS: Column[] = [
  { key: "reward", label: "Reward", title: "what it was paid", cell: reward, numeric: true },
  { key: "advantage", label: "Adv.", title: "against its group", cell: advantage, numeric: true },
  { key: "step", label: "Step", title: "training step", cell: (t, i) => number(t.step[i]), numeric: true },
  { key: "task", label: "Task", title: "the task's id", cell: (t, i) => oneLine(coded(t.task, i), 120) },
  { key: "outcome", label: "Ended", title: "how it ended", cell: outcome },
  { key: "turns", label: "Turns", title: "the model's turns", cell: (t, i) => number(t.turns[i]), numeric: true },
  { key: "calls", label: "Calls", title: "tool calls", cell: (t, i) => number(t.calls[i]), numeric: true },
  { key: "errors", label: "Errors", title: "calls that failed", cell: errors, numeric: true },
  { key: "tokens", label: "Tokens", title: "written by the policy", cell: (t, i) => number(t.tokens[i]), numeric: true },
  { key: "seconds", label: "Time", title: "wall time", cell: (t, i) => seconds(t.seconds[i]), numeric: true },
]; // prettier-ignore

export function coded(column: Coded, index: number): string {
  return column.values[column.codes[index]];
}

function reward(table: Table, index: number): VNode {
  const value = table.reward[index];
  return (
    <span class={`pay ${payClass(table, index)}`}>
      <i />
      {value === null ? "lost" : number(value)}
    </span>
  );
}

export function payClass(table: Table, index: number): string {
  const value = table.reward[index];
  if (value === null) return "lost";
  if (table.right[index] === true || value >= 1) return "right";
  return value > 0 ? "some" : "wrong";
}

function advantage(table: Table, index: number): string {
  const value = table.advantage[index];
  if (value === null) return "–";
  return `${value > 0 ? "+" : ""}${number(value, 2)}`.replace("-", "−");
}

function outcome(table: Table, index: number): VNode {
  return <span class={`badge ${coded(table.kind, index)}`}>{oneLine(coded(table.outcome, index), 40)}</span>;
}

function errors(table: Table, index: number): VNode | string {
  const count = table.errors[index];
  return count === 0 ? "·" : <span class="bad">{count}</span>;
}

export function EpisodeTable(props: Props): VNode {
  const { store, order, filters, cursor, go, open } = props;
  const { table, manifest } = store;
  const narrow = useNarrow();
  const set = (change: Partial<Filters>): void => go({ filters: { ...filters, ...change } }, true);
  const columns = COLUMNS.filter(({ key }) => hasValues(table, key));
  const several = table.environment.values.length > 1;
  const style = { "--columns": gridOf(columns, several) };
  return (
    <main class="episodes" style={style}>
      <Controls {...props} set={set} />
      {manifest.notes.length > 0 && (
        <details class="notes">
          <summary>{manifest.notes.length === 1 ? "1 note" : `${manifest.notes.length} notes`} on what was read</summary>
          <ul>{manifest.notes.map((note) => <li key={note}>{oneLine(note, 500)}</li>)}</ul>
        </details>
      )}
      {!narrow && (
        <div class="row head">
          {columns.map(({ key, label, title, numeric }) => (
            <button
              key={key}
              class={numeric ? "num" : ""}
              title={`${title}; click to sort`}
              onClick={() => set({ sort: nextSort(filters.sort, key) })}
            >
              {label}
              {filters.sort.replace("-", "") === key && (filters.sort.startsWith("-") ? " ↓" : " ↑")}
            </button>
          ))}
          {several && <button onClick={() => set({ sort: nextSort(filters.sort, "environment") })}>Environment</button>}
        </div>
      )}
      <Rows
        count={order.length}
        height={narrow ? 62 : 34}
        selected={cursor}
        label="episodes"
        class="list"
        row={(place) => {
          const index = order[place];
          const name = table.episode[index];
          const link = { ...readRoute(""), view: "episode" as const, name, filters };
          return (
            <a
              key={name}
              class={`row ${place === cursor ? "here" : ""}`}
              href={writeRoute(link)}
              onClick={(event) => {
                if (event.ctrlKey || event.metaKey || event.shiftKey) return;
                event.preventDefault();
                open(index);
              }}
            >
              {narrow ? (
                <Card table={table} index={index} />
              ) : (
                <>
                  {columns.map(({ key, cell, numeric }) => (
                    <span key={key} class={numeric ? "num" : "cell"}>
                      {cell(table, index)}
                    </span>
                  ))}
                  {several && <span class="cell quiet">{oneLine(coded(table.environment, index), 40)}</span>}
                </>
              )}
            </a>
          );
        }}
      />
      {order.length === 0 && <p class="empty">No episode is so. <button class="link" onClick={() => go({ filters: NO_FILTERS }, true)}>Clear the filters</button></p>}
    </main>
  );
}

const WIDTHS: Record<string, string> = {
  reward: "4.6rem", advantage: "3.8rem", step: "3.4rem", task: "minmax(8rem, 1fr)", outcome: "10rem",
  turns: "3.4rem", calls: "3.4rem", errors: "3.6rem", tokens: "4.6rem", seconds: "4.6rem",
}; // prettier-ignore

function gridOf(columns: Column[], several: boolean): string {
  return columns.map(({ key }) => WIDTHS[key]).join(" ") + (several ? " 10rem" : "");
}

function hasValues(table: Table, key: string): boolean {
  if (key === "step") return table.step.some((step) => step !== null);
  if (key === "advantage") return table.advantage.some((value) => value !== null);
  return true;
}

function nextSort(sort: string, key: string): string {
  return sort === `-${key}` ? key : sort === key ? "" : `-${key}`;
}

function Card({ table, index }: { table: Table; index: number }): VNode {
  const step = table.step[index];
  return (
    <>
      <span class="first">
        {reward(table, index)}
        <span class="cell">{oneLine(coded(table.task, index), 80)}</span>
      </span>
      <span class="second">
        {step !== null && <span>step {step}</span>}
        {outcome(table, index)}
        <span>{counted(table.turns[index], "turn")}</span>
        <span>{counted(table.tokens[index], "token")}</span>
      </span>
    </>
  );
}

function Controls({ store, order, filters, progress, searchBox, set, go }: Props & { set: (change: Partial<Filters>) => void }): VNode {
  const { table } = store;
  const filtered = Object.entries(filters).some(([key, value]) => key !== "sort" && value !== "");
  return (
    <div class="controls">
      <input
        ref={searchBox}
        class="search"
        type="search"
        placeholder="Search everything that was said   /"
        aria-label="search all text"
        value={filters.q}
        onInput={(event) => set({ q: event.currentTarget.value })}
        onKeyDown={(event) => event.key === "Enter" && event.currentTarget.blur()}
      />
      <Choice label="phase" column={table.phase} value={filters.phase} set={(phase) => set({ phase })} />
      <Choice label="ended" column={table.outcome} value={filters.outcome} set={(outcome) => set({ outcome })} />
      <Choice label="environment" column={table.environment} value={filters.environment} set={(environment) => set({ environment })} />
      <Entry label="step" hint="40 or 10-20" value={filters.step} set={(step) => set({ step })} shown={table.step.some((step) => step !== null)} />
      <Entry label="reward" hint="&lt;1, none" value={filters.reward} set={(reward) => set({ reward })} shown />
      <Entry label="task" hint="part of its id" value={filters.task} set={(task) => set({ task })} shown />
      <span class="count" aria-live="polite">
        {filtered && `${order.length.toLocaleString("en")} of `}
        {counted(table.count, "episode")}
        {progress < 1 && filters.q !== "" && ` · ${Math.floor(100 * progress)} % read`}
        {filtered && (
          <>
            {" "}
            <button class="link" onClick={() => go({ filters: { ...NO_FILTERS, sort: filters.sort } }, true)}>clear</button>
          </>
        )}
      </span>
    </div>
  );
}

function Choice({ label, column, value, set }: { label: string; column: Coded; value: string; set: (value: string) => void }): VNode | null {
  if (column.values.length < 2) return null;
  return (
    <select aria-label={label} class={value === "" ? "" : "set"} value={value} onChange={(event) => set(event.currentTarget.value)}>
      <option value="">{label}: all</option>
      {column.values.map((one) => (
        <option key={one} value={one}>{oneLine(one, 60)}</option>
      ))}
    </select>
  );
}

interface EntryProps {
  label: string;
  hint: string;
  value: string;
  set: (value: string) => void;
  shown: boolean;
}

function Entry({ label, hint, value, set, shown }: EntryProps): VNode | null {
  if (!shown) return null;
  return (
    <label class={`entry ${value === "" ? "" : "set"}`}>
      {label}
      <input value={value} placeholder={hint} aria-label={label} onInput={(event) => set(event.currentTarget.value)} />
    </label>
  );
}

export function useNarrow(): boolean {
  const [narrow, setNarrow] = useState(() => NARROW.matches);
  useEffect(() => {
    const follow = (): void => setNarrow(NARROW.matches);
    NARROW.addEventListener("change", follow);
    return () => NARROW.removeEventListener("change", follow);
  }, []);
  return narrow;
}

const NARROW = matchMedia("(max-width: 720px)");
