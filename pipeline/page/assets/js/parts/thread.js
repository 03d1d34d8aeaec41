// The thread under a post: who answers whom, and who waits.
import { KeyedList, card, h, setText, stranger } from "./dom.js";
import { count, counted, span, time } from "./format.js";

export class Thread {
  constructor() {
    this.words = h("p", { class: "muted small" }, "Counting.");
    const list = h("ol", { class: "thread", tabindex: "0", "aria-label": "Comments" });
    this.list = list;
    this.rows = new KeyedList(list, ({ key }) => key, (comment) => row(comment));
    this.element = card("The conversation", { note: "those who wait for an answer first" }, this.words, list);
  }

  show(thread) {
    const { total, waiting, oldest_waiting_at: oldest, comments, unplaced } = thread;
    const waits = waiting === null ? "Who waits for an answer is not known: the post itself has not arrived, so its author is not known."
      : waiting ? `${counted(waiting, "comment has", "comments have")} no answer by the author or the brand; the oldest waits for ${span(Date.now() / 1000 - oldest)}.` : "Everybody was answered.";
    const more = total > comments.length ? ` ${count(comments.length)} are shown.` : "";
    const gap = unplaced ? ` ${counted(unplaced, "comment waits", "comments wait")} for a parent that has not come.` : "";
    setText(this.words, total ? `${counted(total, "comment", "comments")}.${more} ${waits}${gap}` : "Nobody has commented yet.");
    this.list.hidden = !comments.length;
    this.rows.show(comments.map((comment) => ({ ...comment, key: `${comment.at}/${comment.actor}/${comment.depth}` })));
    this.rows.kept.forEach(({ element }, key) => {
      const comment = comments.find(({ at, actor, depth }) => `${at}/${actor}/${depth}` === key);
      element.className = `in-${Math.min(5, comment.depth)} ${comment.waits ? "waits" : ""} ${comment.brand ? "brand-turn" : ""}`;
    });
  }
}

function row(comment) {
  if (comment.gone) return h("p", { class: "meta" }, "taken back");
  return [
    h("p", {}, h("b", {}, stranger(comment.actor, 60)), " ", comment.brand ? h("span", { class: "tag brand-turn" }, "speaks for the brand") : null,
      comment.waits ? h("span", { class: "tag waits" }, "waits for an answer") : null),
    comment.text ? h("p", { class: "text" }, stranger(comment.text, 600)) : null,
    h("p", { class: "meta" }, time(comment.at), comment.answers ? `, ${counted(comment.answers, "answer", "answers")}` : ""),
  ];
}
