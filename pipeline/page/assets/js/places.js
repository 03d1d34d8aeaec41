// The views of a conversation, an author, and a spike.
import { dayChart } from "./overview.js";
import { TimeChart } from "./parts/chart.js";
import { card, h, setText, stranger, visible } from "./parts/dom.js";
import { count, counted, decimal, span, time } from "./parts/format.js";
import { placeOf } from "./parts/links.js";
import { figures, postList, postRow, spikeList } from "./parts/lists.js";

export function conversationView(key) {
  const heading = h("h1", {}, stranger(key, 120));
  const sub = h("p", { class: "sub" }, "Counting.");
  const [numbers, showNumbers] = figures("The numbers of this conversation");
  const parts = daily("Posts and comments of this conversation a minute");
  const [posts, postRows] = postList((post, place) => postRow(post, { rank: place + 1, big: count(post.found.said), unit: "said in 24 h" }));
  const none = h("p", { class: "empty" }, "Counting.");
  return {
    title: visible(key).slice(0, 80),
    element: h("div", { class: "view" }, h("div", { class: "lead" }, heading, sub), numbers, parts.card,
      h("div", { class: "columns" }, h("div", {}, card("Where it is said", { note: "posts by what was said in the last 24 h" }, posts, none)), h("div", {}, parts.spikes))),
    fresh: parts.fresh,
    shown: parts.shown,
    parts: {
      conversation: ({ name, numbers: row }) => {
        heading.replaceChildren(stranger(name, 120));
        if (!row) return setText(sub, "Nothing was said here yet, or the name is spelt otherwise. The page shows it as soon as something is.");
        setText(sub, `First said ${time(row.first_minute)}, last ${time(row.as_of)}. ${row.is_final ? "All counts are final." : "Its newest minute may still grow."}`);
        const about = row.voices_error > 0 ? "about " : "";
        showNumbers([
          ["posts", count(row.posts), `${count(row.posts_1h)} in the last hour`],
          ["comments", count(row.comments), `${count(row.comments_1h)} in the last hour`],
          ["shares", count(row.shares), `${count(row.shares_1h)} in the last hour`],
          ["people", `${about}${count(row.voices)}`, `${count(row.voices_1h)} in the last hour`],
          ["channels", count(row.channels), ""],
        ]);
        return undefined;
      },
      "conversation-minutes": parts.take,
      "conversation-posts": (rows) => {
        postRows.show(rows);
        setText(none, rows.length ? "" : "Nothing in the last 24 h.");
      },
      "conversation-spikes": parts.takeSpikes,
    },
  };
}

export function authorView(subject) {
  const [channel, id] = [subject.slice(0, subject.indexOf("/")), subject.slice(subject.indexOf("/") + 1)];
  const sub = h("p", { class: "sub" }, "on ", stranger(channel, 40));
  const [numbers, showNumbers] = figures("The numbers of this author");
  const parts = daily("Posts and comments under this author's posts a minute");
  const [posts, postRows] = postList((post, place) => postRow(post, { rank: place + 1, big: count(post.likes_1h + post.shares_1h + post.comments_1h), unit: "in the last hour" }));
  const none = h("p", { class: "empty" }, "Counting.");
  return {
    title: visible(id).slice(0, 80),
    element: h("div", { class: "view" }, h("div", { class: "lead" }, h("h1", {}, stranger(id, 120)), sub), numbers, parts.card,
      h("div", { class: "columns" }, h("div", {}, card("Posts", { note: "the newest first" }, posts, none)), h("div", {}, parts.spikes))),
    fresh: parts.fresh,
    shown: parts.shown,
    parts: {
      author: ({ numbers: row }) => {
        if (!row) return setText(sub, `No posts by this author on ${visible(channel) || "this channel"} have come yet.`);
        setText(sub, `on ${visible(channel)}${row.followers === null ? "" : `, ${counted(row.followers, "follower", "followers")}`}; the newest post ${time(row.newest_post_at)}`);
        showNumbers([
          ["posts", count(row.posts), row.posts_deleted ? `and ${count(row.posts_deleted)} deleted` : ""],
          ["applause", decimal(row.applause, 3), "likes a post"],
          ["amplification", decimal(row.amplification, 3), "shares a post"],
          ["conversation", decimal(row.conversation, 3), "comments a post"],
        ]);
        return undefined;
      },
      "author-minutes": parts.take,
      "author-posts": (rows) => {
        postRows.show(rows);
        setText(none, rows.length ? "" : "No posts yet.");
      },
      "author-spikes": parts.takeSpikes,
    },
  };
}

/** The day of a conversation with its spikes. */
function daily(label) {
  const day = dayChart(label, ["posts", "comments", "shares", "likes"]);
  const [list, rows] = spikeList(true);
  const none = h("p", { class: "empty" }, "Counting.");
  return {
    card: card("By the minute", { note: "triangles are spikes", right: day.switch }, day.chart.element),
    spikes: card("Spikes", { note: "the newest first" }, list, none),
    take: day.take,
    shown: day.redraw,
    fresh: (row) => day.setNow(row.now, row.final_until),
    takeSpikes: (spikes) => {
      day.setMarks(spikes.map((spike) => ({ at: spike.started_at, severity: spike.severity, label: spike.severity })));
      rows.show(spikes.slice(0, 12));
      setText(none, spikes.length ? "" : "Never much louder than usual.");
    },
  };
}

