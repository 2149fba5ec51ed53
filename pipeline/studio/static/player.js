// The picture: while paused, the frame that the pipeline decodes, from the server; while playing, the browser's video.
// The number below the picture is always that of the frame in the picture.

import { page } from "./api.js";
import { clock, make } from "./dom.js";
import { ExactPicture } from "./exact.js";
import { Film } from "./film.js";

const SPEEDS = [0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 8, 16];
const SHAPES = {
  play: "M3 2l11 7-11 7z", pause: "M3 2h4v14H3zM9 2h4v14H9z", first: "M2 2h2v14H2zM14 2v14L5 9z",
  last: "M12 2h2v14h-2zM2 2l9 7-9 7z", back: "M9 2v14L2 9zM12 2h2v14h-2z", on: "M7 2l7 7-7 7zM2 2h2v14H2z",
  sound: "M2 6h3l4-4v14l-4-4H2zM11 5c3 2 3 6 0 8z", silent: "M2 6h3l4-4v14l-4-4H2zM11 6l4 6-1 1-4-6zM14 5l1 1-4 6-1-1z",
};

let player = null;

class Player {
  constructor(app, root) {
    this.app = app;
    this.exact = new ExactPicture(page, () => this.showExact(), (text) => this.showProblem(text));
    this.film = new Film(app, (frame) => this.showPlayed(frame), () => this.endPlaying());
    this.shown = null; // the frame in the picture; null for none
    this.problem = make("p", { class: "problem", role: "alert", hidden: true });
    this.picture = make("div", { class: "picture" }, this.film.element, this.exact.canvas, this.problem);
    this.number = make("output", { class: "number", "aria-label": "Frame in the picture" });
    this.how = make("span", { class: "how" });
    root.append(this.picture, make("div", { class: "controls", role: "group", "aria-label": "Playing" }, ...this.controls()));
    app.on("video", () => this.open());
    app.on("frame", (source) => this.goTo(source));
    new ResizeObserver(() => this.exact.fit(this.picture, () => !app.playing && this.ask())).observe(this.picture);
    this.updateControls();
  }

  controls() {
    const app = this.app;
    const button = (shape, name, act) => make("button", { "aria-label": name, title: name, onclick: act }, icon(shape));
    this.playButton = button("play", "Play", () => playPause(app));
    this.muteButton = button("sound", "Mute", () => this.mute(!this.film.element.muted));
    this.volume = make("input", { class: "volume", type: "range", min: 0, max: 1, step: 0.05, value: 1,
      "aria-label": "Volume", oninput: () => { this.film.element.volume = Number(this.volume.value); this.mute(false); } });
    this.rate = make("select", { "aria-label": "Speed", title: "Speed ([ and ])", onchange: () => speed(app, Number(this.rate.value)) },
      ...SPEEDS.map((each) => make("option", { value: each, selected: each === 1 }, `${each}×`)));
    return [button("first", "First frame (Home)", () => app.setFrame(0, "keys")),
      button("back", "One frame back (←)", () => step(app, -1)), this.playButton,
      button("on", "One frame forward (→)", () => step(app, 1)),
      button("last", "Last frame (End)", () => app.setFrame(Infinity, "keys")),
      this.number, this.rate, this.muteButton, this.volume, this.how];
  }

  open() {
    this.app.setPlaying(false);
    this.shown = null;
    this.exact.open(this.app.video);
    this.film.open(this.app.video);
    this.problem.hidden = true;
    this.updateNumber();
    this.updateControls();
  }

  /** Show app.frame, unless it is the picture that told its number. */
  goTo(source) {
    if (source === "player") return;
    if (this.app.playing) this.film.seek(this.app.frame);
    else this.ask();
    this.updateNumber();
  }

  ask() {
    if (this.app.video) this.exact.ask(this.app.frame);
  }

  showExact() {
    if (this.app.playing) return;
    this.film.stop();
    this.problem.hidden = true;
    this.exact.canvas.hidden = false;
    this.shown = this.exact.frame;
    this.updateNumber();
  }

