// The Results view: how good the labels of a model are, time budgets, and the export.

import * as api from "./api.js";
import { showBudget } from "./budget.js";
import { counted, make } from "./dom.js";
import { ExportForm } from "./export.js";
import { className, confusionMatrix, missTable, percent, sortableTable } from "./result_tables.js";
import { Stretches } from "./stretches.js";

function tiles(group) {
  const { frames, segments } = group.scores;
  const shown = [
    ["Accuracy", frames.accuracy.pooled, "of 100 frames, so many are right"],
    ["Macro F1", frames.macro_f1.pooled, "the mean of the F1 of the classes: rare classes count as much as common ones, " +
      "and those without any frame do not count"],
    ["Edit score", segments.edit.pooled, "whether the order of the segments is right, wherever their boundaries are"],
    ["F1@50", segments.f1["50"].pooled, "segments that are found, with at least half of their frames in common"],
  ];
  return make("dl", { class: "tiles" }, ...shown.map(([name, value, title]) =>
    make("div", { title }, make("dt", {}, name), make("dd", {}, percent(value)))));
}

/** What "–" means, where a class has it. */
function absentNote({ classes }) {
  if (classes.every(({ f1 }) => f1 !== null)) return null;
  return make("p", { class: "faint" }, "–: no frame to compute it from. A class that neither the given labels nor the model have",
    " does not count for the macro F1.");
}

function classTable(app, group) {
  const score = (name, key, title) => ({ name, title, value: (row) => row[key], show: (row) => percent(row[key]) });
  return sortableTable("Classes", [
    { name: "class", title: "sort by name", value: (row) => row.name, show: (row) => className(app, row.index, row.name) },
    { name: "frames", title: "frames with this given label", value: (row) => row.support, show: (row) => row.support.toLocaleString("en") },
    score("precision", "precision", "of 100 frames that the model gives this class, so many have it"),
    score("recall", "recall", "of 100 frames that have this class, the model finds so many"),
    score("F1", "f1", "the harmonic mean of precision and recall"),
  ], group.classes.map((each, index) => ({ ...each, index })));
}

class ResultsView {
  #turn = 0;

