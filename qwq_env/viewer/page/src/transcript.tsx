// What was said, each speaker set apart. Long texts are laid in blocks, of which only those in
// view are in the document.

import type { VNode } from "preact";
import { useMemo, useState } from "preact/hooks";

import type { Go } from "./app";
import type { Episode, Store } from "./data";
import { partsOf, type Said } from "./parts";
import { counted, number, oneLine, seconds, shown } from "./text";
import { Blocks } from "./virtual";

const LABELS: Record<string, string> = {
  system: "System", task: "Task", thinking: "Thinking", answer: "Answer", call: "Call",
  result: "Result", user: "User", text: "Text", markup: "Markup",
}; // prettier-ignore
const BLOCK = 3000; // characters
const FOLDED = 240; // of a system prompt, before it is asked for

interface Block {
  part: Said;
  number: number; // of the part
  text: string;
  first: boolean;
  last: boolean;
}

interface Props {
  store: Store;
  episode: Episode;
  query: string;
  at: number | null;
  go?: Go;
  compact?: boolean;
}

export function Transcript({ store, episode, query, at, go, compact }: Props): VNode {
  const [thinking, setThinking] = useState(true);
  const [markup, setMarkup] = useState(false);
  const [unfolded, setUnfolded] = useState<ReadonlySet<number>>(new Set());
  const [match, setMatch] = useState(0);
  const parts = useMemo(() => partsOf(episode, store.vocab, !compact), [episode, store]);
  const blocks = useMemo(
    () =>
      parts.flatMap((part, n) => {
        // Side by side, what all have in common would fill the view.
        if ((part.kind === "markup" && !markup) || (part.kind === "system" && compact)) return [];
        return blocksOf(part, n, { thinking, markup, unfolded: unfolded.has(n), query });
      }),
    [parts, thinking, markup, unfolded, query],
  );
  const matches = useMemo(() => {
    const wanted = query.toLowerCase();
    if (wanted === "") return [];
    return blocks.flatMap((block, n) => (block.text.toLowerCase().includes(wanted) ? [n] : []));
  }, [blocks, query]);
  const goto = useMemo(() => {
    if (at !== null) return { block: blockAt(blocks, at), key: `at${at}` };
    const found = matches[match % Math.max(1, matches.length)];
    return found === undefined ? null : { block: found, key: `match${match}${query}` };
  }, [at, match, matches]);
  const toggle = (n: number): void => {
    const after = new Set(unfolded);
    if (!after.delete(n)) after.add(n);
    setUnfolded(after);
  };
  return (
    <div class={`transcript ${compact ? "compact" : ""}`}>
      {!compact && (
        <div class="toolbar">
          <label>
            <input type="checkbox" checked={thinking} onChange={(event) => setThinking(event.currentTarget.checked)} /> thinking
          </label>
          <label title="what the dialect and the template write around it">
            <input type="checkbox" checked={markup} onChange={(event) => setMarkup(event.currentTarget.checked)} /> markup
          </label>
          {query !== "" && (
            <span>
              “{oneLine(query, 40)}” in {counted(matches.length, "place")}{" "}
              <button class="plain" onClick={() => setMatch(match + matches.length - 1)} aria-label="previous match">↑</button>
              <button class="plain" onClick={() => setMatch(match + 1)} aria-label="next match">↓</button>
            </span>
          )}
        </div>
      )}
      <Blocks
        id={`${episode.index}`}
        count={blocks.length}
        goto={goto}
        estimate={(n) => 30 + (20 * blocks[n].text.length) / (compact ? 45 : 95)}
        block={(n) => <BlockView key={n} block={blocks[n]} query={query} go={go} toggle={toggle} unfolded={unfolded.has(blocks[n].number)} />}
      />
    </div>
  );
}

interface Look {
  thinking: boolean;
  markup: boolean;
  unfolded: boolean;
  query: string;
}

