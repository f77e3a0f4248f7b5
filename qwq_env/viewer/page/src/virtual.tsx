// Long lists: only what is seen, and a little around it, is in the document.

import type { ComponentChildren, RefObject, VNode } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

const AROUND = 600; // pixels above and below the view

interface Box {
  top: number;
  height: number;
}

/** Where a scrolled box stands, told at most once a frame. */
function useScroll(box: RefObject<HTMLDivElement | null>): Box {
  const [at, setAt] = useState<Box>({ top: 0, height: 900 });
  useLayoutEffect(() => {
    const element = box.current;
    if (element === null) return undefined;
    let asked = 0;
    const read = (): void => {
      asked = 0;
      setAt({ top: element.scrollTop, height: element.clientHeight });
    };
    const ask = (): void => {
      asked ||= requestAnimationFrame(read);
    };
    read();
    element.addEventListener("scroll", ask, { passive: true });
    const observer = new ResizeObserver(ask);
    observer.observe(element);
    return () => {
      cancelAnimationFrame(asked);
      element.removeEventListener("scroll", ask);
      observer.disconnect();
    };
  }, [box]);
  return at;
}

interface RowsProps {
  count: number;
  height: number; // of every row, in pixels
  selected?: number;
  label: string;
  class?: string;
  row: (index: number) => VNode;
}

/** Rows of one height. */
export function Rows({ count, height, selected, label, row, ...rest }: RowsProps): VNode {
  const box = useRef<HTMLDivElement>(null);
  const at = useScroll(box);
  useLayoutEffect(() => {
    const element = box.current;
    if (element === null || selected === undefined || selected < 0) return;
    const top = selected * height;
    if (top < element.scrollTop) element.scrollTop = top;
    const most = top + height - element.clientHeight;
    if (most > element.scrollTop) element.scrollTop = most;
  }, [selected, height]);
  const first = Math.max(0, Math.floor((at.top - AROUND) / height));
  const last = Math.min(count, Math.ceil((at.top + at.height + AROUND) / height));
  const seen: VNode[] = [];
  for (let index = first; index < last; index++) seen.push(row(index));
  return (
    <div class={`scroll ${rest.class ?? ""}`} ref={box} aria-label={label} tabIndex={0}>
      <div style={{ height: `${count * height}px` }}>
        <div style={{ transform: `translateY(${first * height}px)` }}>{seen}</div>
      </div>
    </div>
  );
}

interface BlocksProps {
  count: number;
  estimate: (index: number) => number; // pixels, until it was seen
  block: (index: number) => VNode;
  goto?: { block: number; key: string } | null; // scrolled to, once for each key
  id: string; // of what is shown: another id begins at the top
  class?: string;
  head?: ComponentChildren;
}

/** Blocks of any height, measured as they come into view. */
export function Blocks({ count, estimate, block, goto, id, head, ...rest }: BlocksProps): VNode {
  const box = useRef<HTMLDivElement>(null);
  const inner = useRef<HTMLDivElement>(null);
  const heights = useRef<{ id: string; sizes: Float64Array }>({ id: "", sizes: new Float64Array() });
  const [, redraw] = useState(0);
  if (heights.current.id !== id || heights.current.sizes.length !== count) {
    const sizes = new Float64Array(count);
    for (let index = 0; index < count; index++) sizes[index] = estimate(index);
    heights.current = { id, sizes };
  }
  const sizes = heights.current.sizes;
  const at = useScroll(box);
  let first = 0;
  let above = 0;
  while (first < count && above + sizes[first] < at.top - AROUND) above += sizes[first++];
  let last = first;
  let shown = above;
  while (last < count && shown < at.top + at.height + AROUND) shown += sizes[last++];
  let below = 0;
  for (let index = last; index < count; index++) below += sizes[index];

  useLayoutEffect(() => {
    if (box.current !== null && goto == null) box.current.scrollTop = 0;
  }, [id]);
  useLayoutEffect(() => {
    if (inner.current === null || box.current === null) return;
    let moved = 0;
    let changed = false;
    let top = above;
    for (const [offset, child] of [...inner.current.children].entries()) {
      const measured = child.getBoundingClientRect().height;
      const index = first + offset;
      const difference = measured - sizes[index];
      if (Math.abs(difference) > 0.5) {
        // What lies above the view must not push down what is being read.
        if (top + sizes[index] < box.current.scrollTop) moved += difference;
        sizes[index] = measured;
        changed = true;
      }
      top += sizes[index];
    }
    if (moved !== 0) box.current.scrollTop += moved;
    if (changed) redraw((n) => n + 1);
  });
  const asked = goto?.key;
  useEffect(() => {
    if (goto == null) return undefined;
    let tries = 0;
    let frame = 0;
    // Heights are estimates until they were seen: a few steps come to the right place.
    const step = (): void => {
      let top = 0;
      for (let index = 0; index < Math.min(goto.block, count); index++) top += sizes[index];
      if (box.current !== null) box.current.scrollTop = Math.max(0, top - 12);
      if (++tries < 4) frame = requestAnimationFrame(step);
    };
    step();
    return () => cancelAnimationFrame(frame);
  }, [asked, id]);

  const seen: VNode[] = [];
  for (let index = first; index < last; index++) seen.push(block(index));
  return (
    <div class={`scroll ${rest.class ?? ""}`} ref={box} tabIndex={0}>
      {head}
      <div style={{ paddingTop: `${above}px`, paddingBottom: `${below}px` }}>
        <div ref={inner}>{seen}</div>
      </div>
    </div>
  );
}
