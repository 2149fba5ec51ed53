// The list of videos.

import * as api from "./api.js";
import { clock, counted, make } from "./dom.js";

const names = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
const STATES = ["problem", "unlabelled", "partly", "done", "reading"];
const ORDERS = {
  name: ["Name", () => 0],
  state: ["State", (a, b) => STATES.indexOf(a.state) - STATES.indexOf(b.state)],
  seconds: ["Length", (a, b) => (b.seconds ?? -1) - (a.seconds ?? -1)],
  labelled: ["Labelled share", (a, b) => a.labelled - b.labelled],
};

/** What a video is whose frames all have a label: nobody has done anything where files are only looked at. */
function doneText(app) {
  return app.info.is_dataset ? "done" : "labelled";
}

function stateText(app, row) {
  if (row.has_conflict) return "changed elsewhere: choose a version";
  const share = `${Math.min(99, Math.max(1, Math.round(row.labelled * 100)))}% labelled`;
  const texts = { reading: "being read…", partly: share, problem: "has a problem", done: doneText(app) };
  return texts[row.state] ?? row.state;
}

function stateSign(row) {
  const sign = make("span", { class: `sign ${row.has_conflict ? "conflict" : row.state}`, "aria-hidden": "true" });
  sign.textContent = row.has_conflict ? "⇄" : { done: "✓", problem: "!", reading: "…" }[row.state] ?? "";
  if (row.state !== "partly") return sign;
  const bar = make("span", { class: "share" });
  bar.style.width = `${Math.min(94, Math.max(8, row.labelled * 100))}%`;
  sign.append(bar);
  return sign;
}

class VideoList {
  #rows = [];
  #options = new Map(); // by id: { key, element }
  #version = null;
  #isFetching = false;
  #wanted = null;
  #active = null; // the id of the row that the keyboard is at

