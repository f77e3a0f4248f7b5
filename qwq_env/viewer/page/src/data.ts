// What the page holds, and how it is read. qwq_env/viewer/ writes it; `FORMAT` ties the two.
//
// Every block is a zlib stream in base64 in a <script type="text/plain"> of its own, and is read
// when it is first needed: the table at once, the text of the episodes while nobody waits.

export const FORMAT = 1;

export interface Manifest {
  format: number;
  title: string;
  source: string;
  kind: string;
  made: string;
  chunks: number[]; // the first episode of each chunk
  notes: string[];
  facts: [string, string][];
}

/** A column of few values: `codes` are places in `values`. */
export interface Coded {
  values: string[];
  codes: number[];
}

export interface Table {
  count: number;
  episode: string[];
  phase: Coded;
  environment: Coded;
  task: Coded;
  outcome: Coded;
  kind: Coded; // terminated, truncated, failed
  step: (number | null)[];
  group: number[];
  reward: (number | null)[];
  advantage: (number | null)[];
  right: (boolean | null)[];
  turns: number[];
  calls: number[];
  errors: number[];
  tokens: number[];
  seconds: number[];
}

/** Who wrote the tokens from `start` to `end` of a row. */
export type Span = [start: number, end: number, author: string];

/** A row to learn from, as the trainer sees it. */
export interface RowHead {
  length: number;
  bytes: number;
  prompt: number;
  mask: number[]; // run lengths over the completion, the first of zeros
  spans: Span[];
  columns: string[]; // which of logprob, ratio, entropy are there, over the sampled tokens
}

/** What else is known of a segment; see qwq_env/segments.py. */
export interface More {
  name?: string;
  arguments?: unknown;
  error?: string;
  status?: string;
  seconds?: number;
  cut?: number;
}

/** What was written at one go, in segments: a text, or its length in that of the last row. */
export type Block = [by: string, segments: [kind: string, text: string | number, more?: More][]];

export interface Body {
  rows: RowHead[]; // one; several where earlier thinking was stripped; none over a chat
  said: Block[];
  joined: boolean; // whether `said` has lengths: what was said is the text of the last row
  answer: string;
  reference: string | null;
  // component, value; why, what is said of it, what was taken for the answer
  scores: [string, number | null, string, string, string][];
  detail: string;
  counts: [string, number][];
  authors: [string, number][]; // tokens by who wrote them
  seconds: [string, number][];
  facts: [string, string][];
}

export interface Curve {
  name: string;
  steps: number[];
  values: (number | null)[];
}

export interface ToolHealth {
  name: string;
  calls: number;
  ok: number;
  policy: number;
  tool: number;
  median: number | null;
  p95: number | null;
  kinds: [string, number][];
}

export interface Report {
  curves: Curve[];
  tools: ToolHealth[];
  counts: [string, number][];
}

interface Vocabulary {
  ids: number[];
  texts: string[]; // "" where the token is no whole text
  bytes: Record<string, string>; // place -> hexadecimal
  control: number[];
}

/** A row with its columns: (length,) ids; (sampled tokens,) the rest. */
export interface Row extends RowHead {
  places: Uint32Array; // places in the vocabulary
  values: Record<string, Uint8Array>;
}

export interface Episode extends Omit<Body, "rows"> {
  index: number;
  rows: Row[];
}

export function readManifest(): Manifest {
  const manifest = JSON.parse(text("manifest")) as Manifest;
  if (manifest.format !== FORMAT) {
    throw new Error(`data of format ${manifest.format}; this page reads ${FORMAT}`);
  }
  return manifest;
}

