// Elements of text. No module makes markup of a string, so names and texts of strangers stay text.

// Characters that hide or turn around the text beside them, and controls: they are taken out of what is shown.
const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2060-\u2069\ufeff\ufff9-\ufffb]/gu;
const LONGEST = 280;

/** Makes an element. Attributes that are functions are listeners; children are text, elements, or lists of both. */
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(key, String(value));
  }
  element.append(...kept(children));
  return element;
}

/** Children without what stands for nothing. */
const kept = (children) => [children].flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);

/** A stranger's text: in its own direction, without invisible characters, cut where it is very long. */
export function stranger(text, longest = LONGEST) {
  const plain = visible(text);
  const signs = Array.from(plain);
  const shown = signs.length > longest ? `${signs.slice(0, longest).join("")}…` : plain;
  return h("bdi", { title: signs.length > longest ? signs.slice(0, 4 * longest).join("") : null }, shown || "(blank)");
}

export const visible = (text) => String(text ?? "").replace(INVISIBLE, "").trim();

/** Sets the content of an element, if it differs, so that a screen reader is not told the same again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export const card = (title, { note = "", right = null, id = null } = {}, ...content) =>
  h(
    "section",
    { class: "card", "aria-label": title, id },
    h("header", {}, h("h2", {}, title), h("span", { class: "note" }, note), right && h("span", { class: "right" }, right)),
    ...content,
  );

/** A list whose items keep their elements from one message to the next: focus and animations stay. */
export class KeyedList {
  constructor(list, key, row) {
    this.list = list;
    this.key = key;
    this.row = row;
    this.kept = new Map();
  }

  /** Shows the items in order. `row(item, before)` makes the content of a new or changed item. */
  show(items) {
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches || document.hidden;
    const tops = new Map();
    if (!still) for (const [key, { element }] of this.kept) tops.set(key, element.offsetTop);
    const next = new Map();
    items.forEach((item, place) => {
      const key = this.key(item);
      const state = JSON.stringify([item, place]);
      const entry = this.kept.get(key) ?? { element: h("li"), state: "" };
      if (entry.state !== state) {
        this.#fill(entry.element, this.row(item, place));
        entry.state = state;
      }
      next.set(key, entry);
    });
    for (const [key, { element }] of this.kept) if (!next.has(key)) element.remove();
    let place = 0;
    for (const { element } of next.values()) {
      if (this.list.children[place] !== element) this.list.insertBefore(element, this.list.children[place] ?? null);
      place += 1;
    }
    if (!still) for (const [key, { element }] of next) this.#glide(element, tops.get(key));
    this.kept = next;
  }

  #fill(element, content) {
    const focused = element.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    element.replaceChildren(...kept(content));
    if (focused !== null) element.querySelector(`a[href="${CSS.escape(focused)}"], a`)?.focus();
  }

  #glide(element, before) {
    const moved = before === undefined ? 0 : before - element.offsetTop;
    if (moved) element.animate([{ transform: `translateY(${moved}px)` }, { transform: "none" }], { duration: 320, easing: "ease-out" });
  }
}
