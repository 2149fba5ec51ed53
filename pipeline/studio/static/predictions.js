// The labels of models: of the open video, with tiles of their probabilities, and labelling in the background.

import * as api from "./api.js";
import { counted, make } from "./dom.js";

const MAX_TILES = 256; // of one model in memory

/** What a model says of the open video: { id, name, tracks, numLevels, hasProbabilities, tile(level, index) }. */
class ModelLabels {
  #tiles = new Map();

  constructor(app, videoId, content) {
    this.app = app;
    this.videoId = videoId;
    this.id = content.id;
    this.name = content.name;
    this.created = content.created;
    this.tracks = content.tracks;
    this.numLevels = content.num_levels;
    this.hasProbabilities = content.has_probabilities;
    this.isWhole = content.is_whole;
    this.unknown = content.unknown;
  }

  /** The bytes of a tile; null while it loads, and "predictions" tells when it is there. */
  tile(level, index) {
    const name = `${level}/${index}`;
    if (this.#tiles.has(name)) return this.#tiles.get(name);
    this.#tiles.set(name, null);
    this.#load(name);
    return null;
  }

  async #load(name) {
    try {
      const bytes = await api.getBytes(`/api/videos/${this.videoId}/predictions/${this.id}/tiles/${name}`);
      this.#tiles.set(name, new Uint8Array(bytes));
    } catch {
      setTimeout(() => this.#tiles.delete(name), 2000); // it is asked for again then
      return;
    }
    for (const oldest of this.#tiles.keys()) {
      if (this.#tiles.size <= MAX_TILES) break;
      this.#tiles.delete(oldest);
    }
    if (this.app.predictions.includes(this)) this.app.emit("predictions");
  }
}

class ModelPanel {
  #version = null;
  #asked = new Set();
  #turn = 0;

  constructor(app) {
    this.app = app;
    this.section = document.getElementById("model");
    this.state = make("p", { role: "status", "aria-live": "polite" });
    this.bar = make("progress", { "aria-label": "Frames of the video that are labelled", hidden: true });
    this.all = make("button", { id: "predict-all", onclick: () => this.start(null) });
    this.stop = make("button", { id: "predict-stop", onclick: () => this.cancel(), hidden: true }, "Stop");
    this.problems = make("ul", { class: "problems" });
    this.section.append(make("h2", {}, "Model"), this.state, this.bar, make("p", { class: "actions" }, this.all, this.stop),
      this.problems);
    app.on("video", () => this.load());
    app.on("classes", () => this.load());
    app.on("status", () => this.update());
    app.reloadPredictions = () => this.load();
  }

  /** Load what the models say of the open video, and have it labelled where the model has not done that yet. */
  async load() {
    const { app } = this, video = app.video, turn = ++this.#turn;
    if (!video) return;
    const found = await app.attempt(() => api.get(`/api/videos/${video.id}/predictions`), "predictions");
    if (!found || app.video !== video || turn !== this.#turn) return;
    app.predictions = found.models.map((content) => new ModelLabels(app, video.id, content));
    this.found = found;
    app.emit("predictions");
    this.update();
    if (!found.is_wanted || this.#asked.has(video.id)) return;
    this.#asked.add(video.id);
    await this.start([video.id]);
  }

  async start(videos) {
    if (videos === null) this.#asked.clear();
    await this.app.attempt(() => api.post("/api/predict", { videos }), "predict");
  }

  async cancel() {
    await this.app.attempt(() => api.post("/api/predict/cancel"), "predict");
  }

  update() {
    const { app } = this, work = app.status.predicting;
    if (!work) return;
    if (this.#version !== null && work.version !== this.#version) this.load();
    this.#version = work.version;
    this.stop.hidden = !work.running;
    this.all.hidden = !app.info.has_model && !work.has_model;
    this.all.textContent = work.unlabelled === 0 ? "All videos are labelled" : `Label ${counted(work.unlabelled, "more video")}`;
    this.all.disabled = work.unlabelled === 0 || work.total - work.done >= work.unlabelled;
    this.bar.hidden = !work.running || !work.num_frames;
    if (!this.bar.hidden) Object.assign(this.bar, { max: work.num_frames, value: work.frames });
    setText(this.state, this.describe(work));
    this.showProblems(work);
  }

  describe(work) {
    const { app } = this;
    if (work.loading) return "The model is loaded …";
    if (work.running && work.stem) return `Labelling ${work.stem} (${work.done + 1} of ${work.total})`;
    if (!work.has_model && !app.predictions.length)
      return app.info.is_dataset ? "There is no model yet: label some videos, then train one."
        : "The timeline shows the labels of the files. With --model, the studio also shows those of a model.";
    const [newest] = app.predictions;
    if (!newest) return app.video ? "The model has not labelled this video." : "";
    const notes = [];
    if (!newest.isWhole) notes.push("Some frames could not be decoded.");
    if (newest.unknown.length) notes.push(`This data set has no class ${newest.unknown.join(", ")}: its frames are shown without a label.`);
    return [`This video is labelled by ${app.predictions.map(({ name }) => name).join(" and ")}.`, ...notes].join(" ");
  }

  showProblems(work) {
    const texts = [...(this.found?.problems ?? []), ...(work.problem ? [work.problem] : []),
      ...work.failures.map(({ stem, message }) => `${stem}: ${message}`)];
    const key = texts.join("\n");
    if (this.problems.dataset.key === key) return;
    this.problems.dataset.key = key;
    this.problems.replaceChildren(...texts.map((text) => make("li", {}, text)));
  }
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function init(app) {
  new ModelPanel(app);
}
