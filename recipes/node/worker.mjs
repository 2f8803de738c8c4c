// Works once a second while its node is active; SIGTERM ends it between two pieces of work.
import { setTimeout as pause } from "node:timers/promises";

const { COORD_NODE: node, COORD_TERM: term } = process.env;
const ended = new AbortController();
process.on("SIGTERM", () => ended.abort());

while (!ended.signal.aborted) {
  // Hand the term on to whatever is written to: it refuses a lower one.
  console.log(`work by ${node}, term ${term}`);
  await pause(1000, undefined, { signal: ended.signal }).catch(() => {});
}
