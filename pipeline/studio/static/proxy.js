// A converted copy of a video in chunks of a few seconds, each made when it is needed, for what the browser cannot play.

const AHEAD = 3; // chunks that are loaded before they are needed
const KEPT_SECONDS = 60; // of the copy before the place that is played

export class Proxy {
  constructor(app, element, video, onProblem) {
    Object.assign(this, { app, element, video, onProblem });
    this.type = video.playback.proxy_types.find((type) => MediaSource.isTypeSupported(type));
    this.loaded = new Set();
    this.isBusy = false;
    this.isClosed = false;
    this.place = 0; // the chunk that is played
    this.source = new MediaSource();
    this.source.addEventListener("sourceopen", () => this.begin(), { once: true });
    this.onTime = () => this.need(this.frameOf(element.currentTime));
    element.addEventListener("timeupdate", this.onTime);
    this.address = URL.createObjectURL(this.source);
    element.src = this.address;
  }

  begin() {
    URL.revokeObjectURL(this.address);
    if (this.isClosed || this.source.readyState !== "open") return; // another video was opened meanwhile
    if (!this.type) {
      this.onProblem("This browser plays none of the formats that the studio can convert the video to. Single frames are shown all the same.");
      return;
    }
    const { times } = this.app;
    this.source.duration = times[times.length - 1] - times[0];
    this.buffer = this.source.addSourceBuffer(this.type);
    this.load();
  }

  frameOf(seconds) {
    return this.app.frameAt(seconds + this.app.times[0]);
  }

  /** Load what is needed to play from a frame on. */
  need(frame) {
    const { starts } = this.video.playback;
    let low = 0, high = starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (starts[middle] <= frame) low = middle;
      else high = middle - 1;
    }
    this.place = low;
    this.load();
  }

  next() {
    for (let chunk = this.place; chunk < Math.min(this.place + AHEAD, this.video.playback.starts.length); chunk++) {
      if (!this.loaded.has(chunk)) return chunk;
    }
    return null;
  }

  async load() {
    if (this.isBusy || !this.buffer || this.isClosed) return;
    this.isBusy = true;
    try {
      for (let chunk = this.next(); chunk !== null && !this.isClosed; chunk = this.next()) await this.append(chunk);
    } catch (error) {
      if (!this.isClosed) this.onProblem(`The video cannot be played on: ${error.message}`);
    }
    this.isBusy = false;
  }

  async append(chunk) {
    const { starts } = this.video.playback, { times } = this.app, { buffer } = this;
    const kind = this.type.startsWith("video/webm") ? "webm" : "mp4";
    const response = await fetch(`/api/videos/${this.video.id}/proxy/${chunk}?kind=${kind}`);
    if (!response.ok) throw new Error((await response.json()).error);
    const content = await response.arrayBuffer();
    if (this.isClosed) return;
    const before = this.element.currentTime - KEPT_SECONDS;
    if (before > 0 && buffer.buffered.length && buffer.buffered.start(0) < before) {
      await this.change(() => buffer.remove(0, before));
      for (const each of this.loaded) if (times[starts[each]] - times[0] < before) this.loaded.delete(each);
    }
    buffer.timestampOffset = times[starts[chunk]] - times[0];
    await this.change(() => buffer.appendBuffer(content));
    this.loaded.add(chunk);
    if (chunk === starts.length - 1 && this.source.readyState === "open") this.source.endOfStream();
  }

  change(act) {
    return new Promise((resolve, reject) => {
      this.buffer.addEventListener("updateend", resolve, { once: true });
      this.buffer.addEventListener("error", () => reject(new Error("the browser does not take the converted copy")), { once: true });
      act();
    });
  }

  close() {
    this.isClosed = true;
    this.element.removeEventListener("timeupdate", this.onTime);
  }
}