export function spikeView() {
  const heading = h("h1", {}, "Spike");
  const sub = h("p", { class: "sub" }, "Counting.");
  const [numbers, showNumbers] = figures("The size of this spike");
  const reasons = h("ul", { class: "bullets" });
  const [posts, postRows] = postList((post, place) => postRow(post, { rank: place + 1, big: count(post.said), unit: "said" }));
  const [others, otherRows] = spikeList();
  const [noOthers, told] = [h("p", { class: "empty" }, "Counting."), h("div", { class: "empty" }, "Counting.")];
  const sql = h("pre", { tabindex: "0", role: "region", "aria-label": "SQL" });
  let usual = 0;
  const chart = new TimeChart({
    label: "Posts and comments a minute around the spike", unit: "a minute",
    series: [{ label: "posts and comments", colour: "--area", fill: true, swatch: "area-0" }, { label: "usual", colour: "--branch-1", dash: [5, 4], width: 1.25, swatch: "area-1" }],
    caption: ([, said]) => `At most ${count(Math.max(...said))} in a minute; ${decimal(usual)} a minute are usual.`,
  });
  return {
    title: "Spike",
    element: h("div", { class: "view" }, h("div", { class: "lead" }, heading, sub), numbers,
      card("Before, during and after", { note: "posts and comments by the minute" }, chart.element),
      h("div", { class: "columns" },
        h("div", {}, card("Who made it", { note: "posts by what was said" }, posts), card("The proof", { note: "SQL, ready to paste" }, sql)),
        h("div", {}, card("Why", {}, reasons), card("By the same cause", {}, others, noOthers), card("Who was told", {}, told)))),
    parts: {
      spike: (content) => {
        const { spike } = content;
        if (!spike) return setText(sub, "There is no such spike here. The overview lists those of the last day.");
        heading.replaceChildren(h("a", { href: placeOf(spike.conversation) }, stranger(spike.name, 120)), spike.open ? " is louder than usual" : " was louder than usual");
        document.title = `${visible(spike.name).slice(0, 60)}: spike · Engagement`;
        sub.replaceChildren(h("span", { class: `tag ${spike.severity}` }, spike.severity), ` ${spike.comparison}. Since ${time(spike.started_at)}, ${spike.open ? "going on" : `over at ${time(spike.ended_at)}`}.`);
        showNumbers([
          ["a minute", decimal(spike.observed, 3), `over ${span(60 * spike.scale_minutes)}`],
          ["times the usual", spike.ratio === null ? "new" : decimal(spike.ratio, 3), spike.ratio === null ? "usually nothing" : `usually ${spike.usual}`],
          ["people", count(spike.voices), spike.voices_usual === null ? "" : `${spike.voices_usual < 1 ? "fewer than 1" : count(Math.round(spike.voices_usual))} usually`],
          ["channels", count(spike.channels), ""],
        ]);
        reasons.replaceChildren(...spike.reasons.map((reason) => h("li", {}, stranger(reason, 400))));
        setText(sql, spike.evidence);
        postRows.show(content.posts);
        otherRows.show(content.others.slice(0, 8));
        setText(noOthers, content.others.length ? "" : "No other conversation.");
        told.replaceChildren(deliveries(content.deliveries));
        usual = spike.expected;
        chart.show(around(content.minutes, spike), { marks: [{ at: spike.started_at, severity: spike.severity, label: "began" }, ...(spike.ended_at ? [{ at: spike.ended_at, severity: "info", label: "over" }] : [])] });
        return undefined;
      },
    },
  };
}

/** The minutes from `since` on, with zero where nothing was said, and the usual rate beside. */
function around(minutes, spike) {
  const said = new Map(minutes.minute.map((minute, place) => [minute, minutes.posts[place] + minutes.comments[place]]));
  const start = Math.ceil(minutes.since / 60) * 60;
  const end = Math.max(spike.counted_until, spike.ended_at ?? 0, ...minutes.minute) + 60;
  const times = Array.from({ length: Math.max(1, Math.round((end - start) / 60)) }, (_, place) => start + 60 * place);
  return [times, times.map((minute) => said.get(minute) ?? 0), times.map(() => spike.expected)];
}

function deliveries(rows) {
  if (!rows.length) return h("p", { class: "empty" }, "Nobody: no receiver is set for it (ENGAGEMENT_ALERTS), or it was held back.");
  return h("div", { class: "table" }, h("table", {}, h("thead", {}, h("tr", {}, ["Receiver", "State", "Outcome"].map((name) => h("th", { scope: "col", class: name === "Outcome" ? "words" : null }, name)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, h("th", { scope: "row" }, stranger(row.receiver, 60)), h("td", {}, row.state), h("td", { class: "words" }, row.delivered_at ? `delivered at ${time(row.delivered_at)}` : stranger(row.outcome, 200)))))));
}
