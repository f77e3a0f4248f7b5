// The frame around every view: where one is, the keys, the theme.

import type { VNode } from "preact";
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";

import { Curves } from "./curves";
import type { Store } from "./data";
import { EpisodeView } from "./episode";
import { arrange } from "./filter";
import { GroupView } from "./group";
import { Help } from "./help";
import { readRoute, writeRoute, type Route } from "./route";
import type { Search } from "./search";
import { EpisodeTable } from "./table";
import { oneLine } from "./text";
import { Tools } from "./tools";

export type Go = (change: Partial<Route>, replace?: boolean) => void;

const TABS: [Route["view"], string][] = [
  ["episodes", "Episodes"],
  ["curves", "Curves"],
  ["tools", "Tools"],
];

export function App({ store, search }: { store: Store; search: Search }): VNode {
  const [route, setRoute] = useState(() => readRoute(location.hash));
  const [help, setHelp] = useState(false);
  const [cursor, setCursor] = useState(0);
  const [indexed, setIndexed] = useState(0);
  const searchBox = useRef<HTMLInputElement>(null);
  const { filters } = route;

  useEffect(() => {
    const follow = (): void => setRoute(readRoute(location.hash));
    addEventListener("hashchange", follow);
    void search.build(() => setIndexed(search.progress));
    return () => removeEventListener("hashchange", follow);
  }, []);

  const go = useCallback<Go>((change, replace = false) => {
    setRoute((before) => {
      const after = { ...before, at: null, ...change };
      history[replace ? "replaceState" : "pushState"](null, "", writeRoute(after));
      return after;
    });
  }, []);

  const order = useMemo(
    () => arrange(store.table, filters, filters.q === "" ? null : search.find(filters.q)),
    [JSON.stringify(filters), filters.q === "" ? 0 : indexed],
  );
  const place = useMemo(
    () => new Map(store.table.episode.map((name, index) => [name, index])),
    [store],
  );
  const index = route.view === "episode" ? (place.get(route.name) ?? -1) : -1;
  const here = index >= 0 ? order.indexOf(index) : Math.min(cursor, order.length - 1);

  const open = useCallback(
    (episode: number) => {
      const tab = readRoute(location.hash).tab;
      go({ view: "episode", name: store.table.episode[episode], tab });
    },
    [go, store],
  );
  const move = (by: number): void => {
    const next = Math.max(0, Math.min(order.length - 1, here + by));
    setCursor(next);
    if (route.view === "episode" && order.length > 0 && next !== here) {
      go({ name: store.table.episode[order[next]] }, true);
    }
  };
  const back = (): void => {
    if (here >= 0) setCursor(here);
    go({ view: "episodes", name: "" });
  };

  // Before anything is drawn, so that a quick second key finds where the first one led.
  useLayoutEffect(() => {
    const onKey = (event: KeyboardEvent): void => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const target = event.target as HTMLElement;
      if (target.matches("input, select, textarea")) {
        if (event.key === "Escape") target.blur();
        return;
      }
      const action = keys()[event.key];
      if (action === undefined) return;
      event.preventDefault();
      action();
    };
    const keys = (): Record<string, () => void> => {
      const table = route.view === "episodes";
      const at = index >= 0 ? index : order[here];
      return {
        "?": () => setHelp((shown) => !shown),
        "/": () => {
          if (!table) back();
          requestAnimationFrame(() => searchBox.current?.focus());
        },
        Escape: () => (help ? setHelp(false) : table ? go({ filters: readRoute("").filters }) : back()),
        j: () => move(1),
        k: () => move(-1),
        ...(table && {
          ArrowDown: () => move(1),
          ArrowUp: () => move(-1),
          PageDown: () => move(15),
          PageUp: () => move(-15),
          Home: () => move(-order.length),
          End: () => move(order.length),
          Enter: () => order.length > 0 && open(order[here]),
        }),
        ...(index >= 0 && {
          ArrowRight: () => move(1),
          ArrowLeft: () => move(-1),
          1: () => go({ tab: "" }, true),
          2: () => go({ tab: "tokens" }, true),
          3: () => go({ tab: "time" }, true),
        }),
        g: () => at !== undefined && go({ view: "group", name: store.table.episode[at] }),
        c: () => go({ view: "curves", name: "" }),
        t: toggleTheme,
      };
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  });

  const { manifest } = store;
  return (
    <div class="page">
      <header class="bar">
        <a class="title" href={writeRoute({ ...route, view: "episodes", name: "", tab: "" })}>
          <b>{oneLine(manifest.title, 60)}</b>
          <span class="kind">{manifest.kind}</span>
        </a>
        <nav>
          {TABS.map(([view, label]) => (
            <a
              key={view}
              href={writeRoute({ ...route, view, name: "", tab: "", at: null })}
              aria-current={tabOf(route.view) === view ? "page" : undefined}
            >
              {label}
            </a>
          ))}
        </nav>
        <button class="plain" onClick={toggleTheme} title="light or dark (t)" aria-label="light or dark">
          ◐
        </button>
        <button class="plain" onClick={() => setHelp(true)} title="keys (?)" aria-label="help">
          ?
        </button>
      </header>
      {route.view === "episodes" && (
        <EpisodeTable
          store={store}
          order={order}
          filters={filters}
          cursor={here}
          progress={search.done ? 1 : indexed}
          searchBox={searchBox}
          go={go}
          open={open}
        />
      )}
      {route.view === "episode" &&
        (index >= 0 ? (
          <EpisodeView
            key={index}
            store={store}
            index={index}
            route={route}
            place={[here, order.length]}
            go={go}
            move={move}
            back={back}
          />
        ) : (
          <Missing what="episode" name={route.name} />
        ))}
      {route.view === "group" &&
        (place.has(route.name) ? (
          <GroupView store={store} index={place.get(route.name) as number} query={filters.q} go={go} />
        ) : (
          <Missing what="episode" name={route.name} />
        ))}
      {route.view === "curves" && <Curves />}
      {route.view === "tools" && <Tools store={store} />}
      {help && <Help manifest={manifest} close={() => setHelp(false)} />}
    </div>
  );
}

function tabOf(view: Route["view"]): Route["view"] {
  return view === "episode" || view === "group" ? "episodes" : view;
}

function Missing({ what, name }: { what: string; name: string }): VNode {
  return (
    <p class="loading">
      No {what} “{oneLine(name, 80)}” in this page. <a href="#/episodes">All episodes</a>
    </p>
  );
}

function toggleTheme(): void {
  const root = document.documentElement;
  const dark = root.dataset["theme"]
    ? root.dataset["theme"] === "dark"
    : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset["theme"] = dark ? "light" : "dark";
}
