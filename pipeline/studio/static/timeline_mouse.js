// The mouse, pen and fingers on the timeline.

import { withGroups } from "./labels.js";
import { trackOfLane } from "./timeline_lanes.js";
import { OVERVIEW, rulerHeight } from "./timeline_ruler.js";
import { boundaryAfter, boundaryBefore, boundaryMove, isBoundary, segmentAt, valueAt } from "./tracks.js";

const NEAR_BOUNDARY = 5, ON_BOUNDARY = 1, SNAP = 8, CLICK = 4; // pixels
const WHEEL_ZOOM = 0.0025, LINE = 24;

/** The frame that is nearest to a place, among those within some pixels of it; null where there is none. */
function nearest(view, frames, x, pixels) {
  const distance = (frame) => Math.abs(view.x(frame) - x);
  const near = frames.filter((frame) => distance(frame) <= pixels);
  return near.length ? near.reduce((a, b) => (distance(a) <= distance(b) ? a : b)) : null;
}

/** Connects the pointer with a timeline (see timeline.js); `gesture` is what is being dragged, or null. */
export class Pointer {
  gesture = null;
  #pinch = new Map();

  constructor(app, timeline) {
    this.app = app;
    this.timeline = timeline;
    const { canvas } = timeline;
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#move(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", () => this.cancel());
    canvas.addEventListener("dblclick", (event) => this.#double(event));
    canvas.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
  }

  /** Give up what is being dragged; returns whether there was something. */
  cancel() {
    this.#pinch.clear();
    if (!this.gesture) return false;
    const { kind, earlier } = this.gesture;
    this.gesture = null;
    this.timeline.preview = [];
    if (kind === "select") this.app.select(earlier);
    this.timeline.redraw();
    return true;
  }

  #at(event) {
    const box = this.timeline.canvas.getBoundingClientRect();
    const { view, left } = this.timeline;
    const x = event.clientX - box.left - left, y = event.clientY - box.top;
    const ruler = OVERVIEW + rulerHeight(this.app, view);
    const part = y < OVERVIEW ? "overview" : y < ruler ? "ruler" : x < 0 ? "names" : "lanes";
    return { x, y, part, lane: y >= ruler ? this.timeline.laneAt(y) : null };
  }

