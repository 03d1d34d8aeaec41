// Counts per minute as the server sends them: all at first, then what changed.

const DAY = 86_400;

export class Minutes {
  constructor(names) {
    this.names = names;
    this.rows = new Map();
  }

  /** Takes columns: minutes from `since` on replace those known. */
  take(columns) {
    for (const minute of this.rows.keys()) if (minute >= columns.since) this.rows.delete(minute);
    columns.minute.forEach((minute, place) => this.rows.set(minute, this.names.map((name) => columns[name][place])));
    const newest = Math.max(...this.rows.keys());
    for (const minute of this.rows.keys()) if (minute < newest - DAY) this.rows.delete(minute);
  }

  /**
   * Returns columns of the `seconds` before `until`: times, then what `measures` make of a row, as means a minute.
   * A minute without a row had nothing. Buckets are as long as `width` pixels ask for.
   */
  columns(seconds, until, width, measures) {
    const bucket = Math.max(1, Math.ceil(seconds / 60 / Math.max(60, width / 3))) * 60;
    const end = Math.ceil(until / bucket) * bucket;
    const times = [];
    const sums = measures.map(() => []);
    for (let start = end - Math.ceil(seconds / bucket) * bucket; start < end; start += bucket) {
      times.push(start);
      const minutes = Math.max(1, Math.min(bucket, until - start) / 60);
      measures.forEach((measure, number) => {
        let sum = 0;
        for (let minute = start; minute < start + bucket; minute += 60) {
          const row = this.rows.get(minute);
          if (row) sum += measure(row);
        }
        sums[number].push(sum / minutes);
      });
    }
    return [times, ...sums];
  }
}

/** Buttons that choose how much of the past is shown. */
export const SPANS = [[3600, "1 h"], [6 * 3600, "6 h"], [DAY, "24 h"]];
