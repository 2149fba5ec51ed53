// The next best minute: the stretches that are most worth a look, one after the other.

import * as api from "./api.js";
import { hint } from "./changes.js";
import { make } from "./dom.js";
import { playPause } from "./player.js";
import { segmentsIn } from "./tracks.js";

let panel = null;

class QueuePanel {
  items = [];
  index = -1;
  #model = null;
  #version = null; // of the labels of models
  #before = ""; // the given labels of the stretch when it was shown
  #isLooping = false;
  #isBusy = false;
  #accepted = new Map(); // by the keys of stretches: the given labels before the model's were accepted

  constructor(app) {
    this.app = app;
    this.section = document.getElementById("queue");
    this.progress = make("progress", { "aria-label": "Stretches that are done", max: 1, value: 0 });
    this.left = make("p", { class: "left", role: "status" });
    this.why = make("div", { class: "why", "aria-live": "polite" });
    this.loop = make("input", { type: "checkbox", onchange: (event) => this.setLooping(event.target.checked) });
    const button = (name, key, act, title, kind = "") =>
      make("button", { onclick: act, title, class: kind, "aria-keyshortcuts": key },
        make("span", {}, name), " ", make("kbd", {}, keyText(key)));
    this.acceptButton = button("Accept", "Enter", () => this.accept(),
      "The model is right: its labels become the given ones", "main");
    this.keepButton = button("My label is right", "Control+Shift+Enter", () => this.keep(),
      "The given label stays, and is not doubted again");
    this.skipButton = button("Skip", "Shift+Enter", () => this.skip(), "Do not show it again before the next model");
    this.reopen = make("button", { onclick: () => this.judge("open"), title: "Take back what was decided" }, "Decide again");
    this.actions = make("div", { class: "actions" }, this.acceptButton, this.keepButton,
      button("Correct", "Control+Enter", () => this.correct(), "Select the stretch in the timeline, then give it a class"),
      this.skipButton, this.reopen,
      button("Previous", "PageUp", () => this.step(-1), "The previous stretch"),
      button("Next", "PageDown", () => this.step(1), "The next stretch"),
      make("label", {}, this.loop, "play it again and again"));
    this.again = make("button", { class: "quiet", onclick: () => this.load({ anew: true }) }, "Look again");
    this.section.append(make("h2", {}, "The next best minute"), this.progress, this.left, this.why, this.actions, this.again);
    app.on("predictions", () => this.modelChanged());
    app.on("status", () => this.fill());
    app.on("labels", () => this.reopenUndone());
    app.on("classes", () => !this.items.length && this.load());
    app.on("frame", (source) => this.keepLooping(source));
    this.show();
  }

  /** The first queue of a model is made when its labels are there; it then stays as it is. */
  modelChanged() {
    const newest = this.app.predictions[0]?.id;
    if (newest && newest !== this.#model) {
      this.#model = newest;
      this.load();
    }
  }

