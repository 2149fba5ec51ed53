// The commands that change labels. Each is one edit; where nothing can be done, a hint says why.

import { ABSENT, PRESENT, boundaryAfter, boundaryBefore, boundaryMove, isBoundary, segmentAt, segmentsIn }
  from "./tracks.js";

/** Say why nothing can be done, or what to do next. */
export function hint(app, text) {
  app.notice("hint", text);
}

/** What a command acts on: the selection, or else the segment of the active lane at the playhead. */
export function targetOf(app) {
  if (app.selection) return app.selection;
  return { track: app.track, ...app.labels.segmentAt(app.track, app.frame) };
}

/** Start the selection at the playhead; it keeps its end, if that comes later. */
export function selectFromHere(app) {
  const { frame, track, selection } = app, stop = selection?.track === track ? selection.stop : 0;
  app.select({ track, start: frame, stop: Math.max(stop, frame + 1) });
}

/** End the selection with the frame at the playhead; it keeps its start, if that comes earlier. */
export function selectToHere(app) {
  const { frame, track, selection } = app, start = selection?.track === track ? selection.start : frame;
  app.select({ track, start: Math.min(start, frame), stop: frame + 1 });
}

/** Give the selection a class, which ends the selection: the next key or click records again. */
export function relabel(app, classIndex) {
  const { start, stop } = app.selection;
  const [track, value] = app.info.exclusive ? [0, classIndex] : [classIndex, PRESENT];
  const name = `relabel as ${app.info.classes[classIndex].name}`;
  if (app.labels.edit(name, { paints: [[track, start, stop, value]] })) app.select(null);
}

export function erase(app) {
  const { track, start, stop } = targetOf(app);
  if (segmentsIn(app.labels.tracks[track], start, stop).every(({ value }) => value === null))
    return hint(app, "These frames have no label already.");
  app.labels.edit("erase", { paints: [[track, start, stop, null]] });
}

export function setAbsent(app) {
  if (app.info.exclusive) return hint(app, "Here each frame has one class: Delete makes frames unlabelled.");
  const { track, start, stop } = targetOf(app);
  app.labels.edit(`no ${app.info.classes[track].name}`, { paints: [[track, start, stop, ABSENT]] });
}

export function accept(app, isForAll = false) {
  const [model] = app.predictions;
  if (!model) return hint(app, "There are no labels of a model for this video.");
  const tracks = app.info.exclusive ? [0] : isForAll ? [...model.tracks.keys()] : [app.selection?.track ?? app.track];
  const paints = tracks.flatMap((track) => {
    const { start, stop } = app.selection ?? segmentAt(model.tracks[track], app.frame, app.labels.numFrames);
    const segments = segmentsIn(model.tracks[track], start, stop).filter(({ value }) => value !== null);
    return segments.map((segment) => [track, segment.start, segment.stop, segment.value]);
  });
  if (!paints.length) return hint(app, "The model has no label here.");
  paints.sort((a, b) => a[3] - b[3]); // what is present stands, whatever else of its group is absent
  app.labels.edit("accept the model's labels", { paints });
}

export function split(app) {
  const { frame, track } = app;
  const { start, value } = app.labels.segmentAt(track, frame);
  if (value === null) return hint(app, "There is no segment at the playhead to split.");
  if (start === frame) return hint(app, "The segment starts here already: move the playhead into it to split it.");
  app.labels.edit("split", { add_cuts: [[track, frame]] });
}

export function merge(app, direction) {
  const { track } = app, all = app.labels.tracks[track], { numFrames } = app.labels;
  const own = segmentAt(all, app.frame, numFrames);
  const edge = direction > 0 ? own.stop : own.start;
  if (own.value === null) return hint(app, "There is no segment at the playhead to merge.");
  if (edge <= 0 || edge >= numFrames) return hint(app, "There is no neighbour on this side.");
  const other = segmentAt(all, direction > 0 ? edge : edge - 1, numFrames);
  const paints = other.value === own.value ? [] : [[track, other.start, other.stop, own.value]];
  app.labels.edit("merge", { paints, remove_cuts: [[track, edge]] });
}

export function moveBoundaryHere(app) {
  const { frame, track } = app, all = app.labels.tracks[track];
  if (isBoundary(all, frame)) return hint(app, "A boundary is at the playhead already: move the playhead first.");
  const inside = (edge) => edge !== null && edge > 0 && edge < app.labels.numFrames;
  const near = [boundaryBefore(all, frame), boundaryAfter(all, frame)].filter(inside);
  if (!near.length) return hint(app, "This lane has no boundary that could be moved.");
  near.sort((a, b) => Math.abs(a - frame) - Math.abs(b - frame));
  const change = boundaryMove(all, track, near[0], frame, app.labels.numFrames);
  if (!change) return hint(app, "The boundary cannot be moved here.");
  const { paints, remove_cuts, add_cuts } = change;
  app.labels.edit("move a boundary", { paints, remove_cuts, add_cuts });
}

/** Give the frames without a label, of the selection or of the whole video, a value in some tracks. */
export function fill(app, tracks, value, name) {
  const { start, stop } = app.selection ?? { start: 0, stop: app.labels.numFrames };
  const paints = tracks.flatMap((track) =>
    segmentsIn(app.labels.tracks[track], start, stop)
      .filter((segment) => segment.value === null)
      .map((segment) => [track, segment.start, segment.stop, value]));
  if (!paints.length) return hint(app, "All of these frames are labelled already.");
  app.labels.edit(`fill with ${name}`, { paints });
}

/** How many frames of the selection, or of the whole video, have no label in a track. */
export function countUnlabelled(app, track) {
  const { start, stop } = app.selection ?? { start: 0, stop: app.labels.numFrames };
  const free = segmentsIn(app.labels.tracks[track], start, stop).filter(({ value }) => value === null);
  return free.reduce((sum, segment) => sum + segment.stop - segment.start, 0);
}

export function addMark(app, name = "mark", text = "") {
  app.labels.edit("add a mark", { add_marks: [{ frame: app.frame, name, text }] });
}

