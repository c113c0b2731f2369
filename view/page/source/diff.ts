// Line differences (Myers), and how they are shown: unified or side by side, never as markup.
import { h } from "./dom";

export type Change = [sign: " " | "+" | "-", text: string];
const CONTEXT = 3, MOST = 4000; // edits after which two files count as simply different

export function lines(before: string, after: string): Change[] {
  const a = before.split("\n"), b = after.split("\n");
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
  return [
    ...a.slice(0, head).map((t): Change => [" ", t]),
    ...middle(a.slice(head, a.length - tail), b.slice(head, b.length - tail)),
    ...a.slice(a.length - tail).map((t): Change => [" ", t]),
  ];
}

function middle(a: string[], b: string[]): Change[] {
  const n = a.length, m = b.length, most = Math.min(n + m, MOST), trace: Int32Array[] = [];
  const v = new Int32Array(2 * most + 3), o = most + 1;
  for (let d = 0; d <= most; d++) {
    trace.push(v.slice());
    for (let k = -d; k <= d; k += 2) {
      let x = k === -d || (k !== d && v[o + k - 1] < v[o + k + 1]) ? v[o + k + 1] : v[o + k - 1] + 1;
      while (x < n && x - k < m && a[x] === b[x - k]) x++;
      v[o + k] = x;
      if (x >= n && x - k >= m) return back(a, b, trace, d, o);
    }
  }
  return [...a.map((t): Change => ["-", t]), ...b.map((t): Change => ["+", t])];
}
function back(a: string[], b: string[], trace: Int32Array[], edits: number, o: number): Change[] {
  const found: Change[] = [];
  let x = a.length, y = b.length;
  for (let d = edits; d > 0; d--) {
    const v = trace[d], k = x - y;
    const before = k === -d || (k !== d && v[o + k - 1] < v[o + k + 1]) ? k + 1 : k - 1;
    const px = v[o + before], py = px - before;
    while (x > px && y > py) { found.push([" ", a[--x]]); y--; }
    if (x === px) found.push(["+", b[--y]]); else found.push(["-", a[--x]]);
  }
  while (x > 0) found.push([" ", a[--x]]);
  return found.reverse();
}

/** Stretches of changes with some lines around them; null stands for lines left out. */
export function hunks(changes: Change[]): (Change | null)[] {
  const near = new Uint8Array(changes.length);
  changes.forEach(([sign], i) => { if (sign !== " ") near.fill(1, Math.max(0, i - CONTEXT), i + CONTEXT + 1); });
  const shown: (Change | null)[] = [];
  changes.forEach((change, i) => {
    if (near[i]) shown.push(change);
    else if (!i || near[i - 1]) shown.push(null);
  });
  return shown;
}

const KIND = { "+": "added", "-": "removed", " ": "same" } as const;
const code = (change: Change | undefined) =>
  h("code", { class: change ? KIND[change[0]] : "none" }, change ? `${change[0]} ${change[1]}` : " ");

export function render(path: string, before: string, after: string, side: boolean): HTMLElement {
  const shown = hunks(lines(before, after));
  const box = h("div", { class: `diff ${side ? "side" : "unified"}`, role: "group", "aria-label": `changes of ${path}`, tabindex: 0 });
  for (let i = 0; i < shown.length; i++) {
    const change = shown[i];
    if (change === null) box.append(h("code", { class: "gap" }, "⋯"));
    else if (!side) box.append(code(change));
    else if (change[0] === " ") box.append(code(change), code(change));
    else {
      const left: Change[] = [], right: Change[] = [];
      for (; i < shown.length && shown[i] && shown[i]![0] !== " "; i++) (shown[i]![0] === "-" ? left : right).push(shown[i]!);
      i--;
      for (let k = 0; k < Math.max(left.length, right.length); k++) box.append(code(left[k]), code(right[k]));
    }
  }
  return h("figure", {}, h("figcaption", {}, path), box);
}
