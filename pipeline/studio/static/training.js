// Training on the data set in the background, its curves, and what the new model says otherwise.

import * as api from "./api.js";
import { clock, make } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 460, HEIGHT = 180, LEFT = 44, RIGHT = 10, TOP = 10, BOTTOM = 24;
const STAGES = {
  prepare: "checking the videos and labels", finetune_encoder: "preparing the encoder",
  extract_features: "reading the pictures", train_labeller: "training",
  train_baseline: "training the model without memory, for comparison", evaluate_labeller: "computing the scores",
};
const LABELS_NOW = "The new model is labelling the videos now.";
const OUTCOMES = {
  done: "The training is done.",
  same: "Nothing has changed since the last training: the model is the same.",
  failed: "The training failed: the last lines say why.",
  cancelled: "The training was cancelled. The next start resumes after its last finished epoch.",
};

class TrainingView {
  #wasRunning = false;
  #changesVersion = null;
  #drawn = "";

  constructor(app) {
    this.app = app;
    this.notes = make("ul", { class: "notes" });
    this.problem = make("p", { class: "problem", id: "training-problem" });
    this.start = make("button", { class: "main", id: "training-start", "aria-describedby": "training-problem",
      onclick: () => this.post("/api/training") }, "Train");
    this.cancel = make("button", { id: "training-cancel", onclick: () => this.post("/api/training/cancel") }, "Cancel");
    this.tracker = make("button", { id: "training-mlflow", onclick: () => this.openTracker() }, "Open the run in MLflow");
    this.command = make("code", {});
    this.copy = make("button", { class: "quiet", onclick: () => this.copyCommand() }, "Copy");
    this.state = make("p", { id: "training-state", role: "status", "aria-live": "polite" });
    this.bar = make("progress", { "aria-label": "Epochs" });
    this.curves = make("div", { class: "curves" });
    this.log = make("pre", { tabindex: "0", "aria-label": "The last lines of the training" });
    this.changes = make("div", { id: "training-changes" });
    this.shell = make("details", {}, make("summary", {}, "The same in a shell"),
      make("p", { class: "command" }, this.command, this.copy));
    document.getElementById("view-train").append(make("div", { class: "page" },
      make("h2", {}, "Train on this data set"), this.notes, this.problem,
      make("p", { class: "actions" }, this.start, this.cancel, this.tracker), this.shell, this.state, this.bar, this.curves,
      make("details", { class: "log" }, make("summary", {}, "Last lines"), this.log),
      make("p", { class: "faint" }, "The training ends when the studio ends; the next start resumes after its last",
        " finished epoch."), this.changes));
    app.on("status", () => this.update());
    app.on("view", () => app.view === "train" && this.load());
  }

  async load() {
    const answer = await this.app.attempt(() => api.get("/api/training"), "training");
    if (!answer) return;
    this.take(answer);
    await this.loadChanges();
  }

  async post(path) {
    const answer = await this.app.attempt(() => api.post(path), "training");
    if (answer) this.take(answer);
  }

  take(answer) {
    this.answer = answer;
    this.notes.replaceChildren(...answer.notes.map((note) => make("li", {}, note)));
    this.problem.textContent = answer.problem ?? "";
    this.command.textContent = answer.command;
    this.shell.hidden = !answer.command;
    this.log.textContent = answer.log.join("\n");
    this.log.scrollTop = this.log.scrollHeight;
    this.show(answer);
  }