  constructor(app) {
    this.app = app;
    this.section = document.getElementById("view-results");
    this.models = make("select", { id: "results-model", onchange: () => this.load() });
    this.note = make("p", { class: "faint" });
    this.groups = make("div", { id: "result-groups" });
    this.budgetSource = make("select", { id: "budget-source", onchange: () => this.#showBudget() });
    this.budget = make("div", { class: "content" });
    const budget = make("section", { id: "budget", "aria-label": "Time budget" },
      make("div", { class: "head" }, make("h2", {}, "Time budget"), make("label", {}, "of ", this.budgetSource)), this.budget);
    const exporting = make("section", { id: "export", "aria-label": "Export" });
    const list = make("section", { id: "stretches", "aria-label": "Frames behind a number" });
    this.section.append(make("div", { class: "columns" },
      make("div", { class: "reading" },
        make("section", { "aria-label": "Scores" }, make("div", { class: "head" }, make("h2", {}, "Scores"),
          make("label", {}, "of ", this.models)), this.note, this.groups),
        budget, exporting), list));
    this.form = new ExportForm(app, exporting);
    this.stretches = new Stretches(app, list);
    app.on("view", () => app.view === "results" && this.load());
    app.on("classes", () => app.view === "results" && this.load());
  }

  /** Get the results anew. */
  async load() {
    const turn = ++this.#turn;
    const asked = this.models.value;
    if (!this.groups.childElementCount) this.groups.replaceChildren(make("p", { class: "empty", role: "status" }, "The frames are being counted…"));
    const answer = await this.app.attempt(() => api.get(`/api/results?source=${encodeURIComponent(asked)}`), "results");
    if (!answer || turn !== this.#turn) return;
    this.#offer(this.models, answer.sources, answer.source);
    this.#show(answer);
    const sources = [answer.given, ...answer.sources];
    this.#offer(this.budgetSource, sources, this.budgetSource.value || answer.given.id);
    await Promise.all([this.form.offer(sources), this.#showBudget()]);
  }

  #offer(select, sources, chosen) {
    select.replaceChildren(...sources.map(({ id, name }) => make("option", { value: id }, name)));
    select.disabled = !sources.length;
    if (chosen && sources.some(({ id }) => id === chosen)) select.value = chosen;
  }

  #showBudget() {
    return showBudget(this.app, this.budget, this.budgetSource.value);
  }

  #show(answer) {
    const { sources, groups, left_out: leftOut, unknown_classes: unknown = [] } = answer;
    this.note.textContent = sources.length ? answer.note : "";
    this.models.parentElement.hidden = !sources.length;
    const parts = groups.map((group) => this.#group(answer, group));
    if (!parts.length) parts.push(make("p", { class: "empty" }, this.#nothing(answer)));
    const warnings = leftOut.map(({ stem, reason }) => `${stem} is not scored: ${reason}`);
    if (unknown.length) warnings.unshift(`The data set does not have these classes of the model, and its frames of them count for nothing: ${unknown.join(", ")}.`);
    this.groups.replaceChildren(...warnings.map((text) => make("p", { class: "warning" }, text)), ...parts);
  }

  #nothing({ sources, num_predicted: numPredicted }) {
    const { has_model: hasModel, is_dataset: isDataset } = this.app.info;
    if (!isDataset && !sources.length) return "Scores compare a model with the labels of the files: start the studio with --model.";
    const start = "No video has both given labels and a model's labels yet";
    if (!sources.length && !hasModel) return `${start}: start the studio with --model, or train a model in the Train view.`;
    if (!sources.length || !numPredicted) return `${start}: choose “Label … more videos” in the Label view, which runs the model.`;
    return `${start}: the model has labelled ${counted(numPredicted, "video")}; give labels to some of them in the Label view.`;
  }

  #group(answer, group) {
    const { app } = this;
    const open = (cell) => this.stretches.open(answer.source, group.id, cell);
    const leftOut = group.num_left_out ? ` ${counted(group.num_left_out, "labelled frame")} without a label of the model ${group.num_left_out === 1 ? "is" : "are"} left out.` : "";
    const errors = group.confusion ? confusionMatrix(app, answer.class_names, group.confusion, open) : missTable(app, group.misses, open);
    return make("section", { class: "group", "aria-label": group.name },
      make("div", { class: "head" }, make("h3", {}, group.name),
        make("span", { class: "faint" }, `${counted(group.num_videos, "video")}, ${counted(group.num_frames, "labelled frame")}`)),
      make("p", { class: "faint" }, `${group.explanation}${leftOut}`),
      tiles(group), make("div", { class: "pair" }, classTable(app, group), errors), absentNote(group), this.#videoTable(group));
  }

  #videoTable(group) {
    const score = (name, key) => ({ name, title: `sort by ${name}`, value: (row) => row[key], show: (row) => percent(row[key]) });
    const open = (row) => make("button", { class: "link", title: `Open ${row.stem} in the Label view`, onclick: () => this.#openVideo(row.id) }, row.stem);
    return sortableTable("Videos", [
      { name: "video", title: "sort by name", value: (row) => row.stem, show: open },
      { name: "frames", title: "labelled frames", value: (row) => row.num_frames, show: (row) => row.num_frames.toLocaleString("en") },
      score("accuracy", "accuracy"), score("macro F1", "macro_f1"), score("edit", "edit"), score("F1@50", "f1_at_50"),
    ], group.videos);
  }

  async #openVideo(id) {
    if (this.app.video?.id !== id) await this.app.attempt(() => this.app.openVideo(id), "video");
    if (this.app.video?.id === id) this.app.show("watch");
  }
}

export function init(app) {
  app.results = new ResultsView(app);
}