  showProblem(text) {
    if (this.app.playing) return;
    this.film.stop();
    this.problem.textContent = text;
    this.problem.hidden = false;
    this.shown = null;
    this.updateNumber();
  }

  showPlayed(frame) {
    this.exact.canvas.hidden = true;
    this.problem.hidden = true;
    this.shown = frame;
    if (!this.film.isSeeking) this.app.setFrame(frame, "player");
    this.updateNumber();
    if (!this.app.playing) this.ask(); // a last frame that came after the pause
  }

  endPlaying(problem = null) {
    const { app } = this;
    if (problem) this.showNotPlayable(problem);
    if (!app.playing) return;
    if (!problem) {
      app.setFrame(app.video.num_frames - 1, "player"); // which the browser may have skipped
      app.recorder.stopAll();
    }
    this.pause();
  }

  showNotPlayable(text) {
    this.app.notice("player", text, { error: true });
  }

  play() {
    if (!this.app.video || this.app.playing) return;
    const { app } = this, isAtEnd = app.frame >= app.video.num_frames - 1;
    this.exact.forget();
    if (isAtEnd) app.recorder.stopAll(); // otherwise a recording would go back over the whole video
    app.setPlaying(true);
    this.film.play(isAtEnd ? 0 : app.frame);
    this.updateControls();
  }

  pause() {
    this.app.setPlaying(false);
    this.film.pause();
    this.ask();
    this.updateControls();
  }

  mute(muted) {
    this.film.element.muted = muted;
    this.updateControls();
  }

  updateControls() {
    const { playing, video } = this.app, muted = this.film.element.muted;
    for (const button of this.playButton.parentElement?.querySelectorAll("button") ?? []) button.disabled = !video;
    relabel(this.playButton, playing ? "pause" : "play", playing ? "Pause (Space)" : "Play (Space)");
    relabel(this.muteButton, muted ? "silent" : "sound", muted ? "Unmute" : "Mute");
    this.how.textContent = !video ? "" : playing ? this.film.describe() : "as the model sees it";
  }

  updateNumber() {
    const { app, shown } = this;
    if (!app.video || shown === null) this.number.textContent = "";
    else {
      const seconds = app.times[shown] - app.times[0], last = app.video.num_frames - 1;
      this.number.textContent =
        `frame ${shown.toLocaleString("en")} (0 to ${last.toLocaleString("en")}) · ${clock(seconds, 2)}`;
    }
    this.number.classList.toggle("is-late", shown !== app.frame);
    this.number.dataset.frame = shown ?? "";
  }
}

function icon(shape) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 18");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS("http://www.w3.org/2000/svg", "path"));
  svg.firstChild.setAttribute("d", SHAPES[shape]);
  return svg;
}

function relabel(button, shape, name) {
  button.querySelector("path").setAttribute("d", SHAPES[shape]);
  button.setAttribute("aria-label", name);
  button.title = name;
}

export function init(app) {
  player = new Player(app, document.getElementById("player"));
}

/** Play, or pause. */
export function playPause(app) {
  if (app.playing) player.pause();
  else player.play();
}

/** Go a number of frames forward, or back; it pauses. */
export function step(app, frames) {
  if (app.playing) player.pause();
  app.setFrame(app.frame + frames, "keys");
}

/** Go a number of seconds forward, or back, and play on if it plays. */
export function stepSeconds(app, seconds) {
  if (!app.video) return;
  const frame = app.frameAt(app.times[app.frame] + seconds);
  app.setFrame(frame === app.frame ? frame + Math.sign(seconds) : frame, "keys");
}

function next(app, direction) {
  const place = SPEEDS.indexOf(player.film.speed) + direction;
  speed(app, SPEEDS[Math.min(Math.max(0, place), SPEEDS.length - 1)]);
}

/** Play at the next higher speed. */
export const faster = (app) => next(app, 1);

/** Play at the next lower speed. */
export const slower = (app) => next(app, -1);

/** Play at a speed; 1 is that of the video. */
export function speed(app, rate) {
  player.film.setSpeed(rate);
  player.rate.value = String(rate);
  player.updateControls();
}
