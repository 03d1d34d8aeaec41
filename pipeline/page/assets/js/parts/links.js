// Addresses of views, and elements that lead there.
import { h, stranger, visible } from "./dom.js";

const path = (text) => encodeURIComponent(text).replaceAll("%3A", ":");

export const postPath = (id) => `/post/${path(id)}`;
export const conversationPath = (key) => `/conversation/${path(key)}`;
export const authorPath = (channel, id) => `/author/${path(channel)}/${path(id)}`;
export const spikePath = (id) => `/spike/${path(id)}`;

export const authorLink = (facts) => h("a", { href: authorPath(facts.channel, facts.author_id) }, stranger(facts.author_id, 60));

/** The words by which a post is known: its text, or its author where texts are not stored. */
export function postTitle(id, facts) {
  if (facts && visible(facts.text)) return stranger(facts.text, 160);
  if (!facts) return [stranger(id, 80)];
  const tags = facts.conversations.filter(({ key }) => key.startsWith("hashtag:")).slice(0, 3);
  return [stranger(facts.author_id, 60), " on ", stranger(facts.channel || "an unknown channel", 30), ...tags.map(({ name }) => [" ", stranger(name, 40)])];
}

/** Where a conversation leads: to its own view, an author's or a thread's. */
export function placeOf(key) {
  const [kind, name] = [key.slice(0, key.indexOf(":")), key.slice(key.indexOf(":") + 1)];
  if (kind === "thread") return postPath(name);
  if (kind === "author" && name.includes("/")) return authorPath(name.slice(0, name.indexOf("/")), name.slice(name.indexOf("/") + 1));
  return conversationPath(key);
}

/** The view and subject that an address names. */
export function parse(pathname) {
  const [, view, rest] = /^\/([a-z]*)\/?(.*)$/s.exec(pathname);
  if (view === "") return { view: "overview", subject: "" };
  let subject = rest;
  try {
    subject = decodeURIComponent(rest);
  } catch {
    // An address with a lone % is taken as it is.
  }
  return { view, subject };
}
