// Jumps of the playhead: to boundaries, to what the model doubts, and to where it and the given labels differ.

import { hint } from "./changes.js";
import { boundaryAfter, boundaryBefore, segmentAt } from "./tracks.js";

const DOUBT = 128; // of 255: the model expects to be wrong in half of such frames
const COARSE = 3, BINS = 1024; // the level of detail that is searched first; the bins of a tile
const SECONDS_TO_LOAD = 10;

function sideOf(direction) {
  return direction > 0 ? "after" : "before";
}

export function toBoundary(app, direction) {
  const tracks = [app.labels?.tracks[app.track], app.predictions[0]?.tracks[app.track]];
  const track = tracks.find((each) => each?.starts.length);
  const { num_frames: numFrames } = app.video;
  const found = track && (direction > 0 ? boundaryAfter(track, app.frame) : boundaryBefore(track, app.frame));
  app.setFrame(found ?? (direction > 0 ? numFrames - 1 : 0), "jump");
}

/** The first frame of the next stretch, in a direction, where two tracks have different labels; null for none. */
export function nextDifference(given, model, frame, direction, numFrames) {
  const pieceAt = (where) => {
    const a = segmentAt(given, where, numFrames), b = segmentAt(model, where, numFrames);
    const differs = a.value !== null && b.value !== null && a.value !== b.value;
    return { start: Math.max(a.start, b.start), stop: Math.min(a.stop, b.stop), differs };
  };
  let piece = pieceAt(frame), isOutside = !piece.differs;
  for (;;) {
    const where = direction > 0 ? piece.stop : piece.start - 1;
    if (where < 0 || where >= numFrames) return null;
    piece = pieceAt(where);
    if (!piece.differs) isOutside = true;
    else if (isOutside) break;
  }
  if (direction < 0)
    while (piece.start > 0 && pieceAt(piece.start - 1).differs) piece = pieceAt(piece.start - 1);
  return piece.start;
}

export function toDifference(app, direction) {
  const [model] = app.predictions;
  if (!model || !app.labels) return hint(app, "There are no labels of a model for this video.");
  let best = null;
  for (const [track, given] of app.labels.tracks.entries()) {
    const frame = nextDifference(given, model.tracks[track], app.frame, direction, app.labels.numFrames);
    if (frame !== null && (!best || (frame - best.frame) * direction < 0)) best = { frame, track };
  }
  if (!best) return hint(app, `The model and the given labels agree in all frames ${sideOf(direction)} this one.`);
  app.timeline.activate({ track: best.track });
  app.setFrame(best.frame, "jump");
}

async function loaded(app, model, level, index) {
  const end = Date.now() + SECONDS_TO_LOAD * 1000;
  for (;;) {
    const tile = model.tile(level, index);
    if (tile) return tile;
    if (Date.now() > end) throw new Error("The model's uncertainty could not be loaded.");
    await new Promise((resolve) => {
      app.addEventListener("predictions", resolve, { once: true });
      setTimeout(resolve, 300);
    });
  }
}

/** The next frame in a direction whose doubt is high (`isWanted`) or is not; null for none. */
async function search(app, model, frame, direction, isWanted) {
  const numRows = app.info.classes.length + 1, numFrames = app.video.num_frames;
  const coarse = Math.min(COARSE, model.numLevels - 1), size = 4 ** coarse;
  const doubtAt = async (level, bin) => {
    const tile = await loaded(app, model, level, Math.floor(bin / BINS));
    return tile[(numRows - 1) * (tile.length / numRows) + (bin % BINS)];
  };
  while (frame >= 0 && frame < numFrames) {
    const bin = Math.floor(frame / size);
    if (isWanted && (await doubtAt(coarse, bin)) < DOUBT) {
      frame = direction > 0 ? (bin + 1) * size : bin * size - 1;
      continue;
    }
    if ((await doubtAt(0, frame)) >= DOUBT === isWanted) return frame;
    frame += direction;
  }
  return null;
}

export async function toDoubt(app, direction) {
  const model = app.predictions.find(({ hasProbabilities }) => hasProbabilities);
  if (!model) return hint(app, "There are no probabilities of a model for this video.");
  const { video } = app;
  await app.attempt(async () => {
    const outside = await search(app, model, app.frame, direction, false);
    const found = outside === null ? null : await search(app, model, outside, direction, true);
    if (app.video !== video) return;
    if (found === null) return hint(app, `The model is sure of all frames ${sideOf(direction)} this one.`);
    const start = direction > 0 ? found : ((await search(app, model, found, -1, false)) ?? -1) + 1;
    app.setFrame(start, "jump");
  }, "doubt");
}
