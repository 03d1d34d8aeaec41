// Lists that several views have: posts, spikes, bars.
import { KeyedList, h, stranger } from "./dom.js";
import { count, counted, percent, span, time } from "./format.js";
import { authorLink, placeOf, postPath, postTitle, spikePath } from "./links.js";

const now = () => Date.now() / 1000;

const meta = (facts) => (facts ? ["by ", authorLink(facts), " · ", stranger(facts.channel || "unknown channel", 30), ` · ${span(now() - facts.created_at)} old`] : ["the post itself has not arrived yet"]);

export function postRow(post, { rank = null, big, unit, why = [], trend = null }) {
  return h("article", { class: "post" },
    h("span", { class: "rank", "aria-hidden": "true" }, rank),
    h("div", {},
      h("a", { class: "title", href: postPath(post.post_id) }, postTitle(post.post_id, post.facts)),
      why.length ? h("p", { class: "why" }, why.map((reason) => h("span", {}, reason))) : null,
      h("p", { class: "meta" }, trend ? [h("span", { class: `tag ${trend}` }, trend), " "] : null, ...meta(post.facts)),
      h("p", { class: "counts" }, [counted(post.likes, "like", "likes"), counted(post.shares, "share", "shares"), counted(post.comments, "comment", "comments")].join(" · "))),
    h("p", { class: "big" }, big, h("small", {}, unit)));
}

export const postList = (row, listClass = "rows") => {
  const list = h("ol", { class: listClass });
  return [list, new KeyedList(list, (post) => post.post_id, row)];
};

/** A list of spikes. `byTime` names each by when it began, for views of one conversation. */
export function spikeList(byTime = false) {
  const list = h("ul", { class: "rows" });
  return [list, new KeyedList(list, (spike) => spike.spike_id, (spike) => spikeRow(spike, byTime))];
}

function spikeRow(spike, byTime) {
  const others = spike.others ? `, and ${counted(spike.others, "conversation", "conversations")} more by the same cause` : "";
  return h("article", { class: "spike" },
    h("span", { class: `tag ${spike.severity}` }, spike.severity),
    h("a", { href: spikePath(spike.spike_id) }, byTime ? time(spike.started_at) : stranger(spike.name, 80)),
    h("p", { class: "meta" }, spike.comparison, others),
    h("p", { class: "meta" }, byTime ? "" : `since ${time(spike.started_at)} `, spike.open ? h("span", { class: "tag open" }, "going on") : `over at ${time(spike.ended_at)}`));
}

export function barList(label) {
  const list = h("ul", { class: "bars", "aria-label": label });
  return [list, new KeyedList(list, ({ key }) => key, ({ key, name, share, value }) => [
    h("a", { class: "name", href: placeOf(key) }, stranger(name, 60)),
    h("span", { class: "value" }, value),
    h("meter", { min: 0, max: 1, value: share, "aria-label": `${name}: ${percent(share)}` }),
  ])];
}

/** Figures with their names. Returns the element and a function that shows [[name, value, remark]]. */
export function figures(label) {
  const element = h("dl", { class: "figures", "aria-label": label });
  const cells = new Map();
  const show = (entries) => {
    for (const [name, value, remark] of entries) {
      if (!cells.has(name)) {
        const text = h("span");
        const small = h("small");
        element.append(h("div", {}, h("dt", {}, name), h("dd", {}, text, small)));
        cells.set(name, [text, small]);
      }
      const [text, small] = cells.get(name);
      if (text.textContent !== value) text.textContent = value;
      if (small.textContent !== (remark ?? "")) small.textContent = remark ?? "";
    }
  };
  return [element, show];
}

export const windowed = (row, name) => `${count(row[`${name}_5m`])} in 5 min, ${count(row[`${name}_1h`])} in the last hour`;
