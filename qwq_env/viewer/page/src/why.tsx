// Why the reward was what it was, and what else is known of the episode.

import type { VNode } from "preact";

import type { Episode, Store } from "./data";
import { payClass } from "./table";
import { number, seconds, shown } from "./text";

export function Why({ store, episode }: { store: Store; episode: Episode }): VNode {
  const { table } = store;
  const { index } = episode;
  const reward = table.reward[index];
  const advantage = table.advantage[index];
  return (
    <div class="why">
      <p class={`reward ${payClass(table, index)}`}>
        {reward === null ? "lost" : number(reward)}
        <span>{reward === null ? "no reward; not learned from" : "reward"}</span>
      </p>
      {advantage !== null && (
        <p class="quiet">advantage {advantage > 0 ? "+" : ""}{number(advantage)} against its group</p>
      )}
      {episode.scores.map(([name, value, reason, detail, extracted]) => (
        <div class="score" key={name}>
          <span>{shown(name)}</span>
          <b>{value === null ? "undecided" : number(value)}</b>
          <meter min={0} max={1} value={value ?? 0} aria-label={name} />
          {(reason !== "" || detail !== "") && <p>{shown(reason)}{detail !== "" && <> · {shown(detail.slice(0, 1000))}</>}</p>}
          {extracted !== "" && <p>took <code dir="auto">{shown(extracted.slice(0, 300))}</code></p>}
        </div>
      ))}
      <h4>What was graded</h4>
      <Quote text={episode.answer} none="nothing: no final answer" />
      {episode.reference !== null && (
        <>
          <h4>Against</h4>
          <Quote text={episode.reference} none="an empty reference" />
        </>
      )}
      {episode.detail !== "" && (
        <>
          <h4>How it ended</h4>
          <Quote text={episode.detail} none="" />
        </>
      )}
      <Pairs title="Calls" pairs={episode.counts.map(([key, value]) => [key, number(value)])} />
      <Pairs title="Tokens" pairs={episode.authors.map(([key, value]) => [key, number(value)])} />
      <Pairs title="Time" pairs={episode.seconds.map(([key, value]) => [key, seconds(value)])} />
      <Pairs title="Episode" pairs={[["name", table.episode[index]], ...episode.facts]} />
    </div>
  );
}

function Quote({ text, none }: { text: string; none: string }): VNode {
  const most = 2000;
  if (text === "") return <p class="quiet">{none}</p>;
  return (
    <blockquote dir="auto">
      {shown(text.slice(0, most))}
      {text.length > most && <span class="quiet"> … {number(text.length - most)} more characters</span>}
    </blockquote>
  );
}

function Pairs({ title, pairs }: { title: string; pairs: [string, string][] }): VNode | null {
  if (pairs.length === 0) return null;
  return (
    <>
      <h4>{title}</h4>
      <dl class="pairs">
        {pairs.map(([key, value]) => (
          <div key={key}>
            <dt>{shown(key)}</dt>
            <dd dir="auto">{shown(value)}</dd>
          </div>
        ))}
      </dl>
    </>
  );
}
