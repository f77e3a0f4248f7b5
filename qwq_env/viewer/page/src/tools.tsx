// The health of the tools: what was called, what failed and whose fault it was, how long it took.

import type { VNode } from "preact";

import { useReport } from "./curves";
import type { Store } from "./data";
import { number, oneLine, seconds } from "./text";

export function Tools({ store }: { store: Store }): VNode {
  const report = useReport();
  if (report === null) return <p class="loading">Reading …</p>;
  if (report.tools.length === 0 && report.counts.length === 0) {
    return <p class="loading">No tool was called in these episodes.</p>;
  }
  const all = report.counts.reduce((sum, [, count]) => sum + count, 0);
  return (
    <main class="tools scroll" tabIndex={0}>
      {report.tools.length > 0 && (
        <div class="wide">
          <table>
            <thead>
              <tr><th>Tool</th><th>Calls</th><th>Ended</th><th>Model's fault</th><th>Tool's fault</th><th>Median</th><th>95 %</th><th>Failures</th></tr>
            </thead>
            <tbody>
              {report.tools.map((tool) => (
                <tr key={tool.name}>
                  <td><code>{oneLine(tool.name, 60) || "(unnamed)"}</code></td>
                  <td>{number(tool.calls)}</td>
                  <td><Share parts={[["ok", tool.ok], ["policy_error", tool.policy], ["tool_error", tool.tool]]} of={tool.calls} /></td>
                  <td>{number(tool.policy)}</td>
                  <td>{number(tool.tool)}</td>
                  <td>{seconds(tool.median)}</td>
                  <td>{seconds(tool.p95)}</td>
                  <td class="kinds">{tool.kinds.map(([kind, count]) => `${oneLine(kind, 40)} ${count}`).join(", ") || "–"}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      <h4>Requests by what became of them, over {number(store.table.count)} episodes</h4>
      <ul class="bars">
        {report.counts.map(([kind, count]) => (
          <li key={kind}>
            <span>{oneLine(kind, 40)}</span>
            <i class={kind === "ok" ? "ok" : "policy_error"} style={{ width: `${(60 * count) / Math.max(1, all)}%` }} />
            <b>{number(count)}</b>
          </li>
        ))}
      </ul>
    </main>
  );
}

function Share({ parts, of }: { parts: [string, number][]; of: number }): VNode {
  return (
    <span class="share" title={parts.map(([kind, count]) => `${kind} ${count}`).join(", ")}>
      {parts.map(([kind, count]) => <i key={kind} class={kind} style={{ width: `${(100 * count) / Math.max(1, of)}%` }} />)}
    </span>
  );
}
