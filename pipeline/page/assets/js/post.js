// The view of a post: numbers, forecast and what came true, cascade, thread.
import { Cascade } from "./parts/cascade.js";
import { TimeChart } from "./parts/chart.js";
import { card, h, setText, stranger, visible } from "./parts/dom.js";
import { count, counted, decimal, percent, span, time } from "./parts/format.js";
import { authorLink, conversationPath, postTitle } from "./parts/links.js";
import { figures, windowed } from "./parts/lists.js";
import { Thread } from "./parts/thread.js";

export function postView(id) {
  const heading = h("h1", {}, stranger(id, 120));
  const sub = h("p", { class: "sub" }, "Counting.");
  const chips = h("p", { class: "chips" });
  const [numbers, showNumbers] = figures("The numbers of this post");
  const why = h("ul", { class: "bullets" });
  const said = h("p", { class: "why-said" });
  const truth = h("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Earlier forecasts and the truth" }, h("p", { class: "empty" }, "Counting."));
  const [cascade, thread, chart] = [new Cascade(), new Thread(), sharesChart()];
  const truncated = h("p", { class: "empty" });

  const showFacts = (facts) => {
    heading.replaceChildren(...[postTitle(id, facts)].flat(2));
    document.title = `${visible(heading.textContent).slice(0, 80)} · Engagement`;
    if (!facts) return setText(sub, "The post itself has not arrived; what others did with it is counted.");
    sub.replaceChildren("by ", authorLink(facts), " on ", stranger(facts.channel || "an unknown channel", 30), `, ${time(facts.created_at)}`,
      facts.followers === null ? "" : `, ${counted(facts.followers, "follower", "followers")} then`, facts.deleted_at ? `, deleted at ${time(facts.deleted_at)}` : "",
      ...(facts.url ? [" · ", h("a", { href: facts.url, rel: "noopener noreferrer nofollow", target: "_blank" }, "see it there", h("span", { class: "hidden" }, " (opens a new tab)"))] : []));
    chips.replaceChildren(...facts.conversations.map(({ key, name }) => h("a", { href: conversationPath(key) }, stranger(name, 60))));
    return undefined;
  };

  return {
    title: visible(id).slice(0, 80),
    element: h("div", { class: "view" },
      h("div", { class: "lead" }, heading, sub, chips), numbers,
      h("div", { class: "columns" },
        h("div", {}, card("How far it goes", { note: "shares so far, and at double the age" }, chart.element)),
        h("div", {}, card("Why", {}, why, said), card("What came true", { note: "forecasts for double the age" }, truth))),
      truncated, cascade.element, thread.element),
    parts: {
      post: ({ facts, metrics, reasons, forecast }) => {
        showFacts(facts);
        if (!metrics) {
          setText(sub, "There is no such post here, or nothing has happened to it yet. The page shows it as soon as something does.");
          return;
        }
        showNumbers([
          ["likes", count(metrics.likes), windowed(metrics, "likes")],
          ["shares", count(metrics.shares), windowed(metrics, "shares")],
          ["comments", count(metrics.comments), metrics.unanswered === null ? windowed(metrics, "comments") : `${count(metrics.unanswered)} wait for an answer`],
          ["people", count(metrics.actors), `on ${counted(metrics.channels, "channel", "channels")}`],
          ["shares a share brings", decimal(metrics.reproduction), metrics.reproduction === null ? metrics.spread_reason ?? "" : `between ${decimal(metrics.reproduction_low)} and ${decimal(metrics.reproduction_high)}`],
        ]);
        why.replaceChildren(...(reasons.length ? reasons : ["Nothing out of the ordinary in the last hour."]).map((reason) => h("li", {}, reason)));
        setText(said, forecast);
        chart.due = metrics;
        chart.draw();
      },
      forecast: (content) => {
        chart.course = content;
        chart.draw();
        truth.replaceChildren(truthTable(content));
      },
      trees: (trees) => {
        cascade.element.hidden = thread.element.hidden = "truncated" in trees;
        setText(truncated, "truncated" in trees ? `More than ${count(trees.truncated)} shares and comments: the numbers above are exact, the trees are not drawn.` : "");
        if ("truncated" in trees) return;
        cascade.show(trees.cascade);
        thread.show(trees.thread);
      },
    },
  };
}

