import type { VNode } from "preact";
import { useEffect, useRef } from "preact/hooks";

import type { Manifest } from "./data";
import { oneLine } from "./text";

const KEYS = [
  ["j k, ↓ ↑", "the next, the one before"],
  ["Enter", "open the episode"],
  ["Esc", "back; in the table: clear the filters"],
  ["/", "search all text"],
  ["1 2 3", "transcript, tokens, time"],
  ["g", "the group side by side"],
  ["c", "curves"],
  ["t", "light or dark"],
  ["?", "this"],
] as const;

export function Help({ manifest, close }: { manifest: Manifest; close: () => void }): VNode {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} onClose={close} onClick={(event) => event.target === dialog.current && close()}>
      <h2>Keys</h2>
      <dl class="keys">
        {KEYS.map(([keys, what]) => (
          <div key={keys}>
            <dt>{keys.split(/(, | )/).map((key) => (/^(, | )$/.test(key) ? key : <kbd key={key}>{key}</kbd>))}</dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <h2>Filters</h2>
      <p>
        Step and reward take a number, <code>10-20</code>, <code>&lt;1</code>, <code>&gt;=0.5</code>, and
        reward <code>none</code> for what was lost. A link to this page keeps where you are.
      </p>
      <h2>What this is</h2>
      <dl class="pairs">
        {[["from", manifest.source], ["made", manifest.made], ...manifest.facts].map(([key, value]) => (
          <div key={key}><dt>{oneLine(key, 60)}</dt><dd>{oneLine(value, 400)}</dd></div>
        ))}
      </dl>
      <p class="quiet">All of it lies in this one file, which asks for nothing from anywhere. Log-probabilities are kept to within 3 %.</p>
      <form method="dialog"><button>Close</button></form>
    </dialog>
  );
}
