// Elements without markup: every text goes through textContent, so what models wrote can only ever be read.
type Child = Node | string | number | null | undefined | false | Child[];
type Attributes = Record<string, any>;

function fill(element: Element, attributes: Attributes, children: Child[]): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value == null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" && "value" in element) (element as any).value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  add(element, children);
}
function add(element: Element, children: Child[]): void {
  for (const child of children) {
    if (Array.isArray(child)) add(element, child);
    else if (child != null && child !== false) element.append(typeof child === "number" ? String(child) : child);
  }
}
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Attributes = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  fill(element, attributes, children);
  return element;
}
export function svg(tag: string, attributes: Attributes = {}, ...children: Child[]): SVGElement {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  fill(element, attributes, children);
  return element;
}
/** A text that somebody else wrote: isolated, so that right-to-left letters turn nothing else around. */
export const said = (text: string, tag: "span" | "p" | "strong" = "span") => h(tag, { dir: "auto", class: "said" }, text);
export const swap = (element: Element, ...children: Child[]) => { element.replaceChildren(); add(element, children); };
export const byId = (id: string) => document.getElementById(id)!;
