// The overview of the whole video, the ruler, and the playhead.

import { clock } from "./dom.js";
import { drawText, hatchOf } from "./timeline_draw.js";
import { trackOfLane } from "./timeline_lanes.js";
import { colorsOf, fillRuns } from "./timeline_rows.js";
import { ticksOf } from "./timeline_view.js";

export const OVERVIEW = 26, RULER = 22, FRAME_RULER = 16, MARKS = 15; // heights
const LEAST_FRAME = 20; // pixels, where frames have their numbers

/** The height of the ruler: with numbers of frames where they are wide enough, and marks where there are any. */
export function rulerHeight(app, view) {
  return RULER + (view.scale >= LEAST_FRAME ? FRAME_RULER : 0) + (app.labels?.marks.length ? MARKS : 0);
}

/** Days, hours, minutes and seconds, with decimals where the step of the ruler needs them. */
export function timeText(seconds, step = 1) {
  const decimals = step >= 1 ? 0 : step >= 0.1 ? 1 : 2;
  if (seconds < 86400) return clock(seconds, decimals);
  const days = Math.floor(seconds / 86400), rest = seconds - days * 86400;
  const two = (number) => String(Math.floor(number)).padStart(2, "0");
  const minutes = `${days} d ${two(rest / 3600)}:${two((rest / 60) % 60)}`;
  return step < 60 ? `${minutes}:${(rest % 60).toFixed(decimals).padStart(decimals ? 3 + decimals : 2, "0")}` : minutes;
}

/** Draw the ruler at a height: times, and frame numbers where they fit. */
export function drawRuler({ app, context, view, theme, left }, y) {
  if (app.stretch?.video === app.video.id) {
    const from = Math.max(0, view.x(app.stretch.start)), to = Math.min(view.width, view.x(app.stretch.stop));
    context.fillStyle = theme.accent;
    if (to > from) context.fillRect(left + from, y + RULER - 4, to - from, 4);
  }
  const { step, ticks } = ticksOf(view, app.times, 84);
  context.font = "11px system-ui, sans-serif";
  context.textBaseline = "middle";
  for (const { frame, seconds } of ticks) {
    const x = view.x(frame);
    if (x < -0.5) continue;
    context.fillStyle = theme.line;
    context.fillRect(left + Math.round(x), y + 4, 1, RULER - 4);
    context.fillStyle = theme.faint;
    drawText(context, timeText(seconds, step), left + x + 5, y + 10, view.width - x - 5);
  }
  if (view.scale < LEAST_FRAME) return;
  context.textAlign = "center";
  const last = Math.min(view.numFrames, Math.ceil(view.stop));
  const room = 12 + 7 * String(last).length; // for a number
  const every = view.scale >= room ? 1 : view.scale * 5 >= room ? 5 : 10;
  for (let frame = Math.max(0, Math.floor(view.start)); frame < last; frame++) {
    context.fillStyle = theme.line;
    context.fillRect(left + Math.round(view.x(frame)), y + RULER, 1, FRAME_RULER);
    if (frame % every) continue;
    context.fillStyle = frame === app.frame ? theme.text : theme.faint;
    const x = view.x(frame + 0.5);
    if (x > 0 && x < view.width) context.fillText(String(frame), left + x, y + RULER + FRAME_RULER / 2);
  }
  context.textAlign = "start";
}

/** Draw the playhead from the ruler down, over the width of its frame where that is visible. */
export function drawPlayhead({ app, context, view, theme, left }, y, bottom) {
  const x = view.x(app.frame);
  if (x < -view.scale || x > view.width) return;
  context.save();
  context.beginPath();
  context.rect(left - 6, y, view.width + 12, bottom - y);
  context.clip();
  context.fillStyle = theme.disagrees;
  if (view.scale >= 3) {
    context.globalAlpha = 0.14;
    context.fillRect(left + x, y, view.scale, bottom - y);
    context.globalAlpha = 1;
  }
  if (x >= -1) {
    context.fillRect(left + Math.round(x) - 0.75, y, 1.5, bottom - y);
    context.beginPath();
    context.moveTo(left + x - 6, y);
    context.lineTo(left + x + 6, y);
    context.lineTo(left + x, y + 8);
    context.fill();
  }
  context.restore();
}

/** The whole video in a strip, which is drawn anew only where labels, models or the size change. */
export class Overview {
  #canvas = document.createElement("canvas");
  #key = null;

  forget() {
    this.#key = null;
  }

  draw(scene, y) {
    const { app, context, view, theme, ratio, left } = scene;
    const width = Math.max(1, Math.round(view.width * ratio)), height = Math.round((OVERVIEW - 6) * ratio);
    const key = `${width} ${height} ${theme.page}`;
    if (this.#key !== key) {
      this.#key = key;
      this.#fill(scene, width, height);
    }
    context.drawImage(this.#canvas, left, y + 3, view.width, OVERVIEW - 6);
    context.fillStyle = theme.faint;
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "middle";
    drawText(context, "whole video", 10, y + OVERVIEW / 2, left - 20);
    const scale = view.width / view.numFrames;
    context.fillStyle = theme.disagrees;
    context.fillRect(left + app.frame * scale - 0.5, y + 1, 1.5, OVERVIEW - 2);
    if (view.isWhole) return;
    const from = view.start * scale, to = Math.min(view.width, view.stop * scale);
    context.fillStyle = `color-mix(in srgb, ${theme.card} 60%, transparent)`;
    context.fillRect(left, y + 2, from, OVERVIEW - 4);
    context.fillRect(left + to, y + 2, view.width - to, OVERVIEW - 4);
    context.strokeStyle = theme.accent;
    context.lineWidth = 1.5;
    context.strokeRect(left + from, y + 1.5, Math.max(3, to - from), OVERVIEW - 3);
  }

  #fill(scene, width, height) {
    const { app, theme, view, ratio } = scene;
    this.#canvas.width = width;
    this.#canvas.height = height;
    const pen = this.#canvas.getContext("2d");
    pen.fillStyle = hatchOf(pen, theme, ratio);
    pen.fillRect(0, 0, width, height);
    const lanes = overviewLanes(app);
    const span = { start: 0, scale: width / view.numFrames, width };
    const image = scene.overviewRows.fill(width, lanes.length, (pixels, offset, index) => {
      const track = trackOfLane(app, lanes[index]);
      const colors = colorsOf(app, theme, lanes[index].track);
      if (track) fillRuns(pixels, offset, span, track, colors);
    });
    pen.imageSmoothingEnabled = false;
    const edge = (index) => Math.round((index * height) / lanes.length);
    for (const index of lanes.keys()) {
      const top = edge(index), bottom = edge(index + 1);
      if (bottom > top) pen.drawImage(image, 0, index, width, 1, 0, top, width, bottom - top);
    }
    pen.fillStyle = "rgb(138 99 181)";
    for (const { frame } of app.labels?.marks ?? [])
      pen.fillRect((frame * width) / view.numFrames, 0, 1.5 * ratio, height);
  }
}

function overviewLanes(app) {
  const tracks = app.info.exclusive ? [0] : [...app.info.classes.keys()];
  const given = tracks.map((track) => ({ kind: "given", track }));
  const [model] = app.predictions;
  return app.info.exclusive && model ? [...given, ...given, { kind: "model", track: 0, model }] : given;
}
