// The episodes of a group side by side, with what each was paid against the others.

import type { VNode } from "preact";

import type { Go } from "./app";
import type { Store } from "./data";
import { useEpisode } from "./episode";
import { coded, payClass } from "./table";
import { number, oneLine, shown } from "./text";
import { Transcript } from "./transcript";

const MOST = 64;

export function GroupView({ store, index, query, go }: { store: Store; index: number; query: string; go: Go }): VNode {
  const { table } = store;
  const members: number[] = [];
  for (let other = 0; other < table.count; other++) {
    if (table.group[other] === table.group[index]) members.push(other);
  }
  const rewards = members.map((one) => table.reward[one]).filter((value) => value !== null);
  const mean = rewards.reduce((sum, value) => sum + value, 0) / Math.max(1, rewards.length);
  const spread = Math.sqrt(rewards.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, rewards.length - 1));
  const widest = Math.max(...members.map((one) => Math.abs(table.advantage[one] ?? 0)), 1e-9);
  return (
    <main class="group">
      <div class="crumbs">
        <button class="plain" onClick={() => go({ view: "episodes", name: "" })} title="all episodes (Esc)">←</button>
        <b class="name">{oneLine(coded(table.task, index), 90)}</b>
        {table.step[index] !== null && <span class="quiet">step {table.step[index]}</span>}
        <span class="spring" />
        <span class="quiet">{members.length} episodes · mean {number(mean)} · deviation {number(spread)}</span>
      </div>
      <div class="columns">
        {members.slice(0, MOST).map((one) => (
          <Member key={one} store={store} index={one} query={query} widest={widest} here={one === index} go={go} />
        ))}
        {members.length > MOST && <p class="quiet">and {members.length - MOST} more</p>}
      </div>
    </main>
  );
}

interface MemberProps {
  store: Store;
  index: number;
  query: string;
  widest: number;
  here: boolean;
  go: Go;
}

function Member({ store, index, query, widest, here, go }: MemberProps): VNode {
  const episode = useEpisode(store, index);
  const { table } = store;
  const advantage = table.advantage[index];
  const share = advantage === null ? 0 : (50 * Math.abs(advantage)) / widest;
  return (
    <article class={here ? "here" : ""}>
      <header>
        <span class={`pay ${payClass(table, index)}`}><i />{table.reward[index] === null ? "lost" : number(table.reward[index])}</span>
        <span class={`badge ${coded(table.kind, index)}`}>{oneLine(coded(table.outcome, index), 30)}</span>
        <span class="spring" />
        <button class="link" onClick={() => go({ view: "episode", name: table.episode[index], tab: "" })}>open</button>
      </header>
      {advantage !== null && (
        <div class="advantage" title="advantage: what it was paid against its group">
          <i class={advantage < 0 ? "minus" : "plus"} style={{ width: `${share}%`, left: advantage < 0 ? `${50 - share}%` : "50%" }} />
          <span>{advantage > 0 ? "+" : ""}{number(advantage)}</span>
        </div>
      )}
      {episode !== null && !(episode instanceof Error) && (
        <>
          <p class="graded" title="what was graded" dir="auto">{episode.answer === "" ? <span class="quiet">no answer</span> : shown(episode.answer.slice(0, 300))}</p>
          <Transcript store={store} episode={episode} query={query} at={null} compact />
        </>
      )}
    </article>
  );
}
