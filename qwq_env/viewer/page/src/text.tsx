// Text that others wrote, as a person may see it: nothing hidden, nothing that reorders a line.

import type { ComponentChildren, VNode } from "preact";

// Controls but tab and line feed, the format characters of Unicode but the two joiners that
// scripts need, separators of lines and paragraphs, fillers without ink, halves of pairs.
const HIDDEN =
  "\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\xad\\u034f\\u061c\\u115f\\u1160\\u17b4\\u17b5\\u180b-\\u180f" +
  "\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\u3164\\ufeff\\uffa0\\ufff9-\\ufffb";
const LONE = "[\\ud800-\\udbff](?![\\udc00-\\udfff])|(?<![\\ud800-\\udbff])[\\udc00-\\udfff]";
const TAGS = "\\udb40[\\udc00-\\udfff]|\\ud834[\\udd73-\\udd7a]|\\ud82f[\\udca0-\\udca3]";
const UNSEEN = new RegExp(`[${HIDDEN}]|${TAGS}|${LONE}`, "g");
const MARKUP =
  /<\|[^|<>\s]{1,40}\|>|<\/?(?:think|tool_call|tool_response|search|information|answer|result|tools|code|python|interpreter|output)>/g;

const NAMES: Record<number, string> = {
  0x00: "NUL", 0x07: "BEL", 0x08: "BS", 0x0d: "CR", 0x1b: "ESC", 0x7f: "DEL",
  0xad: "SOFT HYPHEN", 0x200b: "ZERO WIDTH SPACE", 0x200e: "LEFT-TO-RIGHT MARK",
  0x200f: "RIGHT-TO-LEFT MARK", 0x2028: "LINE SEPARATOR", 0x2029: "PARAGRAPH SEPARATOR",
  0x202a: "LEFT-TO-RIGHT EMBEDDING", 0x202b: "RIGHT-TO-LEFT EMBEDDING",
  0x202c: "POP DIRECTIONAL FORMATTING", 0x202d: "LEFT-TO-RIGHT OVERRIDE",
  0x202e: "RIGHT-TO-LEFT OVERRIDE", 0x2060: "WORD JOINER", 0x2066: "LEFT-TO-RIGHT ISOLATE",
  0x2067: "RIGHT-TO-LEFT ISOLATE", 0x2068: "FIRST STRONG ISOLATE",
  0x2069: "POP DIRECTIONAL ISOLATE", 0xfeff: "BYTE ORDER MARK",
}; // prettier-ignore

/** `U+202E` for a character that is not seen. */
function codePoint(character: string): string {
  const code = character.codePointAt(0) ?? 0;
  return `U+${code.toString(16).toUpperCase().padStart(4, "0")}`;
}

/** `text` for a title or an attribute: what is not seen stands as `U+202E`. */
export function plain(text: string): string {
  return text.replace(UNSEEN, codePoint);
}

/** `plain`, on one line. */
export function oneLine(text: string, most = 300): string {
  const line = plain(text.replace(/\s+/g, " "));
  return line.length > most ? `${line.slice(0, most)}…` : line;
}

/** `text` with what is not seen as signs, its markup faint, and `query` marked. */
export function shown(text: string, query = "", markup = false): ComponentChildren {
  const marks: [number, number, VNode][] = [];
  const wanted = query.toLowerCase();
  if (wanted !== "") {
    const lower = text.toLowerCase();
    // Where lower case has another length (İ), places would not fit: nothing is marked then.
    let at = lower.length === text.length ? lower.indexOf(wanted) : -1;
    while (at !== -1) {
      const end = at + wanted.length;
      marks.push([at, end, <mark>{signs(text.slice(at, end))}</mark>]);
      at = lower.indexOf(wanted, end);
    }
  }
  if (markup && marks.length === 0) {
    for (const match of text.matchAll(MARKUP)) {
      const end = match.index + match[0].length;
      marks.push([match.index, end, <span class="markup">{match[0]}</span>]);
    }
  }
  if (marks.length === 0) return signs(text);
  const pieces: ComponentChildren[] = [];
  let last = 0;
  for (const [start, end, node] of marks) {
    if (start > last) pieces.push(signs(text.slice(last, start)));
    pieces.push(node);
    last = end;
  }
  pieces.push(signs(text.slice(last)));
  return pieces;
}

function signs(text: string): ComponentChildren {
  // Not `test`, which would move where the next search begins.
  if (text.search(UNSEEN) === -1) return text;
  const pieces: ComponentChildren[] = [];
  let last = 0;
  for (const match of text.matchAll(UNSEEN)) {
    if (match.index > last) pieces.push(text.slice(last, match.index));
    const point = codePoint(match[0]);
    const name = NAMES[match[0].codePointAt(0) ?? 0];
    pieces.push(
      <span class="unseen" title={name === undefined ? point : `${point} ${name}`}>
        {name !== undefined && name.length <= 4 ? name : point}
      </span>,
    );
    last = match.index + match[0].length;
  }
  pieces.push(text.slice(last));
  return pieces;
}

export function number(value: number | null | undefined, digits = 3): string {
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e9) return value.toLocaleString("en");
  if (value !== 0 && (Math.abs(value) < 1e-3 || Math.abs(value) >= 1e6)) {
    return value.toExponential(2);
  }
  return String(Number(value.toPrecision(digits)));
}

export function seconds(value: number | null): string {
  if (value === null) return "–";
  if (value === 0) return "0 s";
  if (value < 1e-3) return `${number(value * 1e6, 2)} µs`;
  if (value < 1) return `${number(value * 1e3, 2)} ms`;
  return value < 120 ? `${number(value)} s` : `${number(value / 60)} min`;
}

export function counted(count: number, what: string): string {
  return `${number(count)} ${what}${count === 1 ? "" : "s"}`;
}
