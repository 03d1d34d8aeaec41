// Search for a post, an author or a conversation.
import { card, h, setText, stranger } from "./parts/dom.js";
import { counted, time } from "./parts/format.js";
import { authorPath, placeOf, postPath } from "./parts/links.js";

export function searchView() {
  const text = new URLSearchParams(location.search).get("q") ?? "";
  const sub = h("p", { class: "sub", role: "status" }, text ? "Looking." : "Type a hashtag, an author, an address, or the id of a post.");
  const found = h("div", { class: "columns" });
  document.getElementById("q").value = text;
  if (text) look(text, sub, found);
  return { title: `Find ${text}`.slice(0, 80), element: h("div", { class: "view" }, h("div", { class: "lead" }, h("h1", {}, text ? ["Found for ", stranger(text, 80)] : "Find"), sub), found), parts: {} };
}

async function look(text, sub, found) {
  try {
    const answer = await fetch(`/find?q=${encodeURIComponent(text)}`);
    const rows = await answer.json();
    if (!answer.ok) return setText(sub, rows.error);
    const sum = rows.posts.length + rows.authors.length + rows.conversations.length;
    setText(sub, sum ? `${counted(sum, "match", "matches")}.` : "Nothing. Names begin as you write them: acme finds #acme, #acmelaunch, and the authors acme and acme-2.");
    const item = (href, name, value) => h("li", {}, h("a", { class: "name", href }, stranger(name, 140)), h("span", { class: "value" }, value));
    const list = (title, items) => (items.length ? card(title, {}, h("ul", { class: "bars" }, items)) : null);
    found.replaceChildren(
      h("div", {}, [list("Conversations", rows.conversations.map((row) => item(placeOf(row.conversation), row.name, `last ${time(row.newest)}`))), list("Posts", rows.posts.map((row) => item(postPath(row.post_id), row.text || row.post_id, `by ${row.author_id}, ${time(row.created_at)}`)))].filter(Boolean)),
      h("div", {}, [list("Authors", rows.authors.map((row) => item(authorPath(row.channel, row.author_id), `${row.author_id} on ${row.channel}`, counted(row.posts, "post", "posts"))))].filter(Boolean)));
  } catch {
    setText(sub, "The server does not answer; try again.");
  }
  return undefined;
}