  async update() {
    const { app } = this, status = app.status.training;
    if (!status) return;
    if (this.#wasRunning && !status.running) {
      const failed = status.outcome === "failed";
      const text = status.outcome === "done" ? `${OUTCOMES.done} ${LABELS_NOW}` : OUTCOMES[status.outcome] ?? "";
      const show = ["Show", () => { app.show("train"); app.dropNotice("training-end"); }];
      app.notice("training-end", text, { error: failed, actions: app.view === "train" ? [] : [show] });
      app.info.has_model ||= ["done", "same"].includes(status.outcome);
    }
    const isNews = status.running || this.#wasRunning;
    this.#wasRunning = status.running;
    if (app.view !== "train") return;
    if (isNews || !this.answer) await this.load();
    else this.show({ ...this.answer, ...status });
    if (app.status.predicting?.version !== this.#changesVersion) await this.loadChanges();
  }

  show(status) {
    this.start.disabled = Boolean(status.problem) || status.running;
    this.start.textContent = status.resumes && !status.running ? "Resume the training" : "Train";
    this.cancel.hidden = !status.running;
    this.cancel.disabled = status.cancelling;
    this.tracker.hidden = !status.run_id;
    const labels = status.outcome === "done" && this.app.status.predicting?.running;
    setText(this.state, `${describe(status)}${labels ? ` ${LABELS_NOW}` : ""}`);
    this.bar.hidden = !status.running;
    if (status.stage === "train_labeller" && status.num_epochs)
      Object.assign(this.bar, { max: status.num_epochs, value: status.epochs.length });
    else this.bar.removeAttribute("value");
    const key = JSON.stringify([status.epochs, status.running]);
    if (key === this.#drawn) return;
    this.#drawn = key;
    this.curves.replaceChildren(...charts(status));
  }

  async copyCommand() {
    await this.app.attempt(() => navigator.clipboard.writeText(this.command.textContent), "copy");
    this.copy.textContent = "Copied";
    setTimeout(() => (this.copy.textContent = "Copy"), 2000);
  }

  /** Start the pages of MLflow, and open the run as soon as they answer. */
  async openTracker() {
    const opened = window.open("", "_blank"); // now, while the click allows it
    this.tracker.disabled = true;
    this.tracker.textContent = "MLflow starts …";
    let answer = null;
    for (let turn = 0; turn < 60; turn++) {
      answer = await this.app.attempt(() => api.post("/api/training/mlflow"), "mlflow");
      if (!answer || answer.answers) break;
      await new Promise((resolve) => setTimeout(resolve, 1000));
    }
    this.tracker.disabled = false;
    this.tracker.textContent = "Open the run in MLflow";
    if (answer?.answers && opened) opened.location = answer.address;
    else if (answer?.answers) this.app.notice("mlflow", `MLflow is at ${answer.address}`);
    else opened?.close();
  }

  async loadChanges() {
    this.#changesVersion = this.app.status.predicting?.version ?? null;
    const answer = await this.app.attempt(() => api.get("/api/training/changes"), "changes");
    if (answer) this.changes.replaceChildren(...this.changeTable(answer));
  }

  changeTable({ new: newest, old, videos, is_awaited: isAwaited }) {
    if (isAwaited) return [make("h2", {}, "What changed"), make("p", {}, "This comes when the new model has labelled videos.")];
    if (!newest) return [];
    const title = make("h2", {}, `What changed from ${old} to ${newest}`);
    if (!videos.length) return [title, make("p", {}, "No video is labelled by both yet.")];
    const rows = [...videos].sort((a, b) => b.differs - a.differs).map((video) =>
      make("tr", {}, make("th", { scope: "row" }, this.videoButton(video)), make("td", {}, percent(video.differs)),
        make("td", {}, percent(video.old_accuracy)), make("td", {}, percent(video.new_accuracy))));
    const head = ["Video", "Frames that differ", `Right: ${old}`, `Right: ${newest}`].map((name) => make("th", { scope: "col" }, name));
    return [title, make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...rows)),
      make("p", { class: "faint" }, "Right: the share of the frames with a given label. A model was trained on most of",
        " these labels, so this is no measure for other videos.")];
  }

  videoButton({ id, stem, first }) {
    const { app } = this;
    const open = () => app.attempt(async () => {
      await app.openVideo(id, { frame: first ?? 0 });
      app.show("watch");
    });
    return make("button", { class: "link", onclick: open, title: "Open at the first difference" }, stem);
  }
}

