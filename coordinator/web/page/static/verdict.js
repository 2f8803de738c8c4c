// The head of a group: its verdict in words, planned changes, and the explanation.

import { byId, h, keyed, setClass, setText } from "./dom.js";
import { LEVELS, MARKS } from "./groups.js";

export function showVerdict(group) {
  const { level, text } = group.verdict;
  setClass(byId("verdict"), `verdict level-${level}`);
  setText(byId("mark"), MARKS[level]);
  setText(byId("level"), LEVELS[level]);
  setText(byId("name"), group.groupId);
  setText(byId("sentence"), text);
  document.title = `${MARKS[level]} ${group.groupId}: ${text}`;
  lines(byId("planned"), group.planned.map((each) => each.sentence));
  lines(byId("sentences"), group.explanation);
  byId("why").hidden = group.explanation.length === 0;
}

function lines(list, texts) {
  keyed(list, texts.map((text, index) => ({ text, index })), (each) => each.index,
    () => h("li"), (element, each) => setText(element, each.text));
}
