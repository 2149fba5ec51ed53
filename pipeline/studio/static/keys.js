// The keyboard: every key of the page, and the sheet that shows them.

import { COMMANDS, PAGE, isOffered, keyName, runCommand } from "./commands.js";
import { counted, make } from "./dom.js";

const FIELDS = "input, textarea, select, [contenteditable]";
const held = new Map(); // the classes whose keys are held: KeyboardEvent.code -> class

/** What a key event is called in the table of commands. */
export function nameOf(event) {
  const isSymbol = event.key.length === 1 && event.key.toLowerCase() === event.key.toUpperCase() && event.key !== " ";
  const isTyped = isSymbol && event.getModifierState("AltGraph"); // "[" on many keyboards
  const control = (event.ctrlKey || event.metaKey) && !isTyped;
  const shift = event.shiftKey && !isSymbol;
  let key = event.key;
  if (key.length === 1) key = shift ? key.toUpperCase() : key.toLowerCase();
  return `${control ? "Ctrl+" : ""}${shift ? "Shift+" : ""}${key}`;
}

function isElsewhere(app, event) {
  if (event.defaultPrevented || event.isComposing || document.querySelector("dialog[open]")) return true;
  if (event.target.closest?.(FIELDS)) return event.target.type !== "checkbox" && event.target.type !== "radio";
  return false;
}

function down(app, event) {
  if (isElsewhere(app, event)) return;
  const name = nameOf(event);
  const isPress = (name === " " || name === "Enter") && event.target.closest?.("button, summary, [role=tab], [role=radio]");
  if (isPress || (event.altKey && !event.getModifierState("AltGraph"))) return;
  const found = COMMANDS.find((command) => command.keys.includes(name) && isOffered(app, command));
  if (app.view !== "watch" && found?.group !== PAGE) return;
  if (found) {
    event.preventDefault();
    runCommand(app, found);
    return;
  }
  const classIndex = (app.info.classes ?? []).findIndex(({ key }) => key && key.toLowerCase() === name);
  if (classIndex < 0 || !app.labels) return;
  event.preventDefault();
  if (event.repeat) return;
  if (app.recorder.isHeld && !app.selection) held.set(event.code, classIndex);
  app.pressClass(classIndex);
}

function up(app, event) {
  const classIndex = held.get(event.code);
  if (classIndex === undefined) return;
  held.delete(event.code);
  app.recorder.stop(classIndex);
}

function keysOf(keys) {
  return make("span", { class: "keys" }, ...keys.map((key) => make("kbd", {}, keyName(key))));
}

function sheetTable(title, rows) {
  const lines = rows.map(([keys, name]) =>
    make("tr", {}, make("td", {}, keysOf(keys)), make("th", { scope: "row" }, name)));
  return make("section", {}, make("h3", {}, title), make("table", {}, make("tbody", {}, ...lines)));
}

function rowsOf(commands) {
  return commands.map(({ keys, name }) => [keys, name]);
}

function showSheet(app) {
  const sheet = document.getElementById("keys-sheet");
  if (sheet.open) return;
  const offered = COMMANDS.filter((command) => isOffered(app, command));
  const groups = [...new Set(offered.map(({ group }) => group))];
  const classes = (app.info.classes ?? []).filter(({ key }) => key);
  const mode = app.recorder?.isHeld ? "hold it while the video plays" : "press to start, press again to end";
  const close = make("button", { onclick: () => sheet.close(), class: "close" }, "Close ", make("kbd", {}, "Esc"));
  sheet.replaceChildren(
    make("header", {}, make("h2", { id: "keys-title" }, "Keys"), close),
    make("div", { class: "columns" },
      ...groups.map((group) => sheetTable(group, rowsOf(offered.filter((each) => each.group === group)))),
      sheetTable(`${counted(classes.length, "class", "classes")}: ${mode}; with a selection: relabel it`,
        classes.map(({ key, name }) => [[key], name])),
      sheetTable("Mouse on the timeline", [
        [["Click"], "Go to the frame"],
        [["Drag"], "Select frames in a lane, or move a boundary (Alt: without snapping)"],
        [["Double click"], "Select the segment"],
        [["Wheel"], "Scroll; with Shift: the lanes"],
        [["Ctrl+Wheel"], "Zoom"]])));
  sheet.showModal();
  close.focus();
}

export function init(app) {
  document.body.append(make("dialog", { id: "keys-sheet", "aria-labelledby": "keys-title" }));
  app.showKeys = () => showSheet(app);
  document.getElementById("help").addEventListener("click", () => showSheet(app));
  addEventListener("keydown", (event) => down(app, event));
  addEventListener("keyup", (event) => up(app, event));
  // After a click the keys are the timeline's again: Space then plays, and does not press the button once more.
  document.getElementById("view-watch").addEventListener("click", (event) => {
    if (event.detail > 0 && event.target.closest("button") && document.activeElement?.tagName === "BUTTON")
      app.timeline?.canvas.focus({ preventScroll: true });
  });
}
