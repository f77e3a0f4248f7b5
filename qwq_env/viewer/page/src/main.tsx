import { render } from "preact";

import { App } from "./app";
import { openStore } from "./data";
import { Search } from "./search";
import "./style.css";

const root = document.getElementById("app") as HTMLElement;

async function start(): Promise<void> {
  if (!("DecompressionStream" in window)) {
    throw new Error("this browser is too old: Chrome 103, Firefox 113 or Safari 16.4 and later");
  }
  const store = await openStore();
  document.title = `${store.manifest.title} · qwq view`;
  root.textContent = "";
  render(<App store={store} search={new Search(store)} />, root);
  // For whoever measures: the time from the beginning of the navigation to the drawn table.
  requestAnimationFrame(() => performance.mark("drawn"));
}

start().catch((error: unknown) => {
  root.textContent = "";
  const note = document.createElement("p");
  note.className = "loading";
  note.textContent = `The episodes cannot be read: ${error instanceof Error ? error.message : error}`;
  root.append(note);
});
