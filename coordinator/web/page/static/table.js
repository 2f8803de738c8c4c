// Tables whose rows stay while their key does, so that focus and selection outlive a reading.

import { h, keyed, setClass, setText } from "./dom.js";

/**
 * A table. Columns: {title, cell(row) -> text, number, show(td, row), hide(row)}.
 * `show` fills a cell by itself; otherwise it has the text of `cell`.
 */
export class Table {
  constructor(place, { caption, columns, key, style = () => "", empty }) {
    this.columns = columns;
    this.key = key;
    this.style = style;
    const head = h("tr");
    for (const column of columns) {
      head.append(h("th", { scope: "col", class: column.number ? "number" : null }, column.title));
    }
    this.body = h("tbody");
    this.table = h("table", {}, h("caption", {}, caption), h("thead", {}, head), this.body);
    this.scroll = h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, this.table);
    this.empty = h("p", { class: "detail" }, empty);
    place.append(this.scroll, this.empty);
  }

  update(rows) {
    this.scroll.hidden = rows.length === 0;
    this.empty.hidden = rows.length > 0;
    keyed(this.body, rows, this.key, () => this.#row(), (element, row) => this.#fill(element, row));
  }

  #row() {
    const cells = this.columns.map((column, index) =>
      index === 0
        ? h("th", { scope: "row" })
        : h("td", { class: column.number ? "number" : null, "data-title": column.title }));
    return h("tr", {}, ...cells);
  }

  #fill(element, row) {
    setClass(element, this.style(row));
    this.columns.forEach((column, index) => {
      const cell = element.children[index];
      if (column.show) column.show(cell, row);
      else setText(cell, column.cell(row));
    });
  }
}