  /** An empty queue is looked for again whenever another video is labelled. */
  fill() {
    const version = this.app.status.predicting?.version;
    if (version === this.#version) return;
    const isFirst = this.#version === null;
    this.#version = version;
    if (!isFirst && this.#model && !this.items.length) this.load();
  }

  async load({ anew = false } = {}) {
    this.left.textContent = "Looking for what is most worth a look …";
    const answer = await this.app.attempt(() => api.get(`/api/queue${anew ? "?anew" : ""}`), "queue");
    if (!answer) return;
    this.take(answer);
    this.index = this.items.findIndex(({ verdict }) => verdict === null);
    this.show();
  }

  take(answer) {
    this.items = answer.items;
    this.answer = answer;
  }

  get item() {
    return this.items[this.index] ?? null;
  }

  /** Whether nothing was decided of the current stretch. */
  get isOpen() {
    return this.item?.verdict === null;
  }

  show() {
    const { item, answer } = this;
    this.actions.hidden = !item;
    this.again.hidden = !answer?.model;
    this.progress.hidden = !this.items.length;
    if (this.items.length) Object.assign(this.progress, { max: answer.total, value: answer.done });
    this.left.textContent = this.describeProgress();
    this.why.replaceChildren(...(item ? this.describe(item) : []));
    for (const action of this.actions.querySelectorAll("button")) action.disabled = this.#isBusy;
    for (const action of [this.acceptButton, this.keepButton, this.skipButton]) action.disabled ||= !this.isOpen;
    this.keepButton.hidden = item?.why !== "disagrees";
    this.reopen.hidden = !item?.verdict;
    this.app.stretch = this.isOpen ? item : null;
    this.app.timeline.redraw();
  }

  describeProgress() {
    const { answer } = this;
    if (!answer?.model) return `When a model has labelled a video, the stretches that are most worth a look are here${
      this.app.info.is_dataset ? "" : ": start the studio with --model"}.`;
    if (answer.problem) return answer.problem;
    if (!answer.total) return "Nothing is worth a look: the model is sure, and agrees with the given labels.";
    const rest = answer.total - answer.done;
    if (!rest) return `All ${answer.total} stretches are done.`;
    const minutes = Math.max(1, Math.round(answer.minutes_left));
    return `${answer.done} of ${answer.total} stretches, some ${minutes} ${minutes === 1 ? "minute" : "minutes"} left`;
  }

  describe(item) {
    const where = make("button", { class: "where", onclick: () => this.go(), title: "Go to this stretch" },
      `${this.index + 1}. ${item.stem}, frames ${item.start} to ${item.stop - 1}`);
    const verdict = item.verdict ? make("span", { class: "verdict" }, item.verdict) : null;
    const kind = make("span", { class: `kind ${item.why}` }, item.why === "uncertain" ? "uncertain" : "contradicts a label");
    const lines = item.doubts.map((doubt) => make("li", {}, this.claim(item, doubt)));
    return [make("p", {}, kind, " ", verdict), where, make("ul", {}, ...lines)];
  }

  /** What the model and the label say, in words. */
  claim({ start, stop }, { label, given, class_index: classIndex, probability, frames }) {
    const { classes } = this.app.info, part = frames < stop - start ? ` (${frames} of ${stop - start} frames)` : "";
    const percent = `${Math.round(100 * probability)} %`;
    if (classIndex === null) {
      const name = classes[label]?.name;
      return given === null ? `The model says ${name}, with a probability of ${percent}${part}.`
        : `The given label is ${classes[given]?.name}, the model says ${name} (${percent})${part}.`;
    }
    const name = classes[classIndex]?.name, says = label ? "is there" : "is not there";
    return given === null ? `The model says that ${name} ${says}, with a probability of ${percent} for ${name}${part}.`
      : `The given label says that ${name} ${given ? "is there" : "is not there"}, the model that it ${says} (${percent})${part}.`;
  }

  /** Open the video of the current stretch at its start, with the stretch in the timeline. */
  async go() {
    const { app, item } = this;
    if (!item) return;
    if (app.view !== "watch") app.show("watch");
    if (app.video?.id !== item.video) await app.attempt(() => app.openVideo(item.video, { frame: item.start }));
    if (app.video?.id !== item.video) return;
    app.setFrame(item.start, "queue");
    const length = item.stop - item.start;
    app.timeline.activate({ track: item.doubts[0].class_index ?? 0 });
    app.timeline.view.show(item.start - length, item.stop + length);
    app.timeline.redraw();
    await until(() => app.labels && app.video?.id === item.video);
    this.#before = this.given();
  }

  given(item = this.item) {
    const { app } = this;
    if (!item || !app.labels || app.video?.id !== item.video) return "";
    return JSON.stringify(app.labels.tracks.map((track) => segmentsIn(track, item.start, item.stop)
      .map(({ start, stop, value }) => [Math.max(start, item.start), Math.min(stop, item.stop), value])));
  }

  /** Go on to another stretch; where labels in this one were changed, it counts as corrected. */
  async step(direction) {
    if (this.#isBusy) return;
    const { item } = this;
    if (item && item.verdict === null && this.#before && this.given() && this.given() !== this.#before)
      if (!(await this.judge("corrected"))) return;
    this.#before = "";
    const next = this.index + direction;
    if (next >= 0 && next < this.items.length) this.index = next;
    this.show();
    await this.go();
  }

  async judge(verdict, item = this.item) {
    this.#isBusy = true;
    this.show();
    const answer = await this.app.attempt(() => api.post("/api/queue", { key: item.key, verdict }), "queue");
    this.#isBusy = false;
    if (answer) this.take(answer);
    this.show();
    return Boolean(answer);
  }

  async accept() {
    const { app, item } = this;
    if (!this.isOpen || this.#isBusy) return;
    if (app.video?.id !== item.video) return this.go(); // nothing is accepted unseen
    const model = app.predictions.find(({ id }) => id === this.answer.model);
    if (!model || !app.labels) return hint(app, "The labels of the model are not there yet.");
    const tracks = app.info.exclusive ? [0] : item.doubts.map((doubt) => doubt.class_index);
    const paints = tracks.flatMap((track) => segmentsIn(model.tracks[track], item.start, item.stop)
      .filter(({ value }) => value !== null)
      .map(({ start, stop, value }) => [track, Math.max(start, item.start), Math.min(stop, item.stop), value]));
    if (!paints.length) return hint(app, "The model has no label here.");
    paints.sort((a, b) => a[3] - b[3]); // what is present stands, whatever else of its group is absent
    const before = this.given();
    if (!app.labels.edit("accept the model's labels", { paints })) return;
    if (!(await this.judge("accepted"))) return;
    if (this.given(item) !== before) this.#accepted.set(item.key, before);
    await this.forward();
  }

  /** Where what was accepted is undone, the stretch is open again. */
  async reopenUndone() {
    for (const [key, before] of this.#accepted) {
      const item = this.items.find((each) => each.key === key);
      if (item && this.given(item) !== before) continue;
      this.#accepted.delete(key);
      if (item?.verdict === "accepted") await this.judge("open", item);
    }
  }

  async keep() {
    if (this.item?.why === "disagrees") await this.decide("kept");
  }

  async skip() {
    await this.decide("skipped");
  }

  async decide(verdict) {
    if (this.isOpen && !this.#isBusy && (await this.judge(verdict))) await this.forward();
  }

  async forward() {
    this.#before = "";
    const after = this.items.findIndex(({ verdict }, index) => verdict === null && index > this.index);
    const next = after >= 0 ? after : this.items.findIndex(({ verdict }) => verdict === null);
    if (next >= 0) this.index = next;
    this.show();
    if (next >= 0) await this.go();
  }

  async correct() {
    const { app, item } = this;
    if (!item) return;
    await this.go();
    app.select({ track: app.info.exclusive ? 0 : item.doubts[0].class_index, start: item.start, stop: item.stop });
    hint(app, "Give the selection a class by its key, or drag its boundaries; then go on to the next stretch.");
  }

  setLooping(isLooping) {
    this.#isLooping = isLooping;
    this.loop.checked = isLooping;
    if (isLooping && this.item && !this.app.playing) {
      this.app.setFrame(this.item.start, "queue");
      playPause(this.app);
    }
  }

  keepLooping(source) {
    const { app, item } = this;
    if (!this.#isLooping || !item || source !== "player" || !app.playing || app.video?.id !== item.video) return;
    if (app.frame >= item.stop) app.setFrame(item.start, "queue");
  }

  toggleLoop() {
    this.setLooping(!this.#isLooping);
  }
}

function keyText(key) {
  return { Enter: "↵", "Control+Enter": "Ctrl+↵", "Shift+Enter": "⇧↵", "Control+Shift+Enter": "Ctrl+⇧↵", PageUp: "PgUp",
    PageDown: "PgDn" }[key];
}

async function until(isReached) {
  for (let turn = 0; turn < 100 && !isReached(); turn++) await new Promise((resolve) => setTimeout(resolve, 30));
}

/** The commands of the queue, for the keyboard and its sheet. */
export const commands = [
  { id: "queue-accept", name: "Accept what the model says", keys: ["Enter"], run: () => panel?.accept() },
  { id: "queue-correct", name: "Select the stretch to correct it", keys: ["Ctrl+Enter"], run: () => panel?.correct() },
  { id: "queue-keep", name: "Keep the given label, as it is right", keys: ["Ctrl+Shift+Enter"], run: () => panel?.keep() },
  { id: "queue-skip", name: "Skip the stretch", keys: ["Shift+Enter"], run: () => panel?.skip() },
  { id: "queue-next", name: "The next stretch", keys: ["PageDown"], run: () => panel?.step(1) },
  { id: "queue-previous", name: "The previous stretch", keys: ["PageUp"], run: () => panel?.step(-1) },
  { id: "queue-loop", name: "Play the stretch again and again", keys: ["Shift+ "], run: () => panel?.toggleLoop() },
];

export function init(app) {
  panel = new QueuePanel(app);
}