function describe({ running, cancelling, outcome, stage, stage_number: number, num_stages: total, epochs, num_epochs: all,
  seconds_left: left, seconds }) {
  if (!running) return outcome ? OUTCOMES[outcome] : "";
  if (cancelling) return "The training is cancelled …";
  if (!stage) return "The training starts …";
  const name = `Step ${number} of ${total}: ${STAGES[stage] ?? stage}`;
  const progress = stage === "train_labeller" && epochs.length ? `, epoch ${epochs.length} of ${all}` : "";
  const rest = left === null ? `, for ${clock(seconds)} so far` : `, some ${clock(left)} left in this step`;
  return `${name}${progress}${rest}`;
}

function percent(share) {
  return share === null ? "–" : `${(100 * share).toFixed(1)} %`;
}

function charts({ epochs, monitor, monitor_title: title, num_epochs: all, running, outcome }) {
  if (!epochs.length) return [];
  const shown = [chart("Loss: how wrong the model still is", epochs,
    [["train_loss", "training videos"], ["val_loss", "held-back videos"]], all)];
  const score = `val_${monitor}`;
  if (monitor !== "loss" && score in epochs.at(-1))
    shown.push(chart(`Score on the held-back videos (${title})`, epochs, [[score, "best"]], all, { isBest: true }));
  if (!running && outcome === "done" && epochs.length < all)
    shown.push(make("p", { class: "faint" }, `The training stopped after epoch ${epochs.length} of at most ${all}, as the`,
      " model did not get better any more. The best epoch is kept."));
  return shown;
}

function chart(title, epochs, lines, all, { isBest = false } = {}) {
  const shown = lines.filter(([name]) => name in epochs.at(-1));
  const values = shown.flatMap(([name]) => epochs.map((scores) => scores[name])).filter(Number.isFinite);
  const high = Math.max(...values, 1e-9), low = Math.min(0, ...values);
  const x = (epoch) => LEFT + (epoch / Math.max(1, (all ?? epochs.length) - 1)) * (WIDTH - LEFT - RIGHT);
  const y = (value) => TOP + (1 - (value - low) / (high - low)) * (HEIGHT - TOP - BOTTOM);
  const svg = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${title} of each epoch` });
  for (const value of [low, (low + high) / 2, high]) {
    svg.append(draw("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }));
    svg.append(label(LEFT - 5, y(value) + 4, Number(value.toPrecision(2)).toString(), "end"));
  }
  svg.append(label(LEFT, HEIGHT - 6, "epoch 1", "start"), label(WIDTH - RIGHT, HEIGHT - 6, String(all ?? epochs.length), "end"));
  for (const [index, [name]] of shown.entries()) {
    const points = epochs.map((scores, epoch) => [x(epoch), y(scores[name])]).filter(([, at]) => Number.isFinite(at));
    svg.append(draw("polyline", { class: `line line-${index}`, points: points.map((point) => point.join(",")).join(" ") }));
    const [endX, endY] = points.at(-1) ?? [0, 0];
    svg.append(draw("circle", { class: `dot line-${index}`, cx: endX, cy: endY, r: 3 }));
  }
  const valueOf = (name) => (isBest ? Math.max(...epochs.map((scores) => scores[name] ?? -Infinity)) : epochs.at(-1)[name]);
  const names = shown.map(([name, text], index) => make("span", { class: `key line-${index}` },
    `${text}: ${valueOf(name).toPrecision(3)}`));
  return make("figure", {}, make("figcaption", {}, make("strong", {}, title), " ", ...names), svg);
}

function draw(tag, attributes) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

function label(x, y, text, anchor) {
  const element = draw("text", { x, y, "text-anchor": anchor });
  element.textContent = text;
  return element;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function init(app) {
  new TrainingView(app);
}
