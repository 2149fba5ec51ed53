// The timeline: an overview, a ruler, and a lane for each kind of labels, on one canvas.

import { make } from "./dom.js";
import { RowImage, drawLanes, drawMarks, drawSelection, namesWidth } from "./timeline_draw.js";
import { lanesOf } from "./timeline_lanes.js";
import { Pointer } from "./timeline_mouse.js";
import { MARKS, OVERVIEW, Overview, drawPlayhead, drawRuler, rulerHeight } from "./timeline_ruler.js";
import { describe, segmentTable } from "./timeline_text.js";
import { onThemeChange, themeOf } from "./timeline_theme.js";
import { View } from "./timeline_view.js";

const NAMES = 112, MOST_NAMES = 0.24, RIGHT = 12; // the widths beside the lanes: in pixels, and as a share of the stage
const MOST_OF_STAGE = 0.46, LEAST_HEIGHT = 110;
const STEP = 1.5; // of a press of + or -
const TEXT_DELAY = 200; // milliseconds until the words follow the picture

class Timeline {
  view = new View();
  left = NAMES;
  lanes = [];
  preview = []; // paints that are shown and not made yet
  guide = null; // the frame to which a boundary is being dragged
  recorded = () => []; // the paints of what is being recorded, see recording.js
  shown = { probabilities: false, uncertainty: true };
  drawn = 0; // how often it was drawn, for measurements
  #scrolled = 0;
  #height = 0; // of all lanes
  #isPending = false;
  #overview = new Overview();
  #rows = new RowImage();
  #overviewRows = new RowImage();
  #textTimer = 0;

  constructor(app) {
    this.app = app;
    this.#build();
    this.theme = themeOf(app);
    this.pointer = new Pointer(app, this);
    const changed = () => {
      this.#overview.forget();
      this.layOut();
    };
    app.on("video", () => this.#open());
    app.on("labels", changed);
    app.on("predictions", changed);
    app.on("classes", () => {
      this.theme = themeOf(app);
      changed();
    });
    app.on("selection", () => this.redraw());
    app.on("frame", (source) => this.#follow(source));
    app.on("playing", () => this.redraw());
    app.on("view", () => this.layOut());
    onThemeChange(() => {
      this.theme = themeOf(app);
      this.redraw();
    });
    new ResizeObserver(() => this.layOut()).observe(document.getElementById("stage"));
  }

  #build() {
    const toggle = (name, label) => make("button", { class: "toggle", "data-shown": name,
      "aria-pressed": String(this.shown[name]), onclick: () => this.toggle(name) }, label);
    this.toggles = make("span", { class: "toggles" },
      toggle("uncertainty", "Uncertainty"), toggle("probabilities", "Probabilities"));
    this.now = make("p", { class: "now", id: "timeline-now", "aria-live": "polite" });
    const button = (name, text, act) => make("button", { "aria-label": name, title: name, onclick: act }, text);
    const bar = make("div", { class: "bar", role: "toolbar", "aria-label": "Timeline view" }, this.now, this.toggles,
      make("span", { class: "zoom" }, button("Zoom out (-)", "−", () => this.zoom(1 / STEP)),
        button("Zoom in (+)", "+", () => this.zoom(STEP)),
        button("Whole video or selection (z)", "⤢", () => this.zoomToFit())));
    this.canvas = make("canvas", { tabindex: "0", role: "application", "aria-label": "Timeline of the labels",
      "aria-describedby": "timeline-now" });
    this.table = make("table", { class: "unseen" });
    document.getElementById("timeline").append(bar, this.canvas, make("div", { class: "unseen" }, this.table));
    this.context = this.canvas.getContext("2d", { alpha: false });
  }

  #open() {
    this.preview = [];
    this.#scrolled = 0;
    this.app.track = 0;
    this.#overview.forget();
    this.view.fit(this.app.video.num_frames);
    this.layOut();
  }

