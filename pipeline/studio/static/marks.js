// The point marks and notes of the video, in a list.

import { addMark } from "./changes.js";
import { counted, make } from "./dom.js";
import { timeText } from "./timeline_ruler.js";

class MarkPanel {
  #edited = null; // the id of the mark that is being edited, or "new"
  #shown = "";

  constructor(app) {
    this.app = app;
    this.section = document.getElementById("marks");
    this.list = make("ul", {});
    app.on("labels", () => this.#show());
    app.on("video", () => {
      this.#edited = null;
      this.#show();
    });
    this.#show();
  }

  /** Open the field for a note at the playhead. */
  write() {
    if (!this.app.labels || this.app.labels.readOnly) return;
    this.#edited = "new";
    this.#show(true);
    this.section.querySelector("form input")?.select();
  }

  #show(isForced = false) {
    const { app } = this, marks = app.labels?.marks ?? [];
    const state = JSON.stringify([marks, this.#edited, app.labels?.id, app.labels?.readOnly]);
    if (!isForced && state === this.#shown) return;
    if (!isForced && this.#edited && this.section.querySelector("form")) return; // not under the fingers of who writes
    this.#shown = state;
    const canChange = app.labels && !app.labels.readOnly;
    const title = marks.length ? counted(marks.length, "mark and note", "marks and notes") : "Marks and notes";
    const rows = marks.map((mark) => make("li", {}, ...(mark.id !== null && mark.id === this.#edited
      ? [this.#form(mark)] : this.#line(mark, canChange))));
    const none = canChange ? "None yet: M marks a frame, Shift+M writes a note." : "None.";
    const empty = marks.length || this.#edited ? null : make("p", { class: "empty" }, none);
    this.list.replaceChildren(...rows);
    this.section.replaceChildren(make("h2", {}, title),
      ...[this.#edited === "new" ? this.#form(null) : null, empty, marks.length ? this.list : null].filter(Boolean));
  }

  #line(mark, canChange) {
    const { app } = this;
    const time = timeText(app.times[Math.min(mark.frame, app.times.length - 1)] - app.times[0], 0.1);
    const what = [mark.name, mark.text].filter(Boolean).join(": ");
    const go = make("button", { class: "go", "aria-label": `Go to ${what}, frame ${mark.frame}`,
      onclick: () => app.setFrame(mark.frame, "jump") },
      make("span", { class: "time" }, time),
      make("span", { class: "what" }, make("strong", {}, mark.name), mark.text ? ` ${mark.text}` : ""));
    if (!canChange || mark.id === null) return [go];
    const edit = make("button", { class: "quiet", "aria-label": `Edit ${what}`, onclick: () => {
      this.#edited = mark.id;
      this.#show(true);
      this.section.querySelector("form textarea")?.focus();
    } }, "edit");
    const remove = make("button", { class: "quiet", "aria-label": `Delete ${what}`,
      onclick: () => app.labels.edit("delete a mark", { remove_marks: [mark.id] }) }, "×");
    return [go, edit, remove];
  }

  #form(mark) {
    const { app } = this;
    const name = make("input", { value: mark?.name ?? "note", maxlength: "200", "aria-label": "Name of the mark",
      autocomplete: "off" });
    const text = make("textarea", { rows: "2", maxlength: "10000", "aria-label": "Note" });
    text.value = mark?.text ?? "";
    const done = () => {
      this.#edited = null;
      this.#show(true);
      app.timeline.canvas.focus({ preventScroll: true });
    };
    const save = (event) => {
      event.preventDefault();
      const changed = { ...mark, name: name.value, text: text.value };
      if (mark) app.labels.edit("change a mark", { change_marks: [changed] });
      else if (name.value.trim() || text.value.trim()) addMark(app, name.value.trim(), text.value);
      done();
    };
    const form = make("form", { onsubmit: save }, name, text, make("div", { class: "row" },
      make("button", { class: "main", type: "submit" }, "Save"),
      make("button", { type: "button", onclick: done }, "Cancel")));
    form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") done();
      else if (event.key === "Enter" && !event.shiftKey && event.target.tagName === "TEXTAREA") save(event);
    });
    return form;
  }
}

export function init(app) {
  const panel = new MarkPanel(app);
  app.writeNote = () => panel.write();
}
