// The stream of readings: live while the tab is seen, and honest about its age when it breaks.

/** Data that is older than this is shown in grey. */
export const STALE_S = 3.5;

export class Stream {
  /** heard: {overview(document), group(document or null)}; both run before `changed`. */
  constructor(heard, changed) {
    this.heard = heard;
    this.changed = changed;
    this.source = null;
    this.group = null;
    this.readAt = null; // of performance.now(), in seconds
    this.trouble = null;
    this.broken = false;
    document.addEventListener("visibilitychange", () => this.#seen());
  }

  /** Follow the overview, and this group in full. */
  open(group) {
    this.group = group;
    this.close();
    if (document.hidden) return;
    const query = group ? `?group=${encodeURIComponent(group)}` : "";
    const source = new EventSource(`/api/v1/events${query}`);
    this.source = source;
    source.addEventListener("overview", (event) => this.heard.overview(JSON.parse(event.data)));
    source.addEventListener("group", (event) => this.heard.group(JSON.parse(event.data)));
    source.addEventListener("tick", (event) => this.#tick(JSON.parse(event.data)));
    source.addEventListener("open", () => { this.broken = false; });
    source.addEventListener("error", () => this.#error(source));
  }

  close() {
    this.source?.close();
    this.source = null;
    clearTimeout(this.again);
  }

  /** Seconds since what is shown was read; null: nothing was read yet. */
  age() {
    return this.readAt === null ? null : performance.now() / 1000 - this.readAt;
  }

  stale() {
    return this.broken || this.trouble !== null || (this.age() ?? 0) > STALE_S;
  }

  why() {
    if (this.trouble) return this.trouble;
    return this.broken ? "the server of this page does not answer; trying again" : "no news from the server";
  }

  #tick({ ageSeconds, trouble }) {
    if (ageSeconds !== null) this.readAt = performance.now() / 1000 - ageSeconds;
    this.trouble = trouble;
    this.broken = false;
    this.changed();
  }

  #error(source) {
    this.broken = true;
    this.changed();
    // After an answer other than 200 a browser does not try again by itself.
    if (source.readyState === EventSource.CLOSED) {
      this.again = setTimeout(() => this.open(this.group), 2000);
    }
  }

  #seen() {
    if (document.hidden) this.close();
    else this.open(this.group);
  }
}