  #follow(source) {
    const { app, view } = this;
    if (!app.video) return;
    if (source !== "timeline" || app.playing) view.reveal(app.frame, app.playing);
    this.redraw();
  }

  toggle(name) {
    this.shown[name] = !this.shown[name];
    this.toggles.querySelector(`[data-shown="${name}"]`).setAttribute("aria-pressed", String(this.shown[name]));
    this.layOut();
  }

  /** Zoom around the playhead where it is visible, else around the middle. */
  zoom(factor) {
    const x = this.view.x(this.app.frame + 0.5);
    this.view.zoom(factor, x >= 0 && x <= this.view.width ? x : this.view.width / 2);
    this.redraw();
  }

  /** Show the selection; where there is none or it is shown, the whole video. */
  zoomToFit() {
    const { view, app } = this, { selection } = app;
    const before = `${view.start} ${view.scale}`;
    if (selection) view.show(selection.start, selection.stop);
    if (!selection || before === `${view.start} ${view.scale}`) view.fit();
    this.redraw();
  }

  /** Make a lane the active one, which commands change. */
  activate(lane) {
    if (lane.track === undefined || lane.track === this.app.track) return;
    this.app.track = lane.track;
    this.app.emit("track");
    const given = this.lanes.find((each) => each.kind === "given" && each.track === lane.track);
    if (given) this.#revealLane(given);
    this.redraw();
  }

  /** Make the lane before or after the active one active. */
  step(by) {
    const numTracks = this.app.labels?.tracks.length ?? 1;
    const track = Math.min(Math.max(0, this.app.track + by), numTracks - 1);
    this.activate({ track });
  }

  #revealLane(lane) {
    const room = this.#room();
    if (lane.top < this.#scrolled) this.#scrolled = lane.top - 4;
    else if (lane.top + lane.height > this.#scrolled + room) this.#scrolled = lane.top + lane.height + 4 - room;
  }

  #room() {
    return this.height - OVERVIEW - rulerHeight(this.app, this.view);
  }

  /** Where the first lane is, from the top of the canvas. */
  get lanesTop() {
    return OVERVIEW + rulerHeight(this.app, this.view) - this.#scrolled;
  }

  scroll(pixels) {
    this.#scrolled += pixels;
    this.redraw();
  }

  laneAt(y) {
    const inside = y - this.lanesTop;
    return this.lanes.find((lane) => inside >= lane.top - 1 && inside < lane.top + lane.height + 1) ?? null;
  }

  /** Find the lanes and the size again, and draw. */
  layOut() {
    const { app, canvas } = this;
    const stage = document.getElementById("stage");
    if (!app.video || !app.info.classes || !stage.clientWidth) return;
    const { lanes, height } = lanesOf(app, this.shown);
    this.lanes = lanes;
    this.#height = height;
    this.toggles.hidden = !app.predictions.some(({ hasProbabilities }) => hasProbabilities);
    const most = Math.max(LEAST_HEIGHT, Math.floor(stage.clientHeight * MOST_OF_STAGE));
    this.height = Math.min(most, OVERVIEW + rulerHeight(app, { scale: Infinity }) + height);
    this.ratio = devicePixelRatio || 1;
    const width = stage.clientWidth;
    const size = [Math.round(width * this.ratio), Math.round(this.height * this.ratio)];
    if (canvas.width !== size[0] || canvas.height !== size[1]) {
      [canvas.width, canvas.height] = size;
      canvas.style.height = `${this.height}px`;
    }
    this.left = namesWidth(this.context, lanes, NAMES, MOST_NAMES * width);
    this.view.resize(width - this.left - RIGHT);
    this.redraw();
  }

  /** Draw before the next picture of the screen. */
  redraw() {
    if (this.#isPending) return;
    this.#isPending = true;
    requestAnimationFrame(() => {
      this.#isPending = false;
      if (this.app.video && this.lanes.length) this.draw();
    });
  }

  /** Draw now. */
  draw() {
    const { app, context, view, theme, ratio, left } = this;
    const top = OVERVIEW + rulerHeight(app, view);
    this.#scrolled = Math.max(0, Math.min(this.#scrolled, this.#height - this.#room()));
    const scene = { app, context, view, theme, ratio, left, rows: this.#rows, overviewRows: this.#overviewRows,
      preview: [...this.preview, ...this.recorded()] };
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.fillStyle = theme.card;
    context.fillRect(0, 0, this.canvas.width, this.canvas.height);
    this.#overview.draw(scene, 0);
    drawRuler(scene, OVERVIEW);
    const shift = this.lanesTop;
    drawLanes(scene, this.lanes, shift, top, this.height);
    drawSelection(scene, this.lanes, shift, top, this.height);
    drawMarks(scene, top - MARKS / 2, this.height);
    drawPlayhead(scene, OVERVIEW, this.height);
    this.#drawScrollbar(top);
    this.drawn += 1;
    clearTimeout(this.#textTimer);
    this.#textTimer = setTimeout(() => this.#tell(), app.playing ? 0 : TEXT_DELAY);
  }

  #drawScrollbar(top) {
    const room = this.#room();
    if (this.#height <= room + 1) return;
    const { context, theme } = this, x = left(this) + 4;
    context.fillStyle = theme.line;
    context.beginPath();
    context.roundRect(x, top + (this.#scrolled / this.#height) * room, 5, (room / this.#height) * room, 3);
    context.fill();
  }

  #tell() {
    const { app } = this;
    if (!app.video) return;
    this.now.setAttribute("aria-live", app.playing ? "off" : "polite");
    const text = describe(app);
    if (this.now.textContent !== text) this.now.textContent = text;
    if (!app.playing && app.labels) this.table.replaceChildren(...segmentTable(app));
  }
}

function left(timeline) {
  return timeline.left + timeline.view.width;
}

export function init(app) {
  app.timeline = new Timeline(app);
}