  /**
   * The boundary of a given lane near a place; null where there is none, or it cannot be moved. Beside frames without a
   * label it is taken from its labelled side alone, so that a drag on the other side selects frames from there on.
   */
  #boundaryNear({ x, lane, part }) {
    const { app } = this, { view } = this.timeline;
    if (part !== "lanes" || lane?.kind !== "given" || !app.labels || app.labels.readOnly) return null;
    const track = app.labels.tracks[lane.track];
    const frame = Math.round(view.position(x));
    const found = isBoundary(track, frame) ? [frame] : [boundaryBefore(track, frame), boundaryAfter(track, frame)];
    const inside = found.filter((each) => each !== null && each > 0 && each < view.numFrames);
    const boundary = nearest(view, inside, x, NEAR_BOUNDARY);
    const away = boundary === null ? 0 : x - view.x(boundary);
    const isBeside = Math.abs(away) > ON_BOUNDARY && valueAt(track, away > 0 ? boundary : boundary - 1) === null;
    return isBeside ? null : boundary;
  }

  #down(event) {
    const { app, timeline } = this;
    if (!app.video) return;
    const at = this.#at(event);
    timeline.canvas.setPointerCapture(event.pointerId);
    this.#pinch.set(event.pointerId, at.x);
    if (this.#pinch.size === 2) return this.#startPinch();
    if (event.button === 1) {
      event.preventDefault();
      this.gesture = { kind: "pan", x: at.x, y: at.y };
    } else if (event.button !== 0) return;
    else if (at.part === "overview") this.gesture = { kind: "overview" };
    else if (at.part === "ruler") this.gesture = { kind: "scrub" };
    else if (at.part === "names") return at.lane && timeline.activate(at.lane);
    else this.#downInLane(at);
    this.#move(event);
  }

  #downInLane(at) {
    const { app } = this;
    const boundary = this.#boundaryNear(at);
    if (boundary !== null) {
      this.gesture = { kind: "boundary", lane: at.lane, boundary, change: null };
      return;
    }
    const track = at.lane?.track ?? app.track;
    this.gesture = { kind: "select", x: at.x, lane: at.lane, track, earlier: app.selection, isDragged: false,
      frame: this.timeline.view.frame(at.x) };
  }

  #startPinch() {
    this.cancel();
    const [a, b] = [...this.#pinch.values()];
    this.gesture = { kind: "pinch", distance: Math.max(8, Math.abs(a - b)) };
  }

  #move(event) {
    const at = this.#at(event), { gesture, timeline, app } = this, { view } = timeline;
    if (this.#pinch.has(event.pointerId)) this.#pinch.set(event.pointerId, at.x);
    if (!gesture) {
      timeline.canvas.title = at.part === "names" ? at.lane?.name ?? "" : "";
      const cursor = this.#boundaryNear(at) !== null ? "ew-resize" : at.part === "lanes" ? "text" : "default";
      timeline.canvas.style.cursor = at.part === "ruler" || at.part === "overview" ? "pointer" : cursor;
      return;
    }
    if (gesture.kind === "pan") {
      view.pan(gesture.x - at.x);
      timeline.scroll(gesture.y - at.y);
      Object.assign(gesture, { x: at.x, y: at.y });
    } else if (gesture.kind === "overview") {
      const position = (at.x / view.width) * view.numFrames;
      if (view.isWhole) app.setFrame(Math.floor(position), "timeline");
      else view.place(position, view.width / 2);
    } else if (gesture.kind === "scrub") app.setFrame(view.frame(at.x), "timeline");
    else if (gesture.kind === "boundary") this.#moveBoundary(gesture, at, event.altKey);
    else if (gesture.kind === "select") this.#moveSelection(gesture, at, event.altKey);
    else if (gesture.kind === "pinch" && this.#pinch.size === 2) this.#movePinch(gesture);
    timeline.redraw();
  }

  #movePinch(gesture) {
    const [a, b] = [...this.#pinch.values()];
    const distance = Math.max(8, Math.abs(a - b));
    this.timeline.view.zoom(distance / gesture.distance, (a + b) / 2);
    gesture.distance = distance;
  }

  #moveBoundary(gesture, at, isFree) {
    const { app, timeline } = this, { track } = gesture.lane;
    const to = this.#snapped(Math.round(timeline.view.position(at.x)), at.x, gesture.lane, isFree);
    const change = boundaryMove(app.labels.tracks[track], track, gesture.boundary, to, timeline.view.numFrames);
    gesture.change = change;
    timeline.preview = withGroups(app.info, change?.paints ?? []);
    timeline.guide = change?.place ?? null;
  }

  #moveSelection(gesture, at, isFree) {
    const { app, timeline } = this, { view } = timeline;
    if (!gesture.isDragged && Math.abs(at.x - gesture.x) < CLICK) return;
    gesture.isDragged = true;
    const ends = [gesture.x, at.x].sort((a, b) => a - b);
    const [start, stop] = ends.map((x, index) => {
      const edge = index ? view.frame(x) + 1 : view.frame(x);
      return this.#snapped(edge, x, gesture.lane, isFree, true);
    });
    if (stop > start) app.select({ track: gesture.track, start, stop });
  }

  /** The boundary, mark or playhead within 8 pixels of a place, else the frame itself. */
  #snapped(frame, x, lane, isFree, includesOwn = false) {
    if (isFree) return frame;
    const { app, timeline } = this, { view } = timeline;
    const candidates = [app.frame, ...(app.labels?.marks ?? []).map((mark) => mark.frame)];
    for (const each of timeline.lanes) {
      if (each === lane && !includesOwn) continue;
      const track = each.track === undefined ? null : trackOfLane(app, each);
      if (!track) continue;
      const before = boundaryBefore(track, frame + 1), after = boundaryAfter(track, frame);
      if (before !== null) candidates.push(before);
      if (after !== null) candidates.push(after);
    }
    return nearest(view, candidates, x, SNAP) ?? frame;
  }

  #up(event) {
    this.#pinch.delete(event.pointerId);
    const { gesture, app, timeline } = this;
    if (!gesture) return;
    this.gesture = null;
    timeline.preview = [];
    timeline.guide = null;
    if (gesture.kind === "boundary") app.select(null);
    if (gesture.kind === "boundary" && gesture.change) {
      const { paints, remove_cuts, add_cuts } = gesture.change;
      app.labels?.edit("move a boundary", { paints, remove_cuts, add_cuts });
    } else if (gesture.kind === "boundary") app.setFrame(gesture.boundary, "timeline");
    if (gesture.kind === "select") {
      if (gesture.lane) timeline.activate(gesture.lane);
      if (!gesture.isDragged) {
        app.select(null);
        app.setFrame(gesture.frame, "timeline");
      }
    }
    timeline.redraw();
  }

  #double(event) {
    const at = this.#at(event), { app, timeline } = this;
    const track = at.lane && at.part === "lanes" && at.lane.track !== undefined && trackOfLane(app, at.lane);
    if (!track) return;
    const { start, stop } = segmentAt(track, timeline.view.frame(at.x), timeline.view.numFrames);
    app.select({ track: at.lane.track, start, stop });
  }

  #wheel(event) {
    if (!this.app.video) return;
    event.preventDefault();
    const at = this.#at(event), { view } = this.timeline;
    const unit = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? LINE : event.deltaMode ? view.width : 1;
    const down = event.deltaY * unit, across = event.deltaX * unit;
    if (event.ctrlKey || event.metaKey) view.zoom(Math.exp(-down * WHEEL_ZOOM), Math.max(0, at.x));
    else if (event.shiftKey || at.part === "names") this.timeline.scroll(down || across);
    else view.pan(across || down);
    this.timeline.redraw();
  }
}