function text(id: string): string {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no block ${id}`);
  return element.textContent ?? "";
}

export async function readBlock(id: string): Promise<Uint8Array<ArrayBuffer>> {
  const packed = fromBase64(text(id).trim());
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

function fromBase64(encoded: string): Uint8Array<ArrayBuffer> {
  const native = (Uint8Array as unknown as { fromBase64?: (s: string) => Uint8Array<ArrayBuffer> })
    .fromBase64;
  if (native !== undefined) return native.call(Uint8Array, encoded);
  const binary = atob(encoded);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

export async function readJson<T>(id: string): Promise<T> {
  return JSON.parse(new TextDecoder().decode(await readBlock(id))) as T;
}

/** The texts of tokens, by their places in the order of use. */
export class Vocab {
  private readonly control: Set<number>;
  private readonly decoder = new TextDecoder("utf-8", { ignoreBOM: true });

  constructor(private readonly data: Vocabulary) {
    this.control = new Set(data.control);
  }

  id(place: number): number {
    return this.data.ids[place];
  }

  isControl(place: number): boolean {
    return this.control.has(place);
  }

  /** The text of one token; bytes that are no whole character as ‹e2 80›. */
  piece(place: number): string {
    const bytes = this.data.bytes[place];
    return bytes === undefined
      ? this.data.texts[place]
      : `‹${(bytes.match(/../g) ?? []).join(" ")}›`;
  }

  /** The text of the tokens from `start` to `end`; characters may lie over several of them. */
  text(places: Uint32Array, start: number, end: number): string {
    const { texts, bytes } = this.data;
    const pieces: string[] = [];
    let torn = "";
    for (let i = start; i < end; i++) {
      const part = bytes[places[i]];
      if (part !== undefined) {
        torn += part;
        continue;
      }
      if (torn !== "") {
        pieces.push(this.decodeHex(torn));
        torn = "";
      }
      pieces.push(texts[places[i]]);
    }
    if (torn !== "") pieces.push(this.decodeHex(torn));
    return pieces.join("");
  }

  /** The end of each token in the text of all, in UTF-16 units: (tokens,). */
  ends(places: Uint32Array): Uint32Array {
    const { texts, bytes } = this.data;
    const ends = new Uint32Array(places.length);
    let at = 0;
    let torn = "";
    for (let i = 0; i < places.length; i++) {
      const part = bytes[places[i]];
      if (part !== undefined) {
        torn += part;
        const last = i + 1 === places.length || bytes[places[i + 1]] === undefined;
        if (last) {
          at += this.decodeHex(torn).length;
          torn = "";
        }
      } else {
        at += texts[places[i]].length;
      }
      ends[i] = at;
    }
    return ends;
  }

  private decodeHex(hex: string): string {
    const bytes = new Uint8Array(hex.length / 2);
    for (let i = 0; i < bytes.length; i++) bytes[i] = parseInt(hex.slice(2 * i, 2 * i + 2), 16);
    return this.decoder.decode(bytes);
  }
}

/** Read a chunk: the length of its header, the header, ids of all rows, then column by column. */
function readChunk(bytes: Uint8Array<ArrayBuffer>, first: number): Episode[] {
  const size = new DataView(bytes.buffer).getUint32(0, true);
  const heads = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + size))) as Body[];
  let at = 4 + size;
  const episodes = heads.map((head, offset): Episode => {
    const rows = head.rows.map((row): Row => {
      const places = readVarints(bytes.subarray(at, at + row.bytes), row.length);
      at += row.bytes;
      return { ...row, places, values: {} };
    });
    return { ...head, index: first + offset, rows };
  });
  for (const column of ["logprob", "ratio", "entropy"]) {
    for (const episode of episodes) {
      for (const row of episode.rows) {
        if (!row.columns.includes(column)) continue;
        const sampled = row.mask.reduce((sum, run, place) => sum + (place % 2 ? run : 0), 0);
        row.values[column] = bytes.subarray(at, at + sampled);
        at += sampled;
      }
    }
  }
  return episodes;
}

function readVarints(bytes: Uint8Array, count: number): Uint32Array {
  const values = new Uint32Array(count);
  let at = 0;
  for (let i = 0; i < count; i++) {
    let value = 0;
    let shift = 0;
    let byte;
    do {
      byte = bytes[at++];
      value |= (byte & 0x7f) << shift;
      shift += 7;
    } while (byte & 0x80);
    values[i] = value;
  }
  return values;
}

const MISSING = 255;
const SMALLEST = 1e-4;
const STEP = Math.log(4e5) / 253;

/** What a byte stands for: 0 is nothing, then from 0.0001 to 40 in steps of 5 %. */
export function magnitude(code: number): number | null {
  if (code === MISSING) return null;
  return code === 0 ? 0 : SMALLEST * Math.exp((code - 1) * STEP);
}

/** A ratio by its logarithm, whose size is given in steps of 14 % from 0.0001 to 40 either way. */
export function ratio(code: number): number | null {
  if (code === MISSING) return null;
  const size = Math.abs(code - 127);
  if (size === 0) return 1;
  const log = SMALLEST * Math.exp((size - 1) * (Math.log(4e5) / 126));
  return Math.exp(code > 127 ? log : -log);
}

/** The episodes' bodies, read chunk by chunk; the last few are kept. */
export class Store {
  private readonly chunks = new Map<number, Promise<Episode[]>>();

  constructor(
    readonly manifest: Manifest,
    readonly table: Table,
    readonly vocab: Vocab,
  ) {}

  chunkOf(index: number): number {
    const firsts = this.manifest.chunks;
    let low = 0;
    let high = firsts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (firsts[middle] <= index) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  chunk(number: number, keep = true): Promise<Episode[]> {
    let found = this.chunks.get(number);
    if (found === undefined) {
      found = readBlock(`chunk-${number}`).then((b) => readChunk(b, this.manifest.chunks[number]));
      if (!keep) return found;
    }
    this.chunks.delete(number);
    this.chunks.set(number, found);
    for (const oldest of this.chunks.keys()) {
      if (this.chunks.size <= 12) break;
      this.chunks.delete(oldest);
    }
    return found;
  }

  async episode(index: number): Promise<Episode> {
    const chunk = this.chunkOf(index);
    return (await this.chunk(chunk))[index - this.manifest.chunks[chunk]];
  }
}

export async function openStore(): Promise<Store> {
  const manifest = readManifest();
  const table = await readJson<Table>("table");
  const vocab = new Vocab(await readJson<Vocabulary>("vocabulary"));
  return new Store(manifest, table, vocab);
}
