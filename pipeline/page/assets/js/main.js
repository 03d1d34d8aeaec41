// Chooses the view that the address names, and keeps the header true.
import { h, setText } from "./parts/dom.js";
import { clockOf, count, span, zone } from "./parts/format.js";
import { parse } from "./parts/links.js";
import { overview } from "./overview.js";
import { authorView, conversationView, spikeView } from "./places.js";
import { postView } from "./post.js";
import { searchView } from "./search.js";
import { Stream } from "./stream.js";

const VIEWS = { overview, post: postView, conversation: conversationView, author: authorView, spike: spikeView, search: searchView };
const QUIET_SECONDS = 180;

const main = document.getElementById("main");
const { view, subject } = parse(location.pathname);
const make = VIEWS[view] ?? overview;
const made = make(subject);
let state = "wait";
let fresh = null;
let skew = 0;

setText(document.getElementById("foot"), `Times are those of ${zone}. Read from ClickHouse by a user who reads only; no request leaves this server.`);
document.title = made.title ? `${made.title} · Engagement` : "Engagement, live";

function showFreshness(row) {
  fresh = row;
  skew = Date.now() / 1000 - row.now;
  notice(null);
  if (row.empty) empty();
  else if (!made.element.isConnected) {
    main.replaceChildren(made.element);
    made.shown?.();
  }
  made.fresh?.(row);
  tell();
}

function tell() {
  const pill = document.getElementById("fresh");
  const text = document.getElementById("fresh-text");
  if (state === "away") {
    pill.dataset.state = "away";
    return setText(text, "Not connected");
  }
  if (!fresh) return undefined;
  if (fresh.empty) {
    pill.dataset.state = "quiet";
    return setText(text, "Nothing has come yet");
  }
  const age = Date.now() / 1000 - skew - fresh.changed_at;
  const final = fresh.final_until ? `, final up to ${clockOf(fresh.final_until)}` : "";
  pill.dataset.state = age > QUIET_SECONDS ? "quiet" : "live";
  return setText(text, age > QUIET_SECONDS ? `Quiet for ${span(age)}${final}` : `Live, changed ${age < 2 ? "just now" : `${span(age)} ago`}${final}`);
}

function notice(words) {
  setText(document.getElementById("notice"), words ?? "");
}

function showTrouble({ cause, part }) {
  if (cause === "schema") {
    empty("The tables are not there yet.", "engagement init");
    notice(null);
  } else if (cause === "fault") notice(`A part of this page cannot be shown (${part}); the log of engagement serve says why.`);
  else if (cause === "refused") notice(`The user of this page may not read what a part of it needs (${part}): after an update deploy/clickhouse/users.sql is run again, and an embedded stack restarted. The log of engagement serve names the grant.`);
  else notice(`ClickHouse does not answer${fresh ? ` since ${clockOf(Date.now() / 1000)}; the numbers below are from before` : ""}. The page goes on by itself.`);
}

/** What a newcomer sees: nothing is wrong, and what comes next. */
function empty(lead = "Nothing has come yet.", first = null) {
  if (main.querySelector("#welcome")) return;
  const step = (words, ...commands) => h("li", {}, `${words} `, commands.map((command) => [h("code", {}, command), " "]));
  main.replaceChildren(h("section", { class: "card", id: "welcome" }, h("h1", {}, lead),
    h("p", { class: "muted" }, "The page fills by itself as soon as events are counted. The next steps:"),
    h("ol", { class: "steps" },
      first ? step("Make topics, tables and views:", first) : null,
      step("Start a worker:", "engagement work"),
      step("Send something: a made-up network, or all of Bluesky, live and without an account:", "engagement simulate --live 20", "engagement bluesky"))));
}

const parts = { freshness: showFreshness, trouble: showTrouble, ...made.parts };
new Stream(VIEWS[view] ? view : "overview", subject, parts, (now) => {
  state = now;
  tell();
});
setInterval(tell, 1000);

document.addEventListener("keydown", (event) => {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? "");
  if (event.key === "/" && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    document.getElementById("q").focus();
  }
});
