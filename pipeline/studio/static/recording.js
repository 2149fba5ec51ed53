// Labelling while the video plays: a class is on from one frame to another, and each recording is one edit.

import { PRESENT } from "./tracks.js";

const MODE = "framescribe-recording";

/**
 * What is being recorded. A recording has all frames from the one where it was started to the one where it is ended,
 * both included, whichever of them the browser skipped while playing.
 */
export class Recorder {
  #active = new Map(); // by class: { classIndex, track, value, start, last, mirror }

  constructor(app) {
    this.app = app;
    app.on("frame", (source) => source !== "video" && this.#follow());
    app.on("video", () => this.stopAll());
    addEventListener("blur", () => this.isHeld && this.stopAll());
    addEventListener("beforeunload", () => this.stopAll());
  }

  /** Whether classes are on only while their keys are held. */
  get isHeld() {
    return localStorage.getItem(MODE) === "held";
  }

  set isHeld(isHeld) {
    this.stopAll();
    localStorage.setItem(MODE, isHeld ? "held" : "on/off");
    this.app.emit("recording");
  }

  isOn(classIndex) {
    return this.#active.has(classIndex);
  }

  get isRecording() {
    return this.#active.size > 0;
  }

  /** What the recordings have so far, as paints. */
  paints() {
    return [...this.#active.values()].map(({ track, start, last, value }) =>
      [track, Math.min(start, last), Math.max(start, last) + 1, value]);
  }

  /** Start a class, which ends those that exclude it. */
  start(classIndex) {
    const { app } = this, { exclusive, classes } = app.info;
    if (!app.labels || this.isOn(classIndex)) return;
    if (app.labels.readOnly) return app.labels.refuse();
    for (const other of [...this.#active.keys()])
      if (exclusive || classes[other].group === classes[classIndex].group) this.#stop(other, false);
    const [track, value] = exclusive ? [0, classIndex] : [classIndex, PRESENT];
    this.#active.set(classIndex, { classIndex, track, value, start: app.frame, last: app.frame, mirror: app.labels });
    app.emit("recording");
  }

  stop(classIndex) {
    if (this.isOn(classIndex)) this.#stop(classIndex, true);
    this.app.emit("recording");
  }

  toggle(classIndex) {
    if (this.isOn(classIndex)) this.stop(classIndex);
    else this.start(classIndex);
  }

  stopAll() {
    if (!this.isRecording) return;
    for (const classIndex of [...this.#active.keys()]) this.#stop(classIndex, true);
    this.app.emit("recording");
  }

  /** Give up what is being recorded; returns whether there was something. */
  cancel() {
    if (!this.isRecording) return false;
    this.#active.clear();
    this.app.emit("recording");
    return true;
  }

  #follow() {
    for (const recording of this.#active.values()) recording.last = this.app.frame;
    if (this.isRecording) this.app.emit("recording");
  }

  #stop(classIndex, includesLast) {
    const { track, value, start, last, mirror } = this.#active.get(classIndex);
    this.#active.delete(classIndex);
    let from = Math.min(start, last), to = Math.max(start, last) + 1;
    if (!includesLast && last < start) from += 1; // that frame is of the class that follows
    else if (!includesLast) to -= 1;
    const { name } = this.app.info.classes[classIndex];
    if (to > from) mirror.edit(`label ${name}`, { paints: [[track, from, to, value]] });
  }
}
