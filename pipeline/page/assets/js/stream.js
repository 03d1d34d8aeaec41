// One stream of server-sent events a page. It rests while the page is hidden, because browsers allow a server few streams.

const HIDDEN_MS = 20_000;

export class Stream {
  /** `parts`: what to do with the messages of each part; `onState("live" | "away")`. */
  constructor(view, subject, parts, onState) {
    this.address = `/events/${view}/${encodeURIComponent(subject)}`;
    this.parts = parts;
    this.onState = onState;
    this.resting = null;
    document.addEventListener("visibilitychange", () => this.#turn());
    this.#open();
  }

  #open() {
    this.source = new EventSource(this.address);
    this.source.onopen = () => this.onState("live");
    this.source.onerror = () => {
      this.onState("away");
      // A browser gives up after an answer that is no stream, such as 503.
      if (this.source.readyState === EventSource.CLOSED) setTimeout(() => this.source.readyState === EventSource.CLOSED && this.#open(), 5000);
    };
    for (const [part, show] of Object.entries(this.parts)) {
      this.source.addEventListener(part, (event) => show(JSON.parse(event.data)));
    }
  }

  #turn() {
    clearTimeout(this.resting);
    if (document.hidden) this.resting = setTimeout(() => this.source.close(), HIDDEN_MS);
    else if (this.source.readyState === EventSource.CLOSED) this.#open();
  }
}