function blocksOf(part: Said, number: number, look: Look): Block[] {
  const hidden = part.kind === "thinking" && !look.thinking;
  const long = part.kind === "system" && part.text.length > FOLDED;
  const whole = long && !look.unfolded && look.query === "" ? part.text.slice(0, FOLDED) : part.text;
  // Blank lines around it are part of the markup.
  const text = hidden ? "" : look.markup ? whole : whole.replace(/^(?:[ \t]*\n)+/, "").trimEnd();
  const pieces: string[] = [];
  let at = 0;
  do {
    const end = cutAt(text, at);
    pieces.push(text.slice(at, end));
    at = end;
  } while (at < text.length);
  return pieces.map((piece, n) => ({
    part, number, text: piece, first: n === 0, last: n === pieces.length - 1,
  })); // prettier-ignore
}

/** The end of a block that begins at `at`: a line's end if there is one, never within a pair. */
function cutAt(text: string, at: number): number {
  if (text.length - at <= BLOCK * 1.3) return text.length;
  const line = text.lastIndexOf("\n", at + BLOCK);
  if (line > at + BLOCK / 2) return line + 1;
  const end = at + BLOCK;
  const code = text.charCodeAt(end);
  return code >= 0xdc00 && code <= 0xdfff ? end + 1 : end;
}

function blockAt(blocks: Block[], token: number): number {
  let found = 0;
  for (const [n, { part }] of blocks.entries()) if (part.start !== null && part.start <= token) found = n;
  return blocks.findIndex((block) => block.number === blocks[found].number);
}

interface ViewProps {
  block: Block;
  query: string;
  go?: Go;
  toggle: (part: number) => void;
  unfolded: boolean;
}

function BlockView({ block, query, go, toggle, unfolded }: ViewProps): VNode {
  const { part, first, last } = block;
  const folded = part.kind === "system" && !unfolded && part.text.length > FOLDED && block.text.length <= FOLDED;
  return (
    <section class={`part ${part.kind} ${first ? "first" : ""} ${last ? "last" : ""}`}>
      {first && <Head part={part} go={go} />}
      {part.kind === "call" && first && last ? (
        <CallText part={part} text={block.text} query={query} />
      ) : (
        <div class="text" dir="auto">{shown(block.text, query, true)}</div>
      )}
      {last && part.kind === "system" && part.text.length > FOLDED && query === "" && (
        <button class="link" onClick={() => toggle(block.number)}>
          {folded ? `all ${part.text.length.toLocaleString("en")} characters` : "less"}
        </button>
      )}
    </section>
  );
}

function Head({ part, go }: { part: Said; go?: Go }): VNode {
  const { more, start, tokens } = part;
  const status = more.status ?? (more.error !== undefined ? "policy_error" : "");
  return (
    <h3>
      <span>{LABELS[part.kind] ?? oneLine(part.kind, 20)}</span>
      {more.name !== undefined && <code>{oneLine(more.name, 60)}</code>}
      {part.by === "model" && <span class="quiet">turn {part.turn}</span>}
      {(status !== "" || more.error !== undefined) && (
        <span class={`badge ${oneLine(status, 20)}`}>{oneLine(more.error ?? status, 40)}</span>
      )}
      {more.seconds !== undefined && <span class="quiet">{seconds(more.seconds)}</span>}
      {more.cut !== undefined && more.cut > 0 && <span class="quiet">{number(more.cut)} characters left out</span>}
      <span class="spring" />
      {tokens !== null && tokens > 0 && start !== null && (
        <button class="link quiet" title="see its tokens" onClick={() => go?.({ tab: "tokens", at: start })}>
          {counted(tokens, "token")}
        </button>
      )}
    </h3>
  );
}

/** A call by its arguments; as it was written where it could not be read. */
function CallText({ part, text, query }: { part: Said; text: string; query: string }): VNode {
  const given = part.more.arguments;
  const fields = typeof given === "object" && given !== null && !Array.isArray(given) ? Object.entries(given) : null;
  if (fields === null || fields.length === 0) return <div class="text" dir="auto">{shown(text, query, true)}</div>;
  return (
    <dl class="call">
      {fields.map(([key, value]) => (
        <div key={key}>
          <dt>{shown(key, query)}</dt>
          <dd dir="auto">{shown(typeof value === "string" ? value : JSON.stringify(value), query)}</dd>
        </div>
      ))}
    </dl>
  );
}
