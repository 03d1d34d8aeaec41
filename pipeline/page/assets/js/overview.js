// The first view: what rises now and why.
import { card, h, setText } from "./parts/dom.js";
import { TimeChart } from "./parts/chart.js";
import { count, counted, decimal, percent, span, time } from "./parts/format.js";
import { barList, figures, postList, postRow, spikeList } from "./parts/lists.js";
import { Minutes, SPANS } from "./parts/minutes.js";

const SAID = ([posts, comments]) => posts + comments;

export function overview() {
  const heading = h("h1", {}, "What happens now");
  const sub = h("p", { class: "sub" }, "Counting.");
  const [numbers, showNumbers] = figures("The last five minutes");
  const [rising, risingRows] = postList((post, place) => postRow(post, { rank: place + 1, ...expected(post), why: post.reasons, trend: post.trend }));
  const [spikes, spikeRows] = spikeList();
  const [voices, voiceRows] = barList("Share of voice");
  const [talk, talkRows] = barList("Talked about");
  const [waiting, waitingRows] = postList((post) => postRow(post, { big: count(post.unanswered), unit: "unanswered", why: [`the oldest waits for ${span(60 * post.oldest_unanswered_minutes)}`] }));
  const day = dayChart("Posts and comments a minute");
  const empties = Object.fromEntries(["rising", "spikes", "talk", "voice", "waiting"].map((name) => [name, h("p", { class: "empty" }, "Counting.")]));
  let causes = [];
  let final = null;

  const element = h("div", { class: "view" }, h("div", { class: "lead" }, heading, sub), numbers,
    card("Conversation by the minute", { note: "posts and comments; triangles are spikes", right: day.switch }, day.chart.element),
    h("div", { class: "columns" },
      h("div", {}, card("What rises now, and why", { note: "by the shares expected in the next hour" }, rising, empties.rising)),
      h("div", {},
        card("Louder than usual", { note: "spikes of the last 24 h" }, spikes, empties.spikes),
        card("Talked about", { note: "posts and comments of the last hour" }, talk, empties.talk),
        card("Share of voice", { note: "of tracked brands, last 24 h" }, voices, empties.voice),
        card("Waiting for an answer", { note: "where people comment now" }, h("div", { class: "plain" }, waiting), empties.waiting))));

  const say = () => {
    const open = causes.filter((cause) => cause.open && cause.severity !== "info");
    const rate = day.rate(5);
    const louder = open.length ? `; ${counted(open.length, "cause makes", "causes make")} conversations louder than usual` : "; no conversation is louder than usual";
    setText(sub, `${decimal(rate, 3)} posts and comments a minute${louder}.`);
  };
  const orSay = (name, rows, words) => setText(empties[name], rows.length ? "" : words);

  return {
    title: "",
    element,
    shown: () => day.redraw(),
    fresh: (row) => {
      final = row.final_until;
      day.setNow(row.now, final);
    },
    parts: {
      minutes: (columns) => {
        day.take(columns);
        const sums = day.sums(5);
        showNumbers([["posts in 5 min", count(sums[0])], ["comments in 5 min", count(sums[1])], ["shares in 5 min", count(sums[2])], ["likes in 5 min", count(sums[3])]]);
        say();
      },
      rising: (posts) => {
        risingRows.show(posts);
        orSay("rising", posts, "Nothing was liked, shared or commented on in the last hour.");
      },
      spikes: (rows) => {
        causes = rows;
        day.setMarks(rows.filter((row) => row.severity !== "info").map((row) => ({ at: row.started_at, severity: row.severity, label: row.name.length > 24 || row.severity === "notice" ? "" : row.name })));
        spikeRows.show(rows.slice(0, 6));
        orSay("spikes", rows, "No conversation was much louder than usual in the last day.");
        say();
      },
      talk: (rows) => {
        const most = Math.max(1, ...rows.map((row) => row.posts_1h + row.comments_1h));
        talkRows.show(rows.map((row) => ({ key: row.conversation, name: nameOf(row.conversation), share: (row.posts_1h + row.comments_1h) / most, value: `${count(row.posts_1h + row.comments_1h)} by ${counted(row.voices_1h, "person", "people")}` })));
        orSay("talk", rows, "Nothing in the last hour.");
      },
      voice: (rows) => {
        voiceRows.show(rows.map((row) => ({ key: row.conversation, name: row.brand, share: row.share ?? 0, value: `${percent(row.share)}, ${count(row.count)} said` })));
        orSay("voice", rows, "No brand is tracked, or none was named: ENGAGEMENT_BRANDS names the file of brands.");
      },
      waiting: (rows) => {
        waitingRows.show(rows);
        orSay("waiting", rows, "Nobody waits where people comment now.");
      },
    },
  };
}

/** A hashtag as #tag, a mention as @name, others as they are. */
const nameOf = (key) => key.replace(/^hashtag:/, "#").replace(/^mention:/, "@").replace(/^brand:/, "brand ").replace(/^label:/, "");

function expected(post) {
  const due = post.forecast_shares_next_1h;
  return due === null || due < 0.5 ? { big: count(post.shares_1h + post.comments_1h + post.likes_1h), unit: "in the last hour" } : { big: `+${count(Math.round(due))}`, unit: "shares next hour" };
}

/** The chart of a day by the minute, with buttons for the span. Shared by views of everything, a conversation, an author. */
export function dayChart(label, names = ["posts", "comments", "shares", "likes"], measure = SAID) {
  const minutes = new Minutes(names);
  let [seconds, now, final, marks] = [6 * 3600, Date.now() / 1000, null, []];
  const chart = new TimeChart({
    label, unit: "a minute", height: 200,
    series: [{ label: "posts and comments", colour: "--area", fill: true, swatch: "area-0" }, { label: "shares", colour: "--branch-1", width: 1.25, swatch: "area-1" }],
    caption: ([times, said]) => {
      const most = Math.max(...said);
      return `In the last ${span(seconds)}: at most ${decimal(most, 3)} posts and comments a minute, at ${time(times[said.indexOf(most)])}; ${decimal(said.at(-2) ?? 0, 3)} in the last whole one. Shaded minutes may still grow.`;
    },
  });
  const redraw = () => {
    if (!minutes.rows.size) return;
    const data = minutes.columns(seconds, now, chart.plot.clientWidth || 900, [measure, (row) => row[2]]);
    chart.show(data, { marks, open: final });
  };
  const buttons = SPANS.map(([length, words]) => h("button", { type: "button", "aria-pressed": String(length === seconds), click: () => choose(length) }, words));
  const choose = (length) => {
    seconds = length;
    buttons.forEach((button, place) => button.setAttribute("aria-pressed", String(SPANS[place][0] === length)));
    redraw();
  };
  return {
    chart,
    redraw,
    switch: h("span", { class: "switch", role: "group", "aria-label": "How much is shown" }, buttons),
    take: (columns) => {
      minutes.take(columns);
      redraw();
    },
    setNow: (at, until) => {
      [now, final] = [at, until];
    },
    setMarks: (next) => {
      marks = [...next].sort((one, other) => one.at - other.at);
      redraw();
    },
    rate: (over) => minutes.columns(60 * over, now, 900, [measure])[1].slice(0, -1).reduce((sum, value) => sum + value, 0) / Math.max(1, over - 1),
    sums: (over) => names.map((_, place) => minutes.columns(60 * over, now, 900, [(row) => row[place]])[1].reduce((sum, value) => sum + value, 0)),
  };
}
