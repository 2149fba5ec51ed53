// Drawing the lanes. Each lane is one row of pixels, stretched; separators and names are drawn where they fit.

import { trackOfLane } from "./timeline_lanes.js";
import { colorsOf, fillHeat, fillRuns } from "./timeline_rows.js";
import { cssOf, inkOn } from "./timeline_theme.js";
import { ABSENT, indexAfter, painted } from "./tracks.js";

const LEAST_SEPARATED = 5, LEAST_NAMED = 26; // pixels
const FONT = "12px system-ui, sans-serif", SMALL = "10.5px system-ui, sans-serif", TINY = "9.5px system-ui, sans-serif";
const BAND = 8, THIN = 14; // heights of lanes without a name, and with a small one
const NAME_MARGINS = 26; // beside the name of a lane, in pixels
const LEAST_FOR_TWO_LINES = 20; // pixels

/** An image of rows, made anew only where the size changes. */
export class RowImage {
  #canvas = document.createElement("canvas");
  #image = null;

  /** Fill rows, `fill(pixels, offset, index)` each, and return a canvas with them. */
  fill(width, count, fill) {
    if (!this.#image || this.#image.width !== width || this.#image.height < count) {
      this.#canvas.width = width;
      this.#canvas.height = Math.max(count, this.#image?.width === width ? this.#image.height : 0);
      this.#image = new ImageData(width, this.#canvas.height);
    }
    const pixels = this.#image.data;
    new Uint32Array(pixels.buffer).fill(0, 0, width * count);
    for (let index = 0; index < count; index++) fill(pixels, index * width * 4, index);
    this.#canvas.getContext("2d").putImageData(this.#image, 0, 0, 0, 0, width, count);
    return this.#canvas;
  }
}

const widths = new Map();

function widthOf(context, text) {
  const key = context.font + text;
  if (!widths.has(key)) {
    if (widths.size > 5000) widths.clear();
    widths.set(key, context.measureText(text).width);
  }
  return widths.get(key);
}

/** Draw a text, shortened to a width; nothing where not even its start fits. */
export function drawText(context, text, x, y, width) {
  if (widthOf(context, text) <= width) return context.fillText(text, x, y);
  let low = 0, high = text.length;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (widthOf(context, `${text.slice(0, middle)}…`) <= width) low = middle;
    else high = middle - 1;
  }
  if (low) context.fillText(`${text.slice(0, low)}…`, x, y);
}

/** The width that the names beside lanes need, from `least` to `most` pixels. Longer ones are shortened. */
export function namesWidth(context, lanes, least, most) {
  context.font = `600 ${FONT}`;
  const widest = Math.max(0, ...lanes.map(({ name, model }) => (model ? 0 : widthOf(context, name))));
  return Math.round(Math.max(least, Math.min(most, widest + NAME_MARGINS)));
}

let hatch = null, hatchKey = "";

/** The pattern of frames without a label, which is like no class. */
export function hatchOf(context, theme, ratio) {
  const key = `${theme.card} ${theme.faint} ${ratio}`;
  if (hatchKey === key) return hatch;
  const tile = document.createElement("canvas"), size = 8 * ratio;
  tile.width = tile.height = size;
  const pen = tile.getContext("2d");
  pen.fillStyle = theme.card;
  pen.fillRect(0, 0, size, size);
  pen.strokeStyle = theme.faint;
  pen.globalAlpha = 0.45; // seen on light and on dark cards, but paler than any class
  pen.lineWidth = 1.4 * ratio;
  pen.beginPath();
  for (const shift of [-size, 0, size]) {
    pen.moveTo(shift - 1, size + 1);
    pen.lineTo(shift + size + 1, -1);
  }
  pen.stroke();
  hatch = context.createPattern(tile, "repeat");
  hatch.setTransform(new DOMMatrix().scale(1 / ratio));
  hatchKey = key;
  return hatch;
}

/** The track of a lane with what is being dragged or recorded. */
export function shownTrack(app, lane, preview) {
  let track = trackOfLane(app, lane);
  if (!track || lane.kind !== "given") return track;
  for (const [index, start, stop, value] of preview)
    if (index === lane.track) track = painted(track, start, stop, value);
  return track;
}

/**
 * Draw lanes, whose `top`s are moved by `shift`, between the heights `from` and `to` of the canvas.
 *
 * @param {object} scene { app, context, view, theme, ratio, left, preview, rows: RowImage }
 */
export function drawLanes(scene, lanes, shift, from, to) {
  const { app, context, view, theme, ratio, left, preview } = scene;
  const visible = lanes.filter((lane) => lane.top + shift < to && lane.top + lane.height + shift > from);
  if (!visible.length) return;
  const width = Math.max(1, Math.round(view.width * ratio));
  const span = { start: view.start, scale: view.scale * ratio, width };
  const isHeat = ({ kind }) => kind === "probability" || kind === "uncertainty";
  const tracks = visible.map((lane) => (isHeat(lane) ? null : shownTrack(app, lane, preview)));
  const image = scene.rows.fill(width, visible.length, (pixels, offset, index) =>
    fillLane(scene, pixels, offset, span, visible[index], tracks[index]));
  context.save();
  context.beginPath();
  context.rect(0, from, left + view.width, to - from);
  context.clip();
  const end = Math.min(view.width, view.x(view.numFrames));
  for (const [index, lane] of visible.entries()) {
    const y = lane.top + shift;
    context.fillStyle = isHeat(lane) ? theme.page : hatchOf(context, theme, ratio);
    context.fillRect(left, y, end, lane.height);
    context.imageSmoothingEnabled = false;
    context.drawImage(image, 0, index, width, 1, left, y, view.width, lane.height);
    if (tracks[index] && lane.height > THIN) drawSegments(scene, lane, tracks[index], y);
    drawName(scene, lane, y);
  }
  context.restore();
}

