// One episode: what was said, its tokens, where its time went, and why it was paid what it was.

import type { ComponentChildren, VNode } from "preact";
import { useEffect, useState } from "preact/hooks";

import type { Go } from "./app";
import type { Episode, Store } from "./data";
import type { Route } from "./route";
import { writeRoute } from "./route";
import { coded, payClass, useNarrow } from "./table";
import { number, oneLine } from "./text";
import { Time } from "./time";
import { Tokens } from "./tokens";
import { Transcript } from "./transcript";
import { Why } from "./why";

interface Props {
  store: Store;
  index: number;
  route: Route;
  place: [number, number]; // among those that the filters leave
  go: Go;
  move: (by: number) => void;
  back: () => void;
}

const TABS = [
  ["", "Transcript"],
  ["tokens", "Tokens"],
  ["time", "Time"],
  ["why", "Why"],
] as const;

export function EpisodeView({ store, index, route, place, go, move, back }: Props): VNode {
  const episode = useEpisode(store, index);
  const narrow = useNarrow();
  const { table } = store;
  const tabs = TABS.filter(([tab]) => narrow || tab !== "why");
  const tab = tabs.some(([known]) => known === route.tab) ? route.tab : "";
  return (
    <main class="episode">
      <div class="crumbs">
        <button class="plain" onClick={back} title="all episodes (Esc)">←</button>
        <span class={`pay ${payClass(table, index)}`}>
          <i />
          {table.reward[index] === null ? "lost" : number(table.reward[index])}
        </span>
        <b class="name" title={oneLine(table.episode[index])}>{oneLine(coded(table.task, index), 90)}</b>
        <span class={`badge ${coded(table.kind, index)}`}>{oneLine(coded(table.outcome, index), 40)}</span>
        {table.step[index] !== null && <span class="quiet step">step {table.step[index]}</span>}
        <span class="spring" />
        <a href={writeRoute({ ...route, view: "group", name: table.episode[index], tab: "", at: null })} title="side by side (g)">group</a>
        <span class="quiet place">{place[0] < 0 ? "–" : place[0] + 1} / {place[1].toLocaleString("en")}</span>
        <button class="plain" onClick={() => move(-1)} title="the one before (k)" aria-label="previous">‹</button>
        <button class="plain" onClick={() => move(1)} title="the next (j)" aria-label="next">›</button>
      </div>
      <div class="tabs" role="tablist">
        {tabs.map(([key, label]) => (
          <button key={key} role="tab" aria-selected={tab === key} onClick={() => go({ tab: key }, true)}>
            {label}
          </button>
        ))}
      </div>
      {episode === null ? (
        <p class="loading">Reading …</p>
      ) : episode instanceof Error ? (
        <p class="loading">This episode cannot be read: {oneLine(episode.message)}</p>
      ) : (
        <div class="panes">
          {tab === "" && <Transcript store={store} episode={episode} query={route.filters.q} at={route.at} go={go} />}
          {tab === "tokens" && <Tokens store={store} episode={episode} at={route.at} go={go} />}
          {tab === "time" && <Time episode={episode} />}
          {tab === "why" && <Side><Why store={store} episode={episode} /></Side>}
          {!narrow && <Side><Why store={store} episode={episode} /></Side>}
        </div>
      )}
    </main>
  );
}

function Side({ children }: { children: ComponentChildren }): VNode {
  return <aside class="scroll side">{children}</aside>;
}

export function useEpisode(store: Store, index: number): Episode | Error | null {
  const [episode, setEpisode] = useState<Episode | Error | null>(null);
  useEffect(() => {
    let wanted = true;
    store.episode(index).then(
      (found) => wanted && setEpisode(found),
      (error: unknown) => wanted && setEpisode(error instanceof Error ? error : new Error(String(error))),
    );
    return () => {
      wanted = false;
    };
  }, [store, index]);
  return episode;
}
