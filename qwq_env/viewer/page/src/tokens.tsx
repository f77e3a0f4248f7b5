// The tokens of a row as the trainer has them: id, text, mask, log-probability, ratio, entropy.

import type { VNode } from "preact";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";

import type { Go } from "./app";
import { magnitude, ratio, type Episode, type Row, type Store, type Vocab } from "./data";
import { number, oneLine, shown } from "./text";
import { Blocks, Rows } from "./virtual";

const [LEAST, MOST] = [120, 400]; // tokens of a block, which ends with a line if it can

/** What is known of each token of a row: (length,). */
interface Columns {
  author: string[];
  sampled: Uint8Array;
  at: Int32Array; // its place among the sampled; -1
}

interface Props {
  store: Store;
  episode: Episode;
  at: number | null;
  go: Go;
}

type Colour = "mask" | "logprob" | "ratio" | "entropy" | "author";

export function Tokens({ store, episode, at, go }: Props): VNode {
  const [number_, setNumber] = useState(episode.rows.length - 1);
  const [list, setList] = useState(false);
  const [colour, setColour] = useState<Colour>("logprob");
  const [chosen, setChosen] = useState(at ?? -1);
  const chosenHere = useRef(-1); // by a click, which is in view
  useEffect(() => setChosen(at ?? -1), [at]);
  useEffect(() => {
    if (at === null || at === chosenHere.current) return undefined;
    // When its block was found.
    const show = (): void => document.querySelector(".flow .chosen")?.scrollIntoView({ block: "center" });
    const wait = setTimeout(show, 150);
    return () => clearTimeout(wait);
  }, [at]);
  const row = episode.rows[number_];
  const columns = useMemo(() => (row === undefined ? null : columnsOf(row)), [row]);
  const starts = useMemo(() => (row === undefined ? [0] : blockStarts(row, store.vocab)), [row, store]);
  if (row === undefined || columns === null) {
    return <p class="loading">No token ids: this episode was played over a chat interface, or they were not stored.</p>;
  }
  const colours: Colour[] = ["logprob", "mask", "author"];
  for (const extra of ["ratio", "entropy"] as const) if (row.columns.includes(extra)) colours.push(extra);
  const choose = (token: number): void => {
    chosenHere.current = token;
    setChosen(token);
    go({ at: token }, true);
  };
  return (
    <div class="tokens">
      <div class="toolbar">
        {episode.rows.length > 1 && (
          <select value={number_} onChange={(event) => setNumber(Number(event.currentTarget.value))} aria-label="row">
            {episode.rows.map((one, n) => (
              <option key={n} value={n}>row {n + 1} of {episode.rows.length}: {number(one.length)} tokens</option>
            ))}
          </select>
        )}
        <select value={colour} onChange={(event) => setColour(event.currentTarget.value as Colour)} aria-label="colour by">
          {colours.map((one) => <option key={one} value={one}>colour: {one === "logprob" ? "log-probability" : one}</option>)}
        </select>
        <label><input type="checkbox" checked={list} onChange={(event) => setList(event.currentTarget.checked)} /> list</label>
        <Legend colour={colour} />
        <span class="spring" />
        <span class="quiet">{number(row.prompt)} prompt + {number(row.length - row.prompt)}</span>
      </div>
      <Detail row={row} columns={columns} vocab={store.vocab} token={chosen} />
      {list ? (
        <TokenList row={row} columns={columns} vocab={store.vocab} chosen={chosen} choose={choose} />
      ) : (
        <Blocks
          id={`${episode.index}.${number_}`}
          count={starts.length - 1}
          goto={at === null || at >= row.length || at === chosenHere.current ? null : { block: starts.findLastIndex((start) => start <= at), key: `${at}` }}
          estimate={(n) => 30 + (starts[n + 1] - starts[n]) * 0.8}
          class="flow"
          block={(n) => (
            <p
              key={n}
              onClick={(event) => {
                const token = (event.target as HTMLElement).closest<HTMLElement>("[data-t]")?.dataset["t"];
                if (token !== undefined) choose(Number(token));
              }}
            >
              {flow(row, columns, store.vocab, colour, starts[n], starts[n + 1], chosen)}
            </p>
          )}
        />
      )}
    </div>
  );
}

/** Where blocks begin, and the end of the row. */
function blockStarts(row: Row, vocab: Vocab): number[] {
  const starts = [0];
  let start = 0;
  for (let token = 0; token < row.length; token++) {
    const size = token + 1 - start;
    if (size < LEAST || (size < MOST && !vocab.piece(row.places[token]).endsWith("\n"))) continue;
    start = token + 1;
    if (start < row.length) starts.push(start);
  }
  if (row.length > 0) starts.push(row.length);
  return starts;
}

function columnsOf(row: Row): Columns {
  const author = new Array<string>(row.length).fill("");
  for (const [start, end, by] of row.spans) author.fill(by, start, end);
  const sampled = new Uint8Array(row.length);
  const at = new Int32Array(row.length).fill(-1);
  let token = row.prompt;
  let found = 0;
  for (const [n, run] of row.mask.entries()) {
    for (let i = 0; i < run; i++, token++) {
      if (n % 2 === 0) continue;
      sampled[token] = 1;
      at[token] = found++;
    }
  }
  return { author, sampled, at };
}