  constructor(app) {
    this.app = app;
    this.search = make("input", { type: "search", placeholder: "Search", "aria-label": "Search the videos",
      oninput: () => this.#show() });
    this.order = make("select", { "aria-label": "Sort by", onchange: () => this.#show() },
      ...Object.entries(ORDERS).map(([value, [name]]) => make("option", { value }, name)));
    this.count = make("p", { class: "counts", role: "status" });
    this.list = make("ul", { role: "listbox", tabindex: "0", "aria-label": "Videos",
      onkeydown: (event) => this.#key(event), onclick: (event) => this.#click(event) });
    this.none = make("p", { class: "none", hidden: true }, "No video has this in its name.");
    document.getElementById("videos").append(make("h2", {}, "Videos"),
      make("div", { class: "find" }, this.search, this.order), this.count, this.list, this.none);
    this.search.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") this.list.focus();
      else if (event.key === "Enter" && this.#visible().length) this.#choose(this.#visible()[0].id);
      else return;
      event.preventDefault();
    });
    app.on("status", () => app.status.list_version !== this.#version && this.fetch());
    app.on("video", () => this.#mark());
    addEventListener("hashchange", () => this.#followAddress());
    this.fetch();
  }

  /** Get the list anew. */
  async fetch() {
    if (this.#isFetching) return;
    this.#isFetching = true;
    const answer = await this.app.attempt(() => api.get("/api/videos"), "videos");
    this.#isFetching = false;
    if (!answer) return;
    const isFirst = this.#version === null;
    this.#version = answer.version;
    this.#rows = answer.videos;
    this.#show();
    this.app.emit("videos", answer.videos);
    if (isFirst) this.#openFirst();
  }

  /** Open a video; of several that are asked for in quick succession, the last one. */
  async open(id) {
    this.#wanted = id;
    if (this.app.video?.id === id) return;
    await this.app.attempt(() => this.app.openVideo(id), "video");
  }

  /** Open the video that the user has chosen; the keys are the timeline's from then on. */
  #choose(id) {
    this.#activate(id);
    this.app.timeline.canvas.focus({ preventScroll: true });
    this.open(id);
  }

  /** Open the next video of the list, or the previous one. */
  step(by) {
    const rows = this.#visible(), at = rows.findIndex(({ id }) => id === this.app.video.id);
    const row = rows[Math.min(Math.max(0, at + by), rows.length - 1)];
    if (row) this.#choose(row.id);
  }

  #openFirst() {
    const asked = location.hash.slice(1);
    const row = this.#rows.find(({ id }) => id === asked) ??
      this.#visible().find(({ state }) => state !== "problem") ?? this.#rows[0];
    if (row) this.open(row.id);
  }

  #followAddress() {
    const id = location.hash.slice(1);
    const isOther = id !== this.app.video?.id && id !== this.#wanted;
    if (isOther && this.#rows.some((row) => row.id === id)) this.open(id);
  }

  #visible() {
    const words = this.search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
    const found = this.#rows.filter(({ file }) => words.every((word) => file.toLowerCase().includes(word)));
    const [, compare] = ORDERS[this.order.value];
    return found.sort((a, b) => compare(a, b) || names.compare(a.stem, b.stem));
  }

  #show() {
    const rows = this.#visible();
    const options = rows.map((row) => this.#option(row));
    const shown = this.list.children;
    const isSame = shown.length === options.length && options.every((option, index) => option === shown[index]);
    if (!isSame) this.list.replaceChildren(...options);
    const done = this.#rows.filter(({ state }) => state === "done").length;
    const found = rows.length === this.#rows.length ? "" : ` · ${counted(rows.length, "match", "matches")}`;
    const text = `${done.toLocaleString("en")} of ${counted(this.#rows.length, "video")} ${doneText(this.app)}${found}`;
    if (this.count.textContent !== text) this.count.textContent = text;
    this.none.hidden = rows.length > 0;
    this.#mark();
  }

  #option(row) {
    const key = JSON.stringify(row), kept = this.#options.get(row.id);
    if (kept?.key === key) return kept.element;
    const problems = row.problems.join(" ");
    const text = stateText(this.app, row), time = row.seconds === null ? "" : clock(row.seconds);
    const title = problems ? `${row.file}: ${problems}` : row.file;
    const element = make("li", { role: "option", id: `video-${row.id}`, "data-id": row.id, title,
      "aria-selected": "false",
      "aria-label": [row.file, time, text, problems].filter(Boolean).join(", ") },
      stateSign(row),
      make("span", { class: "name" }, row.stem),
      make("span", { class: "time" }, time),
      problems ? make("span", { class: "problems" }, problems) : make("span", { class: "state" }, text));
    this.#options.set(row.id, { key, element });
    return element;
  }

  #mark() {
    const open = this.app.video?.id;
    for (const option of this.list.querySelectorAll('[aria-selected="true"]'))
      if (option.dataset.id !== open) option.setAttribute("aria-selected", "false");
    const option = open && document.getElementById(`video-${open}`);
    if (option && option.getAttribute("aria-selected") !== "true") {
      option.setAttribute("aria-selected", "true");
      option.scrollIntoView({ block: "nearest" });
      this.#activate(open);
    }
  }

  #activate(id) {
    this.list.querySelector(".active")?.classList.remove("active");
    const option = document.getElementById(`video-${id}`);
    this.#active = id;
    if (!option) return;
    option.classList.add("active");
    this.list.setAttribute("aria-activedescendant", option.id);
    option.scrollIntoView({ block: "nearest" });
  }

  #key(event) {
    const options = [...this.list.children];
    const at = options.findIndex(({ dataset }) => dataset.id === this.#active);
    const last = options.length - 1;
    const places = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: last, PageDown: at + 10, PageUp: at - 10 };
    const to = places[event.key];
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (to !== undefined && options.length) this.#activate(options[Math.min(Math.max(0, to), last)].dataset.id);
    else if (event.key === "Enter" && at >= 0) this.#choose(this.#active);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #click(event) {
    const option = event.target.closest("[role=option]");
    if (!option) return;
    this.#choose(option.dataset.id);
  }
}

export function init(app) {
  app.videoList = new VideoList(app);
}
