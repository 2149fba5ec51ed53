// Tables of results: sortable ones, and the confusion matrix.

import { make } from "./dom.js";

const MAX_TINT = 55; // percent of the colour behind a number, so that the number stays readable

/** A score in percent as text. */
export function percent(value) {
  return value === null || value === undefined ? "–" : value.toFixed(1);
}

/** A name with the colour of its class before it. */
export function className(app, index, name) {
  const dot = make("span", { class: "dot", "aria-hidden": "true" });
  dot.style.background = app.info.classes[index]?.color ?? "var(--faint)";
  return make("span", { class: "class-name" }, dot, name);
}

function compare(a, b) {
  if (a === null || a === undefined) return b === null || b === undefined ? 0 : 1;
  if (b === null || b === undefined) return -1;
  return typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : b - a;
}

/**
 * A table whose rows are sorted by a click on a column's name: first names from A, and numbers from the greatest.
 * @param columns [{ name, title, value: (row) => text or number, show: (row) => text or element }]
 */
export function sortableTable(caption, columns, rows) {
  const body = make("tbody");
  const heads = columns.map(({ name, title }, index) => make("th", { scope: "col", class: index ? "number" : "" },
    make("button", { title, onclick: () => sort(index) }, name)));
  let order = null, direction = 1;
  const fill = (sorted) => body.replaceChildren(...sorted.map((row) => make("tr", {}, ...columns.map(({ show }, index) =>
    make(index ? "td" : "th", index ? { class: "number" } : { scope: "row" }, show(row))))));
  function sort(index) {
    direction = order === index ? -direction : 1;
    order = index;
    for (const [at, head] of heads.entries()) {
      if (at === index) head.setAttribute("aria-sort", (direction > 0) === (index === 0) ? "ascending" : "descending");
      else head.removeAttribute("aria-sort");
    }
    const { value } = columns[index];
    fill([...rows].sort((a, b) => direction * compare(value(a), value(b))));
  }
  fill(rows);
  return make("div", { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
    make("table", {}, make("caption", {}, caption), make("thead", {}, make("tr", {}, ...heads)), body));
}

function tint(cell, share, color) {
  if (share > 0) cell.style.background = `color-mix(in srgb, var(${color}) ${Math.max(4, share * MAX_TINT)}%, transparent)`;
}

function cellButton(count, label, open) {
  if (!count) return make("span", { class: "zero" }, "0");
  return make("button", { "aria-label": label, title: label, onclick: open }, count.toLocaleString("en"));
}

/**
 * The confusion matrix: a row for each true class, a column for each predicted one. Each number opens its frames.
 * @param open (cell) => void, with { true, predicted, name }
 */
export function confusionMatrix(app, names, counts, open) {
  const frames = (count) => (count === 1 ? "1 frame" : `${count.toLocaleString("en")} frames`);
  const rows = counts.map((row, truth) => {
    const total = row.reduce((sum, count) => sum + count, 0);
    const cells = row.map((count, predicted) => {
      const isRight = truth === predicted;
      const name = isRight ? `${names[truth]}, as the model says` : `${names[truth]}, which the model takes for ${names[predicted]}`;
      const cell = make("td", { class: "number" },
        cellButton(count, `${frames(count)} of ${name}`, () => open({ true: truth, predicted, name })));
      tint(cell, total ? count / total : 0, isRight ? "--good" : "--disagrees");
      return cell;
    });
    return make("tr", {}, make("th", { scope: "row" }, className(app, truth, names[truth])), ...cells);
  });
  const heads = names.map((name, index) => make("th", { scope: "col" }, className(app, index, name)));
  return make("div", { class: "scroll matrix", role: "region", "aria-label": "Confusion matrix", tabindex: "0" },
    make("table", {},
      make("caption", {}, "What the model takes for what, in frames: choose a number to see them"),
      make("thead", {}, make("tr", {}, make("th", { scope: "col", class: "corner" }, "given ↓  model →"), ...heads)),
      make("tbody", {}, ...rows)));
}

/** What is wrong with classes that overlap: the frames that are missed, and the false alarms. */
export function missTable(app, misses, open) {
  const most = Math.max(1, ...misses.flatMap((each) => [each.missed, each.false_alarm]));
  const cell = (index, name, kind, count, words) => {
    const td = make("td", { class: "number" },
      cellButton(count, `${count.toLocaleString("en")} frames of ${name}, ${words}`, () => open({ true: index, kind, name: `${name}, ${words}` })));
    tint(td, count / most, "--disagrees");
    return td;
  };
  const rows = misses.map((each, index) => make("tr", {}, make("th", { scope: "row" }, className(app, index, each.name)),
    cell(index, each.name, "missed", each.missed, "which the model missed"),
    cell(index, each.name, "false_alarm", each.false_alarm, "which only the model sees")));
  const heads = ["class", "missed", "false alarm"].map((name, index) => make("th", { scope: "col", class: index ? "number" : "" }, name));
  return make("div", { class: "scroll matrix", role: "region", "aria-label": "Errors", tabindex: "0" },
    make("table", {}, make("caption", {}, "What is missed, and what only the model sees, in frames: choose a number to see them"),
      make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...rows)));
}
