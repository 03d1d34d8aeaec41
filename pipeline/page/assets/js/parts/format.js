// Numbers and times as people write them.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** 1,234 in full up to a hundred thousand, then 123K. */
export const count = (value) => (value === null || value === undefined ? "–" : Math.abs(value) < 1e5 ? whole.format(value) : short.format(value));

export const decimal = (value, digits = 2) =>
  value === null || value === undefined ? "–" : new Intl.NumberFormat("en", { maximumSignificantDigits: digits }).format(value);

export const percent = (value) => (value === null || value === undefined ? "–" : `${value > 0 && value < 0.01 ? "< 1" : whole.format(100 * value)} %`);

export const counted = (value, one, many) => `${count(value)} ${value === 1 ? one : many}`;

/** A clock time, with the day where it is not today's. */
export function time(seconds) {
  const at = new Date(1000 * seconds);
  return (at.toDateString() === new Date().toDateString() ? clock : day).format(at);
}

export const clockOf = (seconds) => clock.format(new Date(1000 * seconds));

/** How long something took or is ago: 4 s, 12 min, 3 h, 2 days. */
export function span(seconds) {
  const steps = [[90, 1, "s"], [90 * 60, 60, "min"], [36 * 3600, 3600, "h"], [Infinity, 86400, "days"]];
  const [, unit, name] = steps.find(([below]) => seconds < below);
  return `${whole.format(Math.max(0, Math.round(seconds / unit)))} ${name}`;
}
