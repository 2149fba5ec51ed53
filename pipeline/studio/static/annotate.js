// The classes and the commands: what is recorded, given to the selection, and changed.

import { countUnlabelled, fill, hint, relabel } from "./changes.js";
import { addClassForm, askPlace, showClassKeys } from "./class_forms.js";
import { COMMANDS, isOffered, keyName, runCommand } from "./commands.js";
import { breakable, counted, make } from "./dom.js";
import { Recorder } from "./recording.js";
import { ABSENT, PRESENT } from "./tracks.js";

class ClassPanel {
  #buttons = [];
  #counts = [];
  #isPending = false;

  constructor(app) {
    this.app = app;
    this.list = make("ul", { class: "classes", "aria-label": "Classes" });
    this.build();
    for (const name of ["labels", "frame", "recording", "selection", "track"]) app.on(name, () => this.#later());
    app.on("labels", () => (this.#counts = []));
    app.on("classes", () => this.build());
  }

  build() {
    const { app } = this, classes = app.info.classes ?? [];
    const section = document.getElementById("classes");
    this.#buttons = classes.map((each, index) => this.#classButton(each, index));
    this.list.replaceChildren(...this.#buttons.map((button) => make("li", {}, button)));
    const start = make("p", { class: "start" }, "Add a class for each thing that you want to find in the videos.");
    const labelling = classes.length ? [this.#modes(), this.list] : [start];
    const parts = app.info.read_only ? [this.list] : [...labelling, ...this.#editing()];
    section.replaceChildren(make("h2", {}, "Classes"), ...parts);
    document.getElementById("commands").replaceChildren(this.#commandSection());
    this.#later();
  }

  #classButton({ name, color, key, group }, index) {
    const { app } = this;
    const swatch = make("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.background = color;
    const title = group && group !== name ? `${name} (${group})` : name;
    const facts = make("span", { class: "facts" }, make("span", { class: "state" }), make("span", { class: "count" }),
      key && !app.info.read_only ? make("kbd", {}, keyName(key)) : null);
    const button = make("button", { class: "class", "aria-pressed": "false", title }, swatch,
      make("span", { class: "name" }, ...breakable(name)), facts);
    if (key) button.setAttribute("aria-keyshortcuts", key);
    button.disabled = Boolean(app.info.read_only);
    button.addEventListener("click", (event) => {
      const isPointer = event.detail > 0; // which has held the button down, see below
      if (app.selection || !app.recorder.isHeld) app.pressClass(index);
      else if (!isPointer && app.labels) app.recorder.toggle(index);
    });
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || !app.recorder.isHeld || app.selection || !app.labels) return;
      app.recorder.start(index);
      for (const name of ["pointerup", "pointercancel"])
        addEventListener(name, () => app.recorder.stop(index), { once: true });
    });
    return button;
  }

  #modes() {
    const { recorder } = this.app;
    const choice = (label, isHeld, title) => {
      const choose = () => (recorder.isHeld = isHeld);
      const input = make("input", { type: "radio", name: "recording-mode", onchange: choose });
      input.checked = recorder.isHeld === isHeld;
      return make("label", { title }, input, label);
    };
    return make("div", { class: "modes", role: "radiogroup", "aria-label": "How a key labels" },
      make("span", {}, "A key is"),
      choice("on/off", false, "Press to start a class, press again to end it; another class of its group ends it too"),
      choice("held", true, "A class has the frames that pass while its key is held"));
  }

  #editing() {
    const { app } = this;
    const add = make("button", { class: app.info.classes?.length ? "quiet" : "main", onclick: () => addClassForm(app) }, "Add a class…");
    const keys = make("button", { class: "quiet", onclick: () => showClassKeys(app) }, "Edit keys…");
    const offers = app.info.classes?.length ? [add, keys] : [add];
    return [make("div", { class: "editing" }, ...offers)];
  }

  #commandSection() {
    const { app } = this;
    const buttons = COMMANDS.filter((each) => each.button && isOffered(app, each)).map((each) =>
      make("button", { "data-command": each.id, title: each.name, "aria-label": `${each.name}`,
        "aria-keyshortcuts": each.keys[0].replace("Ctrl", "Control"), onclick: () => runCommand(app, each) },
        make("span", {}, each.button), make("kbd", {}, keyName(each.keys[0], true))));
    const all = make("div", { class: "commands" }, ...buttons);
    return make("details", { open: true }, make("summary", {}, "Commands"), all);
  }

  #later() {
    if (this.#isPending) return;
    this.#isPending = true;
    requestAnimationFrame(() => {
      this.#isPending = false;
      this.#update();
    });
  }

  #update() {
    const { app } = this, { labels, recorder } = app;
    if (labels && !this.#counts.length) this.#counts = countSegments(app);
    for (const [index, button] of this.#buttons.entries()) {
      const isOn = recorder.isOn(index);
      setAttribute(button, "aria-pressed", String(isOn));
      button.classList.toggle("on", isOn);
      const value = labels?.valueAt(app.info.exclusive ? 0 : index, app.frame);
      const state = stateOf(app, index, value);
      const isHere = app.info.exclusive ? value === index : value === PRESENT;
      button.classList.toggle("here", isHere);
      button.classList.toggle("active", !app.info.exclusive && app.track === index);
      setText(button.querySelector(".state"), isOn ? "● recording" : state);
      setText(button.querySelector(".count"), labels ? String(this.#counts[index] ?? 0) : "");
      const count = labels ? counted(this.#counts[index] ?? 0, "segment") : "";
      const more = [isOn ? "recording" : state || (isHere ? "here" : ""), count];
      setAttribute(button, "aria-label", [app.info.classes[index].name, ...more.filter(Boolean)].join(", "));
    }
    this.#updateCommands();
  }

  #updateCommands() {
    const { labels } = this.app;
    for (const button of document.querySelectorAll("#commands [data-command]")) {
      const id = button.dataset.command, command = COMMANDS.find((each) => each.id === id);
      let isPossible = Boolean(labels) && !(command.changes && labels.readOnly);
      if (id === "undo") isPossible = Boolean(labels && (labels.canUndo || labels.pending));
      if (id === "redo") isPossible = Boolean(labels?.canRedo);
      if (button.disabled === isPossible) button.disabled = !isPossible;
      const step = { undo: labels?.canUndo && labels.undoName, redo: labels?.canRedo && labels.redoName }[id];
      setAttribute(button, "title", step ? `${command.name}: ${step}` : command.name);
    }
  }
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setAttribute(element, name, value) {
  if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

function stateOf(app, index, value) {
  if (app.info.exclusive || value === undefined) return "";
  return value === PRESENT ? "there" : value === ABSENT ? "not there" : "unknown";
}

function countSegments(app) {
  const { classes, exclusive } = app.info, counts = classes.map(() => 0);
  for (const [track, { values }] of app.labels.tracks.entries())
    for (const value of values) {
      if (exclusive) counts[value] += 1;
      else if (value === PRESENT) counts[track] += 1;
    }
  return counts;
}

/** What unlabelled frames may become: [text, act, colour or null]. */
function fillOptions(app, lane) {
  const { exclusive, classes } = app.info;
  if (exclusive) return classes.map(({ name, color }, index) => [name, () => fill(app, [0], index, name), color]);
  const { name, color } = classes[lane];
  const ofLane = [
    [`“${name}” is not there in these frames`, () => fill(app, [lane], ABSENT, `no ${name}`), null],
    [`“${name}” is there in these frames`, () => fill(app, [lane], PRESENT, name), color]];
  const ofAll = ["Wherever a class is unknown, it is not there", () => fill(app, [...classes.keys()], ABSENT, "no class"), null];
  return countUnlabelled(app, lane) ? [...ofLane, ofAll] : [ofAll];
}

/** Ask what the unlabelled frames are filled with; this names their number before anything is changed. */
function askFill(app) {
  const { exclusive, classes } = app.info, lane = exclusive ? 0 : app.selection?.track ?? app.track;
  const where = app.selection ? "the selection" : "the video", count = counted(countUnlabelled(app, lane), "frame");
  if (app.labels.tracks.every((_, track) => !countUnlabelled(app, track)))
    return hint(app, `All frames of ${where} are labelled already.`);
  const text = exclusive ? `The class that you choose is given to the unlabelled frames of ${where}: ${count}.`
    : countUnlabelled(app, lane)
      ? `“${classes[lane].name}” is unknown in ${count} of ${where}: nobody has said whether it is there.`
      : `“${classes[lane].name}” is known in all frames of ${where}, and other classes are not.`;
  const dialog = make("dialog", { class: "studio-dialog", "aria-labelledby": "fill-title" });
  const close = () => dialog.close();
  const buttons = fillOptions(app, lane).map(([name, act, color]) => {
    const swatch = color && make("span", { class: "swatch", "aria-hidden": "true" });
    if (swatch) swatch.style.background = color;
    return make("button", { class: "option", onclick: () => { close(); act(); } }, swatch, name);
  });
  dialog.append(make("h2", { id: "fill-title" }, exclusive ? "Fill unlabelled frames" : "Fill what is unknown"),
    make("p", {}, `${text} All other labels stay. Undo takes the choice back.`),
    make("div", { class: "options" }, ...buttons), make("button", { onclick: close }, "Cancel"));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

export function init(app) {
  app.recorder = new Recorder(app);
  app.pressClass = (classIndex) => {
    if (!app.labels) return;
    app.dropPassingNotices();
    if (app.selection) relabel(app, classIndex);
    else if (app.recorder.isHeld) app.recorder.start(classIndex);
    else app.recorder.toggle(classIndex);
  };
  app.askFill = () => askFill(app);
  app.askPlace = () => askPlace(app);
  app.timeline.recorded = () => app.recorder.paints();
  app.on("recording", () => app.timeline.redraw());
  new ClassPanel(app);
}
