// The export: labels as files for other programs.

import * as api from "./api.js";
import { counted, make } from "./dom.js";

function size(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** The form of the export. */
export class ExportForm {
  #formats = [];

  constructor(app, section) {
    this.app = app;
    this.format = make("select", { id: "export-format", onchange: () => this.#explain() });
    this.source = make("select", { id: "export-source" });
    this.videos = make("select", { id: "export-videos" }, make("option", { value: "all" }, "all that have labels"), make("option", { value: "open" }, "the open one"));
    this.about = make("p", { class: "faint" });
    this.start = make("button", { class: "main", type: "submit" }, "Export");
    this.answer = make("div", { role: "status", "aria-live": "polite" });
    const field = (name, select) => make("label", {}, make("span", {}, name), select);
    section.append(make("h2", {}, "Export"), make("form", { onsubmit: (event) => this.#export(event) },
      field("Format", this.format), field("Labels", this.source), field("Videos", this.videos), this.start), this.about, this.answer);
  }

  /** Offer the formats, and the sources [{ id, name }]. */
  async offer(sources) {
    const chosen = this.source.value;
    this.source.replaceChildren(...sources.map(({ id, name }) => make("option", { value: id }, name)));
    if (sources.some(({ id }) => id === chosen)) this.source.value = chosen;
    if (this.#formats.length) return;
    const answer = await this.app.attempt(() => api.get("/api/export/formats"), "export");
    this.#formats = answer?.formats ?? [];
    this.format.replaceChildren(...this.#formats.map(({ name, title }) => make("option", { value: name }, title)));
    this.#explain();
  }

  #explain() {
    const format = this.#formats.find(({ name }) => name === this.format.value);
    if (!format) return;
    this.about.textContent = format.one_file ? "One file has all videos."
      : "Each video has a file of its own; several come as one zip.";
  }

  async #export(event) {
    event.preventDefault();
    const videos = this.videos.value === "all" ? null : [this.app.video?.id].filter(Boolean);
    this.start.disabled = true;
    this.answer.replaceChildren(make("p", { class: "faint" }, "The labels are being written…"));
    const body = { format: this.format.value, source: this.source.value, videos };
    const made = await this.app.attempt(() => api.post("/api/export", body), "export");
    this.start.disabled = false;
    if (!made) return this.answer.replaceChildren();
    const link = make("a", { href: `/api/export/${made.id}`, download: made.name, class: "download" }, `Save ${made.name}`);
    const lines = (title, texts) => (texts.length ? [make("p", {}, title), make("ul", {}, ...texts.map((text) => make("li", {}, text)))] : []);
    this.answer.replaceChildren(make("p", {}, link, ` ${counted(made.num_videos, "video")}, ${size(made.bytes)}`),
      ...lines("The format has no room for:", made.losses), ...lines("Not exported:", made.failures));
    link.click();
  }
}
