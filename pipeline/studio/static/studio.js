// The studio's page: the state that all parts share, and the parts.

import * as api from "./api.js";
import { make } from "./dom.js";
import * as annotate from "./annotate.js";
import * as keys from "./keys.js";
import * as labels from "./labels.js";
import * as marks from "./marks.js";
import * as player from "./player.js";
import * as predictions from "./predictions.js";
import * as queue from "./queue.js";
import * as results from "./results.js";
import * as timeline from "./timeline.js";
import * as training from "./training.js";
import * as videos from "./videos.js";

const NOTICE_SECONDS = 6;

/**
 * What all parts share. A part reads `app` and changes it by its methods, which tell the others by an event:
 *   "video"        another video is open: app.video, app.times
 *   "frame"        app.frame is another one; detail: who changed it ("player", "timeline", ...)
 *   "playing"      app.playing
 *   "labels"       app.labels (a LabelMirror of labels.js) has changed, or is of another video
 *   "selection"    app.selection: null or { track, start, stop }
 *   "track"        app.track: the lane that commands change; 0 where classes exclude each other
 *   "classes"      app.info has other classes or keys
 *   "recording"    what app.recorder records has changed
 *   "predictions"  app.predictions has changed, see predictions.js
 *   "status"       app.status: the answer to the latest GET /api/status
 *   "view"         app.view: "watch", "train" or "results"
 */
class App extends EventTarget {
  info = null; // GET /api/studio
  video = null; // GET /api/videos/{id}
  times = null; // Float64Array [T + 1]: when each frame starts, in seconds, and when the last one ends
  frame = 0;
  playing = false;
  labels = null;
  selection = null;
  track = 0;
  predictions = [];
  stretch = null; // what the queue is at: { video, start, stop, ... }
  status = {};
  view = "watch";
  #turn = 0;

  on(name, listener) {
    this.addEventListener(name, (event) => listener(event.detail));
  }

  emit(name, detail = null) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }

  async openVideo(id, { frame = 0 } = {}) {
    const turn = ++this.#turn;
    const [video, bytes] = await Promise.all([api.get(`/api/videos/${id}`), api.getBytes(`/api/videos/${id}/times`)]);
    if (turn !== this.#turn) return; // another one was asked for meanwhile
    this.video = video;
    this.times = new Float64Array(bytes);
    this.frame = Math.min(Math.max(0, frame), video.num_frames - 1);
    this.selection = null;
    this.labels = null;
    this.predictions = [];
    location.hash = id;
    this.emit("video");
    this.emit("frame", "video");
  }

  setFrame(frame, source) {
    if (!this.video) return;
    const bounded = Math.min(Math.max(0, Math.round(frame)), this.video.num_frames - 1);
    if (bounded === this.frame && source === "player") return;
    this.frame = bounded;
    this.emit("frame", source);
  }

  /** Take another answer of GET /api/studio, whose classes are those so far and new ones. */
  takeClasses(info) {
    this.info = info;
    this.labels?.addTracks();
    this.predictions = []; // they are of the classes so far, and are loaded anew
    this.emit("classes");
  }

  setPlaying(playing) {
    this.playing = playing;
    this.emit("playing");
  }

  select(selection) {
    this.selection = selection;
    this.emit("selection");
  }

  /** The frame that is shown at a time in seconds, on the clock of `times`. */
  frameAt(seconds) {
    let low = 0, high = this.video.num_frames - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.times[middle] <= seconds + 1e-6) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  show(view) {
    this.view = view;
    for (const name of ["watch", "train", "results"]) {
      const tab = document.getElementById(`tab-${name}`);
      document.getElementById(`view-${name}`).hidden = name !== view;
      tab.setAttribute("aria-selected", String(name === view));
      tab.tabIndex = name === view ? 0 : -1;
    }
    this.emit("view");
  }

  /**
   * Tell the user something; a notice with the same key replaces the earlier one. An error, and what offers actions,
   * stays until it is closed; other words go after some seconds, or with the next command.
   */
  notice(key, text, { error = false, actions = [] } = {}) {
    this.dropNotice(key);
    const buttons = actions.map(([name, act]) => make("button", { onclick: act }, name));
    const close = make("button", { "aria-label": "Close this message", onclick: () => this.dropNotice(key) }, "×");
    const kind = error ? "error" : actions.length ? "" : "passing";
    const line = make("p", { class: kind, "data-key": key }, make("span", {}, text), ...buttons, close);
    document.getElementById("notices").append(line);
    if (kind === "passing") setTimeout(() => line.remove(), NOTICE_SECONDS * 1000);
  }

  dropPassingNotices() {
    for (const line of document.querySelectorAll("#notices > .passing")) line.remove();
  }

  dropNotice(key) {
    document.querySelector(`#notices > p[data-key="${CSS.escape(key)}"]`)?.remove();
  }

  /** Tell the user that this page is of a studio that was ended and started again since. */
  tellRestart() {
    const actions = [["Reload", () => location.reload()]];
    this.notice("restart", "The studio was started again: reload this page.", { error: true, actions });
  }

  /** Run something that may be refused, and tell the user if it is. */
  async attempt(action, key = "error") {
    try {
      const result = await action();
      this.dropNotice(key);
      return result;
    } catch (error) {
      if (error.isOfEarlierStudio) this.tellRestart();
      else this.notice(key, error.message, { error: true });
      if (!(error instanceof api.RefusedError)) console.error(error);
      return undefined;
    }
  }
}

function connectTabs(app) {
  const tabs = [...document.querySelectorAll('#tabs [role="tab"]')];
  for (const [index, tab] of tabs.entries()) {
    tab.addEventListener("click", () => app.show(tab.id.slice("tab-".length)));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      event.stopPropagation();
      tabs[(index + step + tabs.length) % tabs.length].focus();
    });
  }
}

function sayGoodbye() {
  // Otherwise a page that is loaded again would be told that it is open twice.
  addEventListener("pagehide", () => fetch(`/api/status?page=${api.page}&video=`, { keepalive: true }).catch(() => {}));
}

async function watchStatus(app) {
  for (;;) {
    try {
      app.status = await api.get(`/api/status?page=${api.page}&video=${app.video?.id ?? ""}`);
      app.dropNotice("connection");
      app.emit("status");
    } catch (error) {
      app.notice("connection", error.message, { error: true });
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

async function start() {
  if (location.search) history.replaceState(null, "", location.pathname + location.hash); // the token is in a cookie now
  const app = new App();
  window.studio = app; // for tests, and for the curious
  app.info = await api.get("/api/studio");
  document.getElementById("dataset-name").textContent = app.info.name;
  document.title = `${app.info.name} – Framescribe studio`;
  if (app.info.read_only) app.notice("read-only", `Nothing can be changed here: ${app.info.read_only}.`);
  connectTabs(app);
  for (const part of [labels, timeline, annotate, marks, player, videos, predictions, queue, training, results, keys]) part.init(app);
  sayGoodbye();
  watchStatus(app);
}

start().catch((error) => {
  document.getElementById("notices").append(make("p", { class: "error" }, `The studio could not start: ${error.message}`));
  console.error(error);
});
