// The cascade of a post on a canvas: it grows with each message, and can be played from the first share on.
import { card, h, setText, stranger } from "./dom.js";
import { count, counted, percent, span, time } from "./format.js";
import { branchesOf, radialLayout } from "./tree_layout.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const PLAY_MS = 9000;
const PULSE_MS = 900;
const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

export class Cascade {
  constructor() {
    Object.assign(this, { tree: null, zoom: 1, pan: [0, 0], chosen: null, until: Infinity, fresh: Infinity, freshAt: -Infinity, frame: 0 });
    this.canvas = h("canvas", { role: "img", "aria-label": "The cascade of shares" });
    this.tip = h("div", { class: "tip", hidden: true });
    this.play = h("button", { type: "button", click: () => this.#play() }, "Play");
    this.stage = h("div", { class: "stage" }, this.canvas, this.tip, h("div", { class: "tools", role: "group", "aria-label": "The picture of the cascade" },
      this.play,
      h("button", { type: "button", "aria-label": "Larger", click: () => this.#zoomBy(1.4) }, "+"),
      h("button", { type: "button", "aria-label": "Smaller", click: () => this.#zoomBy(1 / 1.4) }, "−"),
      h("button", { type: "button", click: () => this.#fit() }, "Fit")));
    this.list = h("ol", { class: "carriers" });
    this.words = h("p", { class: "muted small" }, "Counting.");
    this.moment = h("p", { class: "muted small", "aria-live": "off" });
    this.element = card("Who carried it", { note: "each dot is a share, under the share that it carries on" },
      h("div", { class: "cascade" }, this.stage, h("div", {}, this.words, this.list, this.moment)));
    new ResizeObserver(() => this.#draw()).observe(this.stage);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#draw());
    this.canvas.addEventListener("pointermove", (event) => this.#point(event));
    this.canvas.addEventListener("pointerleave", () => this.#hideTip());
    this.canvas.addEventListener("pointerdown", (event) => this.#drag(event));
    this.canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  /** Shows a tree as the server sends it. */
  show(tree) {
    const newest = this.tree ? Math.max(...this.tree.times) : Infinity;
    this.tree = tree;
    this.layout = radialLayout(tree.parents, tree.sizes);
    this.branch = branchesOf(tree.parents, tree.branches.map(({ node }) => node));
    if (tree.times.some((at) => at > newest)) [this.fresh, this.freshAt] = [newest, performance.now()];
    this.#tell();
    this.#draw();
  }

  #tell() {
    const { total, depth, direct, branches, waiting } = this.tree;
    const drawn = this.tree.parents.length;
    const more = total > drawn ? ` The ${count(drawn)} with most people behind them are drawn.` : "";
    const gap = waiting ? ` ${counted(waiting, "share waits", "shares wait")} outside for a parent that has not come.` : "";
    setText(this.words, total ? `${counted(total, "share", "shares")} over ${counted(depth, "step", "steps")}; ${percent(direct / total)} came straight from the post.${more}${gap}` : "Nobody has shared this post yet.");
    this.canvas.setAttribute("aria-label", total ? `The cascade of ${counted(total, "share", "shares")} over ${counted(depth, "step", "steps")}; the list beside names the largest branches.` : "No shares yet");
    const focus = [...this.list.querySelectorAll("button")].indexOf(document.activeElement);
    this.list.replaceChildren(...branches.map((branch, number) => h("li", {}, h("button", { type: "button", "aria-pressed": String(this.chosen === number), click: () => this.#choose(number) },
      h("i", { class: `branch-${number}` }), h("span", { class: "who" }, stranger(branch.actor, 60)), h("b", {}, percent(branch.share)),
      h("small", {}, `${counted(branch.size, "share", "shares")} behind this one, ${count(branch.direct)} straight from it; at ${time(branch.at)}`)))));
    if (focus >= 0) this.list.querySelectorAll("button")[focus]?.focus();
  }

  #choose(number) {
    this.chosen = this.chosen === number ? null : number;
    this.list.querySelectorAll("button").forEach((button, place) => button.setAttribute("aria-pressed", String(place === this.chosen)));
    this.#draw();
  }

  #draw() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.#paint());
  }

  #paint() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const ratio = devicePixelRatio;
    if (!width || !this.tree) return;
    if (this.canvas.width !== Math.round(width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(width * ratio);
      this.canvas.height = Math.round(height * ratio);
    }
    const ink = this.canvas.getContext("2d");
    ink.setTransform(ratio, 0, 0, ratio, 0, 0);
    ink.clearRect(0, 0, width, height);
    const { parents, times, sizes, gone } = this.tree;
    const { x, y } = this.layout;
    this.scale = (Math.min(width, height) / 2 - 14) * this.zoom;
    this.middle = [width / 2 + this.pan[0], height / 2 + this.pan[1]];
    const [left, top] = this.middle;
    const at = (node) => (node < 0 ? [left, top] : [left + x[node] * this.scale, top + y[node] * this.scale]);
    const shown = (node) => times[node] <= this.until;
    const groups = [-1, ...this.tree.branches.keys()];
    const colours = groups.map((number) => colour(number < 0 ? "--rest" : `--branch-${number}`));
    const thin = parents.length > 1500 ? 0.18 : parents.length > 300 ? 0.3 : 0.5;
    groups.forEach((number, order) => {
      const faint = this.chosen !== null && this.chosen !== number;
      ink.strokeStyle = ink.fillStyle = colours[order];
      ink.globalAlpha = faint ? 0.06 : thin;
      ink.lineWidth = 1;
      ink.beginPath();
      for (let node = 0; node < parents.length; node += 1) {
        if (this.branch[node] !== number || !shown(node)) continue;
        const [fromX, fromY] = at(parents[node]);
        const [toX, toY] = at(node);
        ink.moveTo(fromX, fromY);
        // A bend towards the middle keeps edges of neighbours apart.
        ink.quadraticCurveTo(fromX + (toX - fromX) * 0.5 + (left - toX) * 0.06, fromY + (toY - fromY) * 0.5 + (top - toY) * 0.06, toX, toY);
      }
      ink.stroke();
      ink.globalAlpha = faint ? 0.12 : 0.92;
      ink.beginPath();
      for (let node = 0; node < parents.length; node += 1) {
        if (this.branch[node] !== number || !shown(node)) continue;
        const [placeX, placeY] = at(node);
        const radius = this.#radius(sizes[node]);
        ink.moveTo(placeX + radius, placeY);
        ink.arc(placeX, placeY, radius, 0, 2 * Math.PI);
      }
      ink.fill();
    });
    ink.globalAlpha = 1;
    ink.fillStyle = colour("--raised");
    for (const node of gone) {
      if (!shown(node)) continue;
      const [placeX, placeY] = at(node);
      ink.beginPath();
      ink.arc(placeX, placeY, Math.max(1, this.#radius(sizes[node]) - 1.2), 0, 2 * Math.PI);
      ink.fill();
    }
    ink.fillStyle = colour("--text");
    ink.beginPath();
    ink.arc(left, top, 6, 0, 2 * Math.PI);
    ink.fill();
    this.#pulse(ink, at);
  }

  #radius(size) {
    return Math.min(9, 1.7 + 0.75 * Math.log2(Math.max(1, size))) * Math.min(1.6, Math.sqrt(this.zoom));
  }

  /** Rings around shares that have just come. */
  #pulse(ink, at) {
    const age = (performance.now() - this.freshAt) / PULSE_MS;
    if (age >= 1 || still()) return;
    ink.strokeStyle = colour("--accent");
    ink.globalAlpha = 1 - age;
    ink.lineWidth = 1.5;
    this.tree.times.forEach((time_, node) => {
      if (time_ <= this.fresh) return;
      const [placeX, placeY] = at(node);
      ink.beginPath();
      ink.arc(placeX, placeY, 3 + 12 * age, 0, 2 * Math.PI);
      ink.stroke();
    });
    ink.globalAlpha = 1;
    this.#draw();
  }

  /** Draws the cascade again from its first share to now. */
  #play() {
    if (!this.tree?.times.length) return;
    const sorted = Float64Array.from(this.tree.times).sort();
    const begun = performance.now();
    const step = (now) => {
      const part = Math.min(1, (now - begun) / PLAY_MS);
      // By number of shares and not by the clock: most of a cascade comes in its first hour.
      this.until = part < 1 ? sorted[Math.floor(part * sorted.length)] : Infinity;
      setText(this.moment, part < 1 ? `${time(this.until)}, ${span(this.until - sorted[0])} after the first share` : "");
      this.#paint();
      if (part < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  #zoomBy(factor) {
    this.zoom = Math.min(12, Math.max(1, this.zoom * factor));
    if (this.zoom === 1) this.pan = [0, 0];
    this.#draw();
  }

  #fit() {
    [this.zoom, this.pan] = [1, [0, 0]];
    this.#draw();
  }

  #wheel(event) {
    if (!event.ctrlKey) return;
    event.preventDefault();
    this.#zoomBy(event.deltaY < 0 ? 1.15 : 1 / 1.15);
  }

  #drag(event) {
    if (this.zoom === 1) return;
    this.canvas.setPointerCapture(event.pointerId);
    const [startX, startY, [panX, panY]] = [event.clientX, event.clientY, this.pan];
    const move = (next) => {
      this.pan = [panX + next.clientX - startX, panY + next.clientY - startY];
      this.#draw();
    };
    this.canvas.addEventListener("pointermove", move);
    this.canvas.addEventListener("pointerup", () => this.canvas.removeEventListener("pointermove", move), { once: true });
  }

  #point(event) {
    if (!this.tree || !this.middle) return;
    const bounds = this.canvas.getBoundingClientRect();
    const [px, py] = [event.clientX - bounds.left, event.clientY - bounds.top];
    let [nearest, least] = [-1, 14 ** 2];
    for (let node = 0; node < this.tree.parents.length; node += 1) {
      const away = (this.middle[0] + this.layout.x[node] * this.scale - px) ** 2 + (this.middle[1] + this.layout.y[node] * this.scale - py) ** 2;
      if (away < least && this.tree.times[node] <= this.until) [nearest, least] = [node, away];
    }
    if (nearest < 0) return this.#hideTip();
    const size = this.tree.sizes[nearest] - 1;
    const name = this.tree.names[nearest];
    this.tip.replaceChildren(name === undefined ? "A share" : stranger(name, 60), ` at ${time(this.tree.times[nearest])}`, size > 0 ? `, ${counted(size, "share", "shares")} behind it` : "");
    this.tip.hidden = false;
    this.tip.style.transform = `translate(${Math.min(px + 12, bounds.width - this.tip.offsetWidth - 8)}px, ${Math.max(4, py - this.tip.offsetHeight - 8)}px)`;
    return undefined;
  }

  #hideTip() {
    this.tip.hidden = true;
  }
}
