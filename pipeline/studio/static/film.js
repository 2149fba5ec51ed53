// The browser's own video, for playing: which frame of the pipeline each of its pictures is, by the times of the frames.

import { Proxy } from "./proxy.js";

const MAX_STRANGE = 3; // pictures in a row whose times fit no frame, after which the file is no longer played as it is

export class Film {
  constructor(app, onFrame, onEnd) {
    Object.assign(this, { app, onFrame, onEnd });
    this.element = document.createElement("video");
    Object.assign(this.element, { muted: false, playsInline: true, preload: "auto", tabIndex: -1 });
    this.element.setAttribute("aria-hidden", "true");
    this.element.disablePictureInPicture = true;
    this.proxy = null; // where the browser cannot play the file itself
    this.speed = 1;
    this.isSeeking = false;
    this.isFollowed = false; // whether the picture is that of the element
    this.offset = null; // what to add to the element's times for those of the frames; null until it is known
    this.numStrange = 0;
    this.element.addEventListener("error", () => this.fail());
    this.element.addEventListener("loadedmetadata", () => this.element.videoWidth || this.fail());
    this.element.addEventListener("seeked", () => (this.isSeeking = false));
    this.element.addEventListener("ended", () => this.onEnd());
    this.watch();
  }

  open(video) {
    this.stop();
    this.proxy?.close();
    Object.assign(this, { video, proxy: null, offset: null, numStrange: 0, isSeeking: false });
    this.element.src = `/media/${video.id}`;
    this.element.load();
  }

  /** Play from a frame on. */
  play(frame) {
    this.isFollowed = true;
    this.seek(frame);
    this.start();
  }

  start() {
    const { element } = this;
    element.playbackRate = this.speed;
    element.play().catch((error) => {
      if (error.name !== "NotAllowedError" || element.muted) return; // other errors are events
      element.muted = true; // a page may not make sound before it was clicked
      this.start();
    });
  }

  pause() {
    this.element.pause();
  }

  /** The picture is no longer that of the element. */
  stop() {
    this.isFollowed = false;
    this.element.pause();
  }

  seek(frame) {
    this.isSeeking = true;
    this.target = frame;
    const { times } = this.app;
    // Just after the start of the frame: the element rounds times to microseconds.
    const inside = Math.min(0.01, (times[frame + 1] - times[frame]) / 2);
    const seconds = Math.max(0, times[frame] - (this.offset ?? this.guessedOffset()) + inside);
    this.proxy?.need(frame);
    this.element.currentTime = seconds;
  }

  setSpeed(speed) {
    this.speed = speed;
    this.element.playbackRate = speed;
  }

  describe() {
    return this.proxy ? "played as a converted copy" : "played by the browser";
  }

  guessedOffset() {
    return this.video.playback.offset ?? 0;
  }

  watch() {
    this.element.requestVideoFrameCallback((now, { mediaTime }) => {
      this.watch();
      this.note(mediaTime);
    });
  }

  note(mediaTime) {
    if (!this.video || !this.app.times) return;
    this.offset ??= this.guessedOffset();
    if (!this.isFollowed) return;
    const seconds = mediaTime + this.offset;
    const frame = this.app.frameAt(seconds + 0.0015); // containers round to milliseconds
    const { times } = this.app;
    const isStrange = Math.abs(times[frame] - seconds) > Math.max(0.002, 0.3 * (times[frame + 1] - times[frame]));
    this.numStrange = isStrange ? this.numStrange + 1 : 0;
    if (this.numStrange >= MAX_STRANGE && !this.proxy) {
      this.fail();
      return;
    }
    if (isStrange) return;
    // The first pictures after a seek may come before its event, and some may be left out.
    const isAtTarget = frame >= this.target && times[frame] - times[this.target] < 0.5 * Math.max(1, this.speed);
    if (isAtTarget) this.isSeeking = false;
    this.onFrame(frame);
  }

  /** Play a converted copy, as the browser cannot play the file. */
  fail() {
    if (!this.video || (this.element.error?.code === MediaError.MEDIA_ERR_ABORTED)) return;
    if (this.proxy) {
      this.onEnd("This browser can play neither the file nor a converted copy of it. Single frames are shown all the same.");
      return;
    }
    const { app } = this;
    this.proxy = new Proxy(app, this.element, this.video, (text) => this.onEnd(text));
    this.offset = app.times[0];
    this.numStrange = 0;
    if (app.playing) this.play(app.frame);
  }
}