function fillLane({ app, theme }, pixels, offset, span, lane, track) {
  const numRows = app.info.classes.length + 1;
  if (lane.kind === "uncertainty") {
    fillHeat(pixels, offset, span, lane.model, numRows - 1, numRows, theme.uncertainBytes, app.video.num_frames);
  } else if (lane.kind === "probability") {
    const color = theme.classes[lane.classIndex];
    const shown = lane.classIndex === theme.backgroundIndex ? [128, 134, 142] : color;
    fillHeat(pixels, offset, span, lane.model, lane.classIndex, numRows, shown, app.video.num_frames);
  } else if (track) {
    fillRuns(pixels, offset, span, track, colorsOf(app, theme, lane.track));
  }
}

function drawSegments({ app, context, view, theme, left }, lane, track, y) {
  const { starts, stops, values } = track;
  context.font = lane.height < 20 ? SMALL : FONT;
  context.textBaseline = "middle";
  const least = LEAST_SEPARATED / view.scale, named = LEAST_NAMED / view.scale, stop = view.stop;
  for (let index = indexAfter(track, Math.floor(view.start)); index < starts.length && starts[index] < stop; index++) {
    const length = stops[index] - starts[index];
    if (length < least) continue;
    const x = view.x(starts[index]);
    const isCut = index && stops[index - 1] === starts[index] && values[index - 1] === values[index];
    context.fillStyle = isCut ? theme.text : theme.card;
    if (x >= 0) context.fillRect(left + Math.round(x) - (isCut ? 1 : 0.5), y, isCut ? 2 : 1, lane.height);
    if (length < named || (!app.info.exclusive && values[index] === ABSENT)) continue;
    const classIndex = app.info.exclusive ? values[index] : lane.track;
    const from = Math.max(0, x), to = Math.min(view.width, view.x(stops[index]));
    context.fillStyle = inkOn(theme.classes[classIndex] ?? [128, 128, 128]);
    const name = app.info.classes[classIndex]?.name ?? "?";
    drawText(context, name, left + from + 6, y + lane.height / 2 + 0.5, to - from - 10);
  }
}

function drawName({ app, context, theme, left }, lane, y) {
  const isActive = lane.kind === "given" && lane.track === app.track;
  if (isActive && !app.info.exclusive) {
    context.fillStyle = theme.accent;
    context.fillRect(0, y, 3, lane.height);
  }
  if (lane.height <= BAND) return;
  context.font = lane.height < 13 ? TINY : lane.height < 16 ? SMALL : isActive ? `600 ${FONT}` : FONT;
  context.textBaseline = "middle";
  context.fillStyle = isActive ? theme.text : theme.faint;
  const indent = lane.kind === "probability" || lane.height < 13 ? 18 : 10;
  const room = left - NAME_MARGINS, middle = y + lane.height / 2 + 0.5, comma = lane.name.lastIndexOf(", ");
  if (!lane.model || comma < 0 || widthOf(context, lane.name) <= room)
    return drawText(context, lane.name, indent, middle, room);
  // Models of one name differ by their time, which must not be what is cut.
  const name = lane.name.slice(0, comma), time = lane.name.slice(comma + 2);
  if (lane.height < LEAST_FOR_TWO_LINES) return drawText(context, time, indent, middle, room);
  context.font = TINY;
  drawText(context, name, indent, middle - 4.5, room);
  drawText(context, time, indent, middle + 5, room);
}

/** Draw the selection, and what is dragged. */
export function drawSelection({ app, context, view, theme, left }, lanes, shift, from, to) {
  const { selection } = app;
  const lane = selection && lanes.find((each) => each.kind === "given" && each.track === selection.track);
  if (!lane) return;
  const x = Math.max(-2, view.x(selection.start)), end = Math.min(view.width + 2, view.x(selection.stop));
  if (end < 0 || x > view.width) return;
  context.save();
  context.beginPath();
  context.rect(left, from, view.width, to - from);
  context.clip();
  context.fillStyle = `color-mix(in srgb, ${theme.focus} 14%, transparent)`;
  context.fillRect(left + x, from, Math.max(1, end - x), to - from);
  context.strokeStyle = theme.focus;
  context.lineWidth = 2;
  context.strokeRect(left + x, lane.top + shift - 1, Math.max(2, end - x), lane.height + 2);
  context.restore();
}

/** Draw the marks of the video as diamonds around a height, each with a line down through the lanes. */
export function drawMarks({ app, context, view, theme, left }, y, bottom) {
  context.font = SMALL;
  context.textBaseline = "middle";
  const marks = app.labels?.marks ?? [];
  for (const [index, mark] of marks.entries()) {
    const x = view.x(mark.frame + 0.5);
    if (x < 0 || x > view.width) continue;
    context.fillStyle = cssOf([138, 99, 181]);
    context.beginPath();
    context.moveTo(left + x, y - 5);
    context.lineTo(left + x + 5, y);
    context.lineTo(left + x, y + 5);
    context.lineTo(left + x - 5, y);
    context.fill();
    context.globalAlpha = 0.35;
    context.fillRect(left + x - 0.5, y + 5, 1, bottom - y - 5);
    context.globalAlpha = 1;
    const next = marks[index + 1] ? view.x(marks[index + 1].frame) : view.width;
    context.fillStyle = theme.faint;
    drawText(context, mark.name || mark.text, left + x + 8, y, Math.min(140, next - x - 14));
  }
}
