// The exact picture of a frame, from the server. Only the latest frame that was asked for is waited for.

const PATIENCE = 100; // milliseconds that a request may take before a later one overtakes it
let number = 0; // of the latest request of this page

export class ExactPicture {
  constructor(page, onShown, onProblem) {
    Object.assign(this, { page, onShown, onProblem });
    this.canvas = document.createElement("canvas");
    this.canvas.hidden = true;
    this.canvas.setAttribute("role", "img");
    this.video = null;
    this.width = 0; // in device pixels, of the place for the picture
    this.frame = null; // in the canvas
    this.wanted = null;
    this.pending = null; // { frame, since, controller } of the request under way
  }

  open(video) {
    this.forget();
    this.video = video;
    this.frame = null;
    this.canvas.hidden = true;
    this.canvas.setAttribute("aria-label", `A frame of ${video.stem}`);
  }

  /** Drop what was asked for. */
  forget() {
    this.wanted = null;
    this.pending?.controller.abort();
    this.pending = null;
  }

  /** Note the size of the place for the picture; `again` is called where a finer picture is needed. */
  fit(place, again) {
    const rect = place.getBoundingClientRect();
    if (!rect.width) return; // it is hidden, and will have about the same size again
    const needed = Math.ceil(Math.max(rect.width, 16) * devicePixelRatio);
    const grows = needed > this.width * 1.1;
    if (grows || needed < this.width * 0.7) this.width = needed;
    if (!grows || (this.frame === null && !this.pending)) return;
    this.forget(); // what is under way would be too coarse
    again();
  }

  /** Ask for a frame. */
  ask(frame) {
    this.wanted = frame;
    if (!this.pending) this.send();
    else if (this.pending.frame !== frame) {
      const left = PATIENCE - (performance.now() - this.pending.since);
      if (left <= 0) this.send();
      else if (!this.timer) {
        this.timer = setTimeout(() => {
          this.timer = null;
          if (this.wanted !== null && this.pending && this.pending.frame !== this.wanted) this.send();
        }, left);
      }
    }
  }

  async send() {
    this.pending?.controller.abort();
    const frame = this.wanted, { video } = this;
    const request = { frame, since: performance.now(), controller: new AbortController() };
    this.pending = request;
    number += 1;
    const path = `/api/videos/${video.id}/frames/${frame}?width=${this.width}&page=${this.page}&seq=${number}`;
    let problem = null;
    try {
      const response = await fetch(path, { signal: request.controller.signal });
      const isPicture = response.headers.get("content-type") === "image/jpeg";
      const bitmap = isPicture ? await createImageBitmap(await response.blob()) : null;
      if (this.pending !== request) return;
      if (bitmap) this.draw(bitmap, frame);
      else if (response.status !== 409) problem = (await response.json()).error;
    } catch (error) {
      if (error.name === "AbortError" || this.pending !== request) return;
      problem = "The studio does not answer.";
    }
    if (this.pending !== request) return;
    this.pending = null;
    if (this.wanted !== frame) this.send();
    else if (problem) this.onProblem(`Frame ${frame.toLocaleString("en")} is not shown: ${problem}`);
  }

  draw(bitmap, frame) {
    if (this.canvas.width !== bitmap.width || this.canvas.height !== bitmap.height) {
      this.canvas.width = bitmap.width;
      this.canvas.height = bitmap.height;
    }
    this.canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
    this.frame = frame;
    this.onShown();
  }
}
