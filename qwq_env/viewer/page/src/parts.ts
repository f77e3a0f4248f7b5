// What was said, in order: the system's words, the task, thinking, calls, results, a user, the
// answer. The stores know it (qwq_env/segments.py); here it is put together with the tokens.

import type { Episode, More, Vocab } from "./data";

export interface Said {
  by: string; // task, model, tool, user
  kind: string; // markup, system, task, thinking, text, call, result, user, answer
  text: string;
  more: More;
  turn: number; // the model's turns from 1; 0 before the first
  start: number | null; // its first token in the last row, where it is one with the text
  tokens: number | null;
}

/** What was said; with `places`, each part's tokens as well. */
export function partsOf(episode: Episode, vocab: Vocab, places = false): Said[] {
  const parts: Said[] = [];
  const row = episode.rows[episode.rows.length - 1];
  const whole = row !== undefined && episode.joined ? vocab.text(row.places, 0, row.length) : "";
  const ends = places && episode.joined ? vocab.ends(row.places) : null;
  let at = 0;
  let token = 0;
  let turn = 0;
  for (const [by, segments] of episode.said) {
    if (by === "model") turn++;
    for (const [kind, said, more] of segments) {
      const text = typeof said === "number" ? whole.slice(at, at + said) : said;
      const part: Said = { by, kind, text, more: more ?? {}, turn, start: null, tokens: null };
      at += text.length;
      if (ends !== null) {
        part.start = token;
        while (token < ends.length && ends[token] <= at) token++;
        part.tokens = token - part.start;
      }
      parts.push(part);
    }
  }
  return parts;
}
