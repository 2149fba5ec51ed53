// The stretches of frames behind a number of the results, and the walk through them in the Label view.

import * as api from "./api.js";
import { clock, counted, make } from "./dom.js";

const NOTICE = "stretches";

/** The list of the stretches, and the one that is shown. */
export class Stretches {
  #items = [];
  #at = -1;
  #turn = 0;
  #name = "";
  #cell = null;

  constructor(app, section) {
    this.app = app;
    this.section = section;
    section.hidden = true;
  }

  /** Show the stretches of a cell: { true, predicted or kind, name } in a group of a model. */
  async open(source, group, cell) {
    const turn = ++this.#turn;
    const { name, ...where } = cell;
    const query = new URLSearchParams({ source, group, ...where });
    const answer = await this.app.attempt(() => api.get(`/api/results/frames?${query}`), "results");
    if (!answer || turn !== this.#turn) return;
    [this.#items, this.#at, this.#name, this.#cell] = [answer.stretches, -1, name, cell];
    const { total, num_frames: numFrames } = answer;
    const shown = total > this.#items.length ? `, the longest ${this.#items.length} are shown` : ", longest first";
    const heading = make("h3", { tabindex: "-1" }, name);
    this.list = make("ol", {}, ...this.#items.map((each, index) => make("li", {}, make("button", { onclick: () => this.go(index) },
      make("span", { class: "stem" }, each.stem),
      make("span", {}, `${clock(each.start_seconds, 1)} – ${clock(each.stop_seconds, 1)}`),
      make("span", { class: "faint" }, counted(each.stop - each.start, "frame"))))));
    this.section.replaceChildren(
      make("div", { class: "head" }, heading, make("button", { "aria-label": "Close the list", onclick: () => this.close() }, "×")),
      make("p", { class: "faint" }, `${counted(numFrames, "frame")} in ${counted(total, "stretch", "stretches")}${shown}`),
      this.list);
    this.section.hidden = false;
    heading.focus();
  }

  close() {
    this.#turn++;
    this.section.hidden = true;
    this.app.dropNotice(NOTICE);
  }

  /** Show a stretch in the Label view. */
  async go(index) {
    const item = this.#items[index];
    if (!item) return;
    this.#at = index;
    const { app } = this;
    const isOpen = app.video?.id === item.video;
    if (!isOpen && (await app.attempt(() => app.openVideo(item.video, { frame: item.start }).then(() => true), "video")) !== true) return;
    if (this.#items[this.#at] !== item || app.video?.id !== item.video) return; // another one was asked for meanwhile
    if (isOpen) app.setFrame(item.start, "results");
    const track = app.info.exclusive ? 0 : this.#cell.true;
    app.track = track;
    app.emit("track");
    app.select({ track, start: item.start, stop: item.stop });
    app.show("watch");
    for (const [at, line] of [...this.list.children].entries()) {
      if (at === index) line.setAttribute("aria-current", "true");
      else line.removeAttribute("aria-current");
    }
    this.#tell(item);
  }

  #tell(item) {
    const place = `${this.#at + 1} of ${this.#items.length}: ${item.stem}, ${clock(item.start_seconds, 1)} – ${clock(item.stop_seconds, 1)}`;
    const actions = [];
    if (this.#at > 0) actions.push(["Previous", () => this.go(this.#at - 1)]);
    if (this.#at + 1 < this.#items.length) actions.push(["Next", () => this.go(this.#at + 1)]);
    actions.push(["Back to the results", () => this.#back()]);
    this.app.notice(NOTICE, `${this.#name}. ${place}`, { actions });
  }

  #back() {
    this.app.dropNotice(NOTICE);
    this.app.show("results");
    this.list.children[this.#at]?.querySelector("button").focus();
  }
}
