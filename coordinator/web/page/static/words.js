// Ages and moments as the command line writes them.

const MINUTE = 60, HOUR = 3600, DAY = 86400;

export function age(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds < MINUTE) return `${seconds.toFixed(1)} s`;
  if (seconds < HOUR) return `${Math.round(seconds / MINUTE)}m`;
  if (seconds < 2 * DAY) return `${Math.round(seconds / HOUR)}h`;
  return `${Math.round(seconds / DAY)}d`;
}

/** Write by how much a clock is ahead of the database's. */
export function offset(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const sign = seconds < 0 ? "−" : "+", apart = Math.abs(seconds);
  return sign + (apart < 1 ? `${Math.round(apart * 1000)} ms` : age(apart));
}

export function gap(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  return seconds < 0 ? `overlap ${(-seconds).toFixed(2)} s` : `${seconds.toFixed(2)} s`;
}

/** Write a moment, in seconds since 1970, as UTC. */
export function moment(at, digits = 0) {
  return new Date(at * 1000).toISOString().slice(0, digits ? 20 + digits : 19).replace("T", " ") + "Z";
}

export function clock(at) {
  return new Date(at * 1000).toISOString().slice(11, 19);
}

export const seconds = (text) => (text ? Date.parse(text) / 1000 : null);

export function iso(text) {
  return text ? moment(seconds(text)) : "–";
}

export function count(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];

export function size(bytes) {
  if (bytes === null || bytes === undefined) return "–";
  let unit = 0;
  while (bytes >= 1024 && unit < SIZES.length - 1) {
    bytes /= 1024;
    unit += 1;
  }
  return `${bytes.toFixed(unit ? 1 : 0)} ${SIZES[unit]}`;
}