/** The course of the shares, with a cone to double the age and the forecasts of the end as they were shown. */
function sharesChart() {
  const chart = new TimeChart({
    label: "Shares over time, and the forecast", unit: "shares", height: 270,
    series: [
      { label: "shares", colour: "--area", fill: true, swatch: "area-0", spanGaps: true },
      { label: "at double the age", colour: "--branch-2", dash: [5, 4], swatch: "area-2", spanGaps: true },
      { band: 1, shade: "--branch-2", spanGaps: true },
      { spanGaps: true },
      { label: "forecast of the end, as it was shown", colour: "--branch-1", width: 1.25, swatch: "area-1", spanGaps: true },
      { band: 1, shade: "--branch-1", spanGaps: true },
      { spanGaps: true },
    ],
    caption: ([times, shares]) => {
      const now = shares.findLast((value) => value !== null);
      return `${counted(now ?? 0, "share", "shares")} since ${time(times[0])}. The bands are 90 % intervals.`;
    },
  });
  chart.course = chart.due = null;
  chart.draw = () => {
    if (!chart.course) return;
    const { minutes, forecasts, created_at: created } = chart.course;
    const points = new Map();
    const put = (at, place, value) => points.set(at, (points.get(at) ?? Array(7).fill(null)).with(place, value));
    const begin = created ?? minutes.minute[0];
    if (begin === undefined) {
      chart.show(Array.from({ length: 8 }, () => []));
      return;
    }
    put(Math.floor(Math.min(begin, minutes.minute[0] ?? begin)), 0, 0);
    let sum = 0;
    minutes.minute.forEach((minute, place) => {
      sum += minutes.shares[place];
      put(minute + 60, 0, sum);
    });
    for (const row of forecasts) {
      put(row.at, 4, row.forecast_shares);
      put(row.at, 5, row.forecast_shares_high);
      put(row.at, 6, row.forecast_shares_low);
    }
    const due = chart.due;
    if (due && created !== null && due.forecast_shares_double_age !== null) {
      const end = Math.round(2 * due.spread_as_of - created);
      for (const place of [1, 2, 3]) put(due.spread_as_of, place, due.shares);
      put(end, 1, due.forecast_shares_double_age);
      put(end, 2, due.forecast_shares_double_age_high);
      put(end, 3, due.forecast_shares_double_age_low);
    }
    const times = [...points.keys()].sort((one, other) => one - other);
    chart.show([times, ...Array.from({ length: 7 }, (_, place) => times.map((at) => points.get(at)[place]))]);
  };
  return chart;
}

function truthTable({ truth, created_at: created }) {
  if (!truth.length) return h("p", { class: "empty" }, "No forecast has come of age yet: each is judged once the post is twice as old as it was then.");
  const inside = truth.filter((row) => row.inside).length;
  return h("div", {},
    h("p", { class: "small muted" }, `${inside} of ${counted(truth.length, "forecast", "forecasts")} (${percent(inside / truth.length)}) held their interval of 90 %.`),
    h("table", {}, h("thead", {}, h("tr", {}, ["Age then", "Said", "Came"].map((name) => h("th", { scope: "col" }, name)), h("th", { scope: "col" }, h("span", { class: "hidden" }, "Within the interval")))),
      h("tbody", {}, truth.map((row) => h("tr", {}, h("th", { scope: "row" }, span(row.at - created)), h("td", {}, `${count(row.said)} (${count(row.low)} to ${count(row.high)})`), h("td", {}, count(row.truth)),
        h("td", {}, h("span", { class: `tag ${row.inside ? "good" : "warning"}` }, row.inside ? "held" : "missed")))))));
}
