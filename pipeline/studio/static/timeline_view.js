// Which frames the timeline shows, and where. All lengths are in CSS pixels, from the left end of the lanes.

const WIDEST_FRAME = 64;

/** The visible part of a video: `start` is the frame at the left end, `scale` the width of a frame. */
export class View {
  numFrames = 1;
  width = 1;
  start = 0;
  scale = 1;

  /** Show a whole video. */
  fit(numFrames = this.numFrames) {
    this.numFrames = numFrames;
    this.start = 0;
    this.scale = this.#smallest();
  }

  resize(width) {
    const isWhole = this.isWhole;
    this.width = Math.max(1, width);
    if (isWhole) this.fit();
    else this.#bound();
  }

  get isWhole() {
    return this.scale <= this.#smallest() * 1.0001;
  }

  get stop() {
    return this.start + this.width / this.scale;
  }

  x(frame) {
    return (frame - this.start) * this.scale;
  }

  /** The position in frames at a place; its floor is the frame there. */
  position(x) {
    return this.start + x / this.scale;
  }

  /** The frame at a place, within the video. */
  frame(x) {
    return Math.min(Math.max(0, Math.floor(this.position(x))), this.numFrames - 1);
  }

  /** Zoom; what is at `x` stays there. */
  zoom(factor, x) {
    const position = this.position(x);
    this.scale *= factor;
    this.#bound();
    this.start = position - x / this.scale;
    this.#bound();
  }

  pan(pixels) {
    this.start += pixels / this.scale;
    this.#bound();
  }

  /** Move the frame `position` to the place `x`. */
  place(position, x) {
    this.start = position - x / this.scale;
    this.#bound();
  }

  /** Show a range with some room around it. */
  show(start, stop) {
    const length = Math.max(1, stop - start);
    this.scale = this.width / (length * 1.25);
    this.#bound();
    this.place((start + stop) / 2, this.width / 2);
  }

  /** Scroll where a frame is not visible; while playing, a page at a time. */
  reveal(frame, isPlaying = false) {
    const x = this.x(frame);
    const margin = Math.min(40, this.width / 4);
    if (x >= 0 && x + Math.min(this.scale, this.width / 2) <= this.width - (isPlaying ? margin : 0)) return false;
    this.place(frame, isPlaying ? margin : this.width / 2);
    return true;
  }

  #smallest() {
    return Math.min(WIDEST_FRAME, this.width / this.numFrames);
  }

  #bound() {
    this.scale = Math.min(WIDEST_FRAME, Math.max(this.#smallest(), this.scale));
    this.start = Math.max(0, Math.min(this.start, this.numFrames - this.width / this.scale));
  }
}

const SECOND_STEPS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200,
  10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000];

/** The times that a ruler names, at least `gap` pixels apart: { step, ticks: [{ frame, seconds }] } */
export function ticksOf(view, times, gap) {
  const first = Math.max(0, Math.floor(view.start)), last = Math.min(view.numFrames, Math.ceil(view.stop));
  const seconds = (times[last] - times[first]) / Math.max(1, last - first) / view.scale * gap;
  const step = SECOND_STEPS.find((step) => step >= seconds) ?? Math.ceil(seconds / 2592000) * 2592000;
  const origin = times[0], ticks = [];
  for (let n = Math.ceil((times[first] - origin) / step - 1e-9); ; n++) {
    const time = n * step;
    if (time + origin > times[last] || ticks.length > 500) break;
    ticks.push({ frame: positionOf(times, time + origin), seconds: time });
  }
  return { step, ticks };
}

/** Where a time is, as a position in frames: 1.5 is half way through frame 1. */
export function positionOf(times, seconds) {
  let low = 0, high = times.length - 2;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (times[middle] <= seconds + 1e-9) low = middle;
    else high = middle - 1;
  }
  return low + Math.min(1, Math.max(0, (seconds - times[low]) / (times[low + 1] - times[low])));
}
