// Elements, made and updated without ever reading text as HTML.

/** Make an element; attributes that are null are left out, children are texts or nodes. */
export function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Make an element of SVG. */
export function s(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((each) => each !== null));
  return element;
}

export const byId = (id) => document.getElementById(id);

/** Change a text only where it differs, so that selections and screen readers are left alone. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setClass(element, name) {
  if (element.className !== name) element.className = name;
}

export function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Show the items as children of a parent: one element for each, kept while its key stays. */
export function keyed(parent, items, keyOf, make, update) {
  const before = parent.keyed ?? new Map();
  const now = new Map();
  let place = parent.firstChild;
  for (const item of items) {
    let key = keyOf(item);
    while (now.has(key)) key += " again"; // an element without a place in the map would stay for ever
    const element = before.get(key) ?? make(item);
    before.delete(key);
    update(element, item);
    now.set(key, element);
    if (element === place) place = place.nextSibling;
    else parent.insertBefore(element, place);
  }
  for (const gone of before.values()) gone.remove();
  parent.keyed = now;
}
