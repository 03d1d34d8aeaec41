// Lines over time by uPlot, with marks, words for those who do not see them, and a table.
import { h, setText } from "./dom.js";
import { clockOf, count, decimal, time } from "./format.js";

const HEIGHT = 240;
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const font = () => `12px ${getComputedStyle(document.body).fontFamily}`;

/** The colours of marks by severity. */
const MARK = { critical: "--alert", warning: "--warn", notice: "--accent", info: "--rest" };

export class TimeChart {
  /**
   * `series`: [{label, colour (name of a variable), fill, dash, band: [upper, lower]}]; `unit`: what the y axis counts.
   * `caption(data)` says in words what the lines show.
   */
  constructor({ series, unit, label, caption, height = HEIGHT }) {
    Object.assign(this, { series, unit, caption, height, marks: [], since: null, data: [[], ...series.map(() => [])] });
    this.plot = h("div", { class: "plot", "aria-hidden": "true" });
    this.legend = h("div", { class: "legend", "aria-hidden": "true" });
    this.words = h("figcaption", {}, "Counting.");
    this.rows = h("tbody");
    this.table = h("details", { toggle: () => this.#fillTable() }, h("summary", {}, "Show as a table"),
      h("div", { class: "table", tabindex: "0", role: "region", "aria-label": `${label}, as a table` },
        h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Time"), series.filter((one) => one.label).map((one) => h("th", { scope: "col" }, one.label)))), this.rows)));
    this.element = h("figure", { "aria-label": label }, this.plot, this.legend, this.words, this.table);
    new ResizeObserver(() => this.#resize()).observe(this.plot);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#rebuild());
  }

  /** Shows columns: times in seconds, and a column for each series. `open`: from here on counts may still grow. */
  show(data, { marks = [], open = null, from = null, to = null } = {}) {
    Object.assign(this, { data, marks, open, from, to });
    setText(this.words, data[0].length ? this.caption(data) : "Nothing yet.");
    if (this.table.open) this.#fillTable();
    this.plot.hidden = this.legend.hidden = !data[0].length;
    if (!this.chart) this.#rebuild();
    else this.chart.setData(data);
    this.#showLegend(null);
  }

  #rebuild() {
    const width = this.plot.clientWidth;
    if (!width || !this.data[0].length) return;
    this.chart?.destroy();
    const axis = { stroke: colour("--muted"), font: font(), grid: { stroke: colour("--grid"), width: 1 }, ticks: { show: false } };
    this.chart = new uPlot({
      width, height: this.height, padding: [18, 8, 0, 0],
      cursor: { drag: { x: false, y: false }, points: { size: 7 } },
      legend: { show: false },
      scales: {
        x: { time: true, range: (_, low, high) => [this.from ?? low, this.to ?? Math.max(high, low + 60)] },
        y: { range: (_, low, high) => [0, Math.max(high * 1.08, 4)] },
      },
      axes: [
        { ...axis, grid: { show: false }, size: 30, space: 70, values: (_, ticks, __, ___, step) => ticks.map((at) => (step >= 86400 ? time(at) : clockOf(at))) },
        { ...axis, size: 46, values: (_, ticks) => ticks.map((tick) => (tick < 10 ? decimal(tick) : count(tick))) },
      ],
      series: [{}, ...this.series.map((one) => ({
        label: one.label, stroke: one.colour ? colour(one.colour) : "transparent", width: one.colour ? one.width ?? 1.75 : 0, dash: one.dash,
        fill: one.fill ? this.#fill(one.colour) : undefined, points: { show: one.points ?? false, size: 5, fill: colour("--surface") }, spanGaps: one.spanGaps ?? false,
      }))],
      bands: this.series.flatMap((one, place) => (one.band ? [{ series: [place + 1, place + 1 + one.band], fill: `color-mix(in srgb, ${colour(one.shade)} 16%, transparent)` }] : [])),
      hooks: { setCursor: [(chart) => this.#showLegend(chart.cursor.idx)], drawClear: [(chart) => this.#drawOpen(chart)], draw: [(chart) => this.#drawMarks(chart)] },
    }, this.data, this.plot);
  }

  #fill(name) {
    return (chart) => {
      const { top, height } = chart.bbox;
      const shade = chart.ctx.createLinearGradient(0, top, 0, top + height);
      shade.addColorStop(0, `color-mix(in srgb, ${colour(name)} 32%, transparent)`);
      shade.addColorStop(1, `color-mix(in srgb, ${colour(name)} 3%, transparent)`);
      return shade;
    };
  }

  /** Shades the minutes that are not final. */
  #drawOpen(chart) {
    if (this.open === null || this.open === undefined) return;
    const { left, top, width, height } = chart.bbox;
    const start = Math.max(left, chart.valToPos(this.open, "x", true));
    if (start >= left + width) return;
    chart.ctx.save();
    chart.ctx.fillStyle = colour("--grid");
    chart.ctx.globalAlpha = 0.6;
    chart.ctx.fillRect(start, top, left + width - start, height);
    chart.ctx.restore();
  }

  #drawMarks(chart) {
    const { ctx, bbox } = chart;
    const ratio = devicePixelRatio;
    ctx.save();
    ctx.font = `600 ${11.5 * ratio}px ${getComputedStyle(document.body).fontFamily}`;
    [ctx.textAlign, ctx.textBaseline] = ["left", "alphabetic"];
    let free = -Infinity;
    for (const mark of this.marks) {
      const x = chart.valToPos(mark.at, "x", true);
      if (x < bbox.left - 1 || x > bbox.left + bbox.width + 1) continue;
      ctx.strokeStyle = ctx.fillStyle = colour(MARK[mark.severity] ?? "--rest");
      ctx.lineWidth = ratio;
      ctx.setLineDash([3 * ratio, 3 * ratio]);
      ctx.beginPath();
      ctx.moveTo(x, bbox.top);
      ctx.lineTo(x, bbox.top + bbox.height);
      ctx.globalAlpha = 0.55;
      ctx.stroke();
      ctx.globalAlpha = 1;
      ctx.setLineDash([]);
      ctx.beginPath();
      ctx.moveTo(x - 4 * ratio, bbox.top - 7 * ratio);
      ctx.lineTo(x + 4 * ratio, bbox.top - 7 * ratio);
      ctx.lineTo(x, bbox.top);
      ctx.fill();
      if (!mark.label) continue;
      const wide = ctx.measureText(mark.label).width;
      const start = x + 8 * ratio + wide > bbox.left + bbox.width ? x - 8 * ratio - wide : x + 8 * ratio;
      if (start > free) {
        ctx.fillText(mark.label, start, bbox.top - 4 * ratio);
        free = start + wide + 10 * ratio;
      }
    }
    ctx.restore();
  }

  #showLegend(place) {
    const at = place ?? this.data[0].length - 1;
    if (at < 0 || this.data[0][at] === undefined) return;
    const entries = this.series.flatMap((one, number) => {
      const value = this.data[number + 1][at];
      return one.label && value !== null && value !== undefined ? [h("span", {}, h("i", { class: one.swatch }), `${one.label} `, h("b", {}, value < 10 ? decimal(value) : count(value)))] : [];
    });
    this.legend.replaceChildren(h("span", {}, h("b", {}, time(this.data[0][at]))), ...entries, h("span", {}, this.unit));
  }

  #fillTable() {
    if (!this.table.open) return;
    const step = Math.max(1, Math.ceil(this.data[0].length / 60));
    const shown = this.series.map((one, number) => [one, number]).filter(([one]) => one.label);
    const rows = [];
    for (let place = this.data[0].length - 1; place >= 0; place -= step) {
      rows.push(h("tr", {}, h("th", { scope: "row" }, time(this.data[0][place])), shown.map(([, number]) => h("td", {}, decimal(this.data[number + 1][place], 4)))));
    }
    this.rows.replaceChildren(...rows);
  }

  #resize() {
    const width = this.plot.clientWidth;
    if (!this.chart) this.#rebuild();
    else if (width && Math.abs(width - this.chart.width) > 1) this.chart.setSize({ width, height: this.height });
  }
}