function valueOf(row: Row, columns: Columns, name: string, token: number): number | null {
  const place = columns.at[token];
  const values = row.values[name];
  if (place === undefined || place < 0 || values === undefined) return null;
  return name === "ratio" ? ratio(values[place]) : magnitude(values[place]);
}

function flow(row: Row, columns: Columns, vocab: Vocab, colour: Colour, start: number, end: number, chosen: number): VNode[] {
  const spans: VNode[] = [];
  for (let token = start; token < end; token++) {
    const place = row.places[token];
    const control = vocab.isControl(place);
    const kind = colour === "author" ? `by-${columns.author[token]}` : columns.sampled[token] ? "sampled" : "read";
    const classes = `${kind}${control ? " control" : ""}${token === chosen ? " chosen" : ""}`;
    const heat = colour === "author" || colour === "mask" ? null : heatOf(row, columns, colour, token);
    const text = vocab.piece(place);
    spans.push(
      <span key={token} data-t={token} class={classes} style={heat === null ? undefined : { "--heat": heat.toFixed(2) }}>
        {shown(text.replace(/\n/g, "↵\n"))}
      </span>,
    );
  }
  return spans;
}

/** From 0 (expected) to 1 (surprising), -1 to 0 for a ratio below one. */
function heatOf(row: Row, columns: Columns, colour: string, token: number): number | null {
  const value = valueOf(row, columns, colour, token);
  if (value === null) return null;
  if (colour === "ratio") return Math.min(1, Math.abs(Math.log(value)) * 5);
  return colour === "entropy" ? Math.min(1, value / 3) : 1 - Math.exp(-value);
}

function Legend({ colour }: { colour: Colour }): VNode {
  if (colour === "author") {
    return (
      <span class="legend">
        {["task", "thinking", "answer", "tool", "user"].map((by) => <span key={by} class={`by-${by}`}>{by}</span>)}
      </span>
    );
  }
  return (
    <span class="legend">
      <span class="read">read (mask 0)</span>
      <span class="sampled">sampled (mask 1)</span>
      {colour !== "mask" && <span class="sampled" style={{ "--heat": "0.9" }}>{colour === "ratio" ? "far from 1" : "surprising"}</span>}
    </span>
  );
}

function Detail({ row, columns, vocab, token }: { row: Row; columns: Columns; vocab: Vocab; token: number }): VNode {
  if (token < 0 || token >= row.length) return <p class="detail quiet">Choose a token to see what is known of it.</p>;
  const place = row.places[token];
  const logprob = valueOf(row, columns, "logprob", token);
  const pairs: [string, string][] = [
    ["place", number(token)],
    ["id", String(vocab.id(place))],
    ["by", columns.author[token] || "–"],
    ["mask", token < row.prompt ? "prompt" : String(columns.sampled[token])],
    ["log-probability", logprob === null ? "–" : minus(logprob)],
    ["probability", logprob === null ? "–" : number(Math.exp(-logprob))],
    ["ratio", number(valueOf(row, columns, "ratio", token))],
    ["entropy", number(valueOf(row, columns, "entropy", token))],
  ];
  return (
    <p class="detail">
      <code>{shown(vocab.piece(place).replace(/\n/g, "↵").replace(/ /g, "␣"))}</code>
      {vocab.isControl(place) && <span class="badge">control</span>}
      {pairs.filter(([, value]) => value !== "–").map(([key, value]) => (
        <span key={key}><small>{key}</small> {oneLine(value)}</span>
      ))}
    </p>
  );
}

function minus(size: number): string {
  return size === 0 ? "0" : `−${number(size, 2)}`;
}

interface ListProps {
  row: Row;
  columns: Columns;
  vocab: Vocab;
  chosen: number;
  choose: (token: number) => void;
}

function TokenList({ row, columns, vocab, chosen, choose }: ListProps): VNode {
  const extras = (["ratio", "entropy"] as const).filter((name) => row.columns.includes(name));
  return (
    <>
      <div class="token-row head">
        <span>place</span><span>id</span><span>text</span><span>by</span><span>mask</span><span>logprob</span>
        {extras.map((name) => <span key={name}>{name}</span>)}
      </div>
      <Rows
        count={row.length}
        height={24}
        selected={chosen}
        label="tokens"
        row={(token) => {
          const place = row.places[token];
          const logprob = valueOf(row, columns, "logprob", token);
          return (
            <div key={token} class={`token-row ${token === chosen ? "here" : ""}`} onClick={() => choose(token)}>
              <span>{token}</span>
              <span>{vocab.id(place)}</span>
              <code class={vocab.isControl(place) ? "control" : ""}>{shown(vocab.piece(place).replace(/\n/g, "↵").replace(/ /g, "␣"))}</code>
              <span>{columns.author[token]}</span>
              <span>{token < row.prompt ? "·" : columns.sampled[token]}</span>
              <span>{logprob === null ? "·" : minus(logprob)}</span>
              {extras.map((name) => <span key={name}>{number(valueOf(row, columns, name, token))}</span>)}
            </div>
          );
        }}
      />
    </>
  );
}
