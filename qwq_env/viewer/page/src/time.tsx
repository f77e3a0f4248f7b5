// Where an episode's wall time went, in lanes: waiting, model, tools, a user, grading.

import type { VNode } from "preact";

import type { Episode } from "./data";
import { oneLine, seconds } from "./text";

interface Bar {
  lane: string;
  start: number;
  length: number;
  label: string;
  bad: boolean;
}

const LANES = ["waiting", "model", "tools", "user", "grading"];

export function Time({ episode }: { episode: Episode }): VNode {
  const bars = barsOf(episode);
  const end = Math.max(...bars.map((bar) => bar.start + bar.length), 1e-9);
  const lanes = LANES.filter((lane) => bars.some((bar) => bar.lane === lane));
  const known = new Map(episode.seconds);
  return (
    <div class="scroll time">
      {bars.length === 0 && <p class="quiet">No times are known of this episode.</p>}
      {lanes.map((lane) => (
        <div class="lane" key={lane}>
          <span class="name">{lane}<small>{seconds(known.get(lane) ?? 0)}</small></span>
          <div class="track">
            {bars.filter((bar) => bar.lane === lane).map((bar, n) => (
              <i
                key={n}
                class={`${lane} ${bar.bad ? "bad" : ""}`}
                title={`${bar.label}: ${seconds(bar.length)}`}
                style={{ left: `${(100 * bar.start) / end}%`, width: `${Math.max(0.25, (100 * bar.length) / end)}%` }}
              />
            ))}
          </div>
        </div>
      ))}
      <div class="lane axis">
        <span class="name" />
        <div class="track">
          {[0, 0.25, 0.5, 0.75, 1].map((part) => <span key={part} style={{ left: `${100 * part}%` }}>{seconds(part * end)}</span>)}
        </div>
      </div>
      <p class="quiet">
        Totals by phase and the seconds of each call were measured. Within the model's total, turns
        are drawn as long as their text is.
      </p>
      <Slowest bars={bars} />
    </div>
  );
}

function Slowest({ bars }: { bars: Bar[] }): VNode | null {
  const calls = bars.filter((bar) => bar.lane === "tools").sort((a, b) => b.length - a.length);
  if (calls.length === 0) return null;
  return (
    <>
      <h4>Calls, slowest first</h4>
      <ol class="slowest">
        {calls.slice(0, 20).map((bar, n) => (
          <li key={n} class={bar.bad ? "bad" : ""}><span>{bar.label}</span><b>{seconds(bar.length)}</b></li>
        ))}
      </ol>
    </>
  );
}

/** One turn behind the other; the calls of a turn side by side, as they were run. */
function barsOf(episode: Episode): Bar[] {
  const total = new Map(episode.seconds);
  const model = total.get("model") ?? 0;
  const sizes = episode.said.map(([, segments]) =>
    segments.reduce((sum, [, text]) => sum + (typeof text === "number" ? text : text.length), 0),
  );
  const written = (by: string): number =>
    episode.said.reduce((sum, block, n) => sum + (block[0] === by ? sizes[n] : 0), 0) || 1;
  const [byModel, replies] = [written("model"), episode.said.filter(([by]) => by === "user").length];
  const bars: Bar[] = [];
  let now = 0;
  const add = (lane: string, length: number, label: string, bad = false): number => {
    if (length > 0) bars.push({ lane, start: now, length, label, bad });
    return length;
  };
  now += add("waiting", total.get("waiting") ?? 0, "waiting for a place");
  let turn = 0;
  let placed = 0;
  for (const [n, [by, segments]] of episode.said.entries()) {
    if (by === "model") now += add("model", (model * sizes[n]) / byModel, `turn ${++turn}`);
    if (by === "user") now += add("user", (total.get("user") ?? 0) / replies, "a user's reply");
    if (by !== "tool") continue;
    const calls = segments.filter(([kind]) => kind === "result");
    const lengths = calls.map(([, , more]) => {
      const bad = more?.status !== undefined || more?.error !== undefined;
      const name = oneLine(more?.name ?? "call", 60);
      return add("tools", more?.seconds ?? 0, `turn ${turn}, ${name}${bad ? `: ${more?.error ?? more?.status}` : ""}`, bad);
    });
    const longest = Math.max(0, ...lengths);
    placed += longest;
    now += longest;
  }
  if (turn === 0) now += add("model", model, "all turns");
  const rest = (total.get("tools") ?? 0) - placed;
  // Starting and closing tools is theirs too.
  if (rest > 1e-4) now += add("tools", rest, placed > 0 ? "beside the calls" : "all calls");
  now += add("grading", total.get("grading") ?? 0, "grading");
  return bars;
}
