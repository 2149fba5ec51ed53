// What the timeline shows, in words: a line for everybody, and a table for screen readers.

import { make } from "./dom.js";
import { timeText } from "./timeline_ruler.js";
import { PRESENT, indexAfter, segmentAt, valueAt } from "./tracks.js";

const ROWS = 5; // of the table, before and after the playhead

/** The names of the classes at a frame of tracks: given labels or a model's. */
export function namesAt(app, tracks, frame) {
  const { classes, exclusive } = app.info;
  if (exclusive) {
    const value = valueAt(tracks[0], frame);
    return value === null ? "unlabelled" : classes[value].name;
  }
  const values = tracks.map((track) => valueAt(track, frame));
  const names = classes.filter((_, index) => values[index] === PRESENT).map(({ name }) => name);
  const unknown = values.filter((value) => value === null).length;
  if (unknown === classes.length) return "unlabelled";
  return (names.join(" and ") || "nothing") + (unknown ? ` (${unknown} unknown)` : "");
}

/** How sure a model is of its label at a frame, as " 62%"; nothing where that is not loaded. */
function sureness(app, model, frame) {
  if (!model.hasProbabilities || !app.info.exclusive) return "";
  const value = valueAt(model.tracks[0], frame);
  const tile = value === null ? null : model.tile(0, Math.floor(frame / 1024));
  if (!tile) return "";
  const bins = tile.length / (app.info.classes.length + 1);
  return ` ${Math.round((tile[value * bins + (frame % 1024)] / 255) * 100)}%`;
}

/** The line: "frame 120, 0:04.80 · given walking · model resting 62%". */
export function describe(app) {
  const { frame } = app;
  const parts = [`frame ${frame}, ${timeText(app.times[frame] - app.times[0], 0.01)}`];
  const { selection } = app;
  if (selection) {
    const lane = app.info.exclusive ? "" : ` of ${app.info.classes[selection.track].name}`;
    const seconds = (app.times[selection.stop] - app.times[selection.start]).toFixed(2);
    parts.push(`selected frames ${selection.start} to ${selection.stop - 1}${lane} (${seconds} s)`);
  }
  if (app.labels) parts.push(`${app.labels.owner} ${namesAt(app, app.labels.tracks, frame)}`);
  for (const model of app.predictions.slice(0, 2))
    parts.push(`${model.name} ${namesAt(app, model.tracks, frame)}${sureness(app, model, frame)}`);
  return parts.join(" · ");
}

/** The table of the segments of the active lane near the playhead. */
export function segmentTable(app) {
  const { classes, exclusive } = app.info;
  const track = app.labels.tracks[app.track];
  const nameOf = (value) => {
    if (value === null) return exclusive ? "unlabelled" : "unknown";
    return exclusive ? classes[value].name : value === PRESENT ? "present" : "absent";
  };
  const near = indexAfter(track, app.frame);
  const from = Math.max(0, near - ROWS), to = Math.min(track.starts.length, near + ROWS);
  const rows = [];
  for (let index = from; index < to; index++)
    rows.push({ start: track.starts[index], stop: track.stops[index], value: track.values[index] });
  const here = segmentAt(track, app.frame, app.labels.numFrames);
  if (here.value === null) rows.push(here);
  rows.sort((a, b) => a.start - b.start);
  const head = ["Label", "First frame", "Last frame", "From", "To"].map((name) => make("th", { scope: "col" }, name));
  const title = exclusive ? "Segments near the playhead" : `Segments of ${classes[app.track].name} near the playhead`;
  const time = (frame) => timeText(app.times[frame] - app.times[0], 0.01);
  const body = rows.map(({ start, stop, value }) => make("tr", { "aria-current": start === here.start ? "true" : null },
    ...[nameOf(value), String(start), String(stop - 1), time(start), time(stop)].map((text) => make("td", {}, text))));
  return [make("caption", {}, title), make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body)];
}
