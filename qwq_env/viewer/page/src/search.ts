// Full-text search: the lower-cased text of every episode, read in the background after the table
// is drawn. Episodes of a chunk are one string, so a scan is a few long `indexOf` of the engine's.

import type { Store } from "./data";
import { partsOf } from "./parts";

interface Indexed {
  text: string;
  starts: Uint32Array; // of each episode in `text`, and the end
  first: number;
}

export class Search {
  private readonly chunks: Indexed[] = [];
  done = false;

  constructor(private readonly store: Store) {}

  get progress(): number {
    const total = this.store.manifest.chunks.length;
    return total === 0 ? 1 : this.chunks.length / total;
  }

  /** Read everything, a chunk at a time, so that the page answers in between. */
  async build(onProgress: () => void): Promise<void> {
    let told = performance.now();
    for (let number = 0; number < this.store.manifest.chunks.length; number++) {
      await idle();
      await this.add(number);
      if (performance.now() - told > 250) {
        told = performance.now();
        onProgress();
      }
    }
    this.done = true;
    performance.mark("indexed");
    onProgress();
  }

  private async add(number: number): Promise<void> {
    const episodes = await this.store.chunk(number, false);
    const starts = new Uint32Array(episodes.length + 1);
    const texts: string[] = [];
    let at = 0;
    let began = performance.now();
    for (const [offset, episode] of episodes.entries()) {
      starts[offset] = at;
      const said = partsOf(episode, this.store.vocab).map((part) => part.text);
      const name = this.store.table.episode[episode.index];
      // A sign that no keyboard writes: nothing is found across the end of an episode.
      const one = `${[name, ...said, episode.answer, episode.detail].join("\n").toLowerCase()}\0`;
      texts.push(one);
      at += one.length;
      if (performance.now() - began > 12) {
        await idle();
        began = performance.now();
      }
    }
    starts[episodes.length] = at;
    this.chunks.push({ text: texts.join(""), starts, first: this.store.manifest.chunks[number] });
  }

  /** Which episodes hold `query`, letters' case left aside: (episodes,), 1 where one does. */
  find(query: string): Uint8Array {
    const found = new Uint8Array(this.store.table.count);
    const wanted = query.toLowerCase();
    for (const { text, starts, first } of this.chunks) {
      let episode = 0;
      let at = text.indexOf(wanted);
      while (at !== -1) {
        while (starts[episode + 1] <= at) episode++;
        found[first + episode] = 1;
        at = text.indexOf(wanted, starts[episode + 1]);
      }
    }
    return found;
  }
}

function idle(): Promise<void> {
  const { promise, resolve } = withResolvers();
  if ("requestIdleCallback" in window) requestIdleCallback(() => resolve(), { timeout: 50 });
  else setTimeout(resolve);
  return promise;
}

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => undefined;
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
