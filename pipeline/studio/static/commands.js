// All commands of the page: their names, keys, and what they do. Handling, buttons and the sheet of keys read it.

import * as changes from "./changes.js";
import { toBoundary, toDifference, toDoubt } from "./jumps.js";
import * as player from "./player.js";
import { commands as queueCommands } from "./queue.js";

/**
 * A command: `keys` as KeyboardEvent.key has them, with "Ctrl+" or "Shift+" before; `button` its short name on a
 * button, if it has one; `changes` whether it changes labels; `overlapping` whether it needs classes that overlap.
 */
const command = (id, group, name, keys, run, more = {}) => ({ id, group, name, keys, run, ...more });
const go = (id, name, keys, run, button) => command(id, "Going", name, keys, run, { button });
const change = (id, name, keys, run, button, more = {}) =>
  command(id, "Labels", name, keys, run, { button, changes: true, ...more });

/** The group of the commands that work in all views. */
export const PAGE = "This page";

const FOR_LANES = { overlapping: true };

export const COMMANDS = [
  command("play", "Playing", "Play or pause", [" "], player.playPause),
  command("next-frame", "Playing", "One frame forward", ["ArrowRight"], (app) => player.step(app, 1)),
  command("previous-frame", "Playing", "One frame back", ["ArrowLeft"], (app) => player.step(app, -1)),
  command("next-second", "Playing", "One second forward", ["Shift+ArrowRight"], (app) => player.stepSeconds(app, 1)),
  command("previous-second", "Playing", "One second back", ["Shift+ArrowLeft"], (app) => player.stepSeconds(app, -1)),
  command("slower", "Playing", "Slower", ["["], player.slower),
  command("faster", "Playing", "Faster", ["]"], player.faster),
  command("first-frame", "Going", "The first frame", ["Home"], (app) => app.setFrame(0, "jump")),
  command("last-frame", "Going", "The last frame", ["End"], (app) => app.setFrame(app.video.num_frames - 1, "jump")),
  go("previous-boundary", "The previous boundary", ["w"], (app) => toBoundary(app, -1), "◂ boundary"),
  go("next-boundary", "The next boundary", ["e"], (app) => toBoundary(app, 1), "boundary ▸"),
  go("previous-doubt", "The previous stretch that the model doubts", ["Shift+N"], (app) => toDoubt(app, -1), "◂ doubt"),
  go("next-doubt", "The next stretch that the model doubts", ["n"], (app) => toDoubt(app, 1), "doubt ▸"),
  go("previous-difference", "The previous frames where the model and the given labels differ", ["Shift+U"],
    (app) => toDifference(app, -1), "◂ difference"),
  go("next-difference", "The next frames where the model and the given labels differ", ["u"],
    (app) => toDifference(app, 1), "difference ▸"),
  command("go-to", "Going", "Go to a frame or a time", ["Shift+J"], (app) => app.askPlace()),
  command("next-video", "Going", "The next video of the list", ["Shift+PageDown"], (app) => app.videoList.step(1)),
  command("previous-video", "Going", "The previous video of the list", ["Shift+PageUp"],
    (app) => app.videoList.step(-1)),
  command("lane-up", "Timeline", "The lane above", ["ArrowUp"], (app) => app.timeline.step(-1), FOR_LANES),
  command("lane-down", "Timeline", "The lane below", ["ArrowDown"], (app) => app.timeline.step(1), FOR_LANES),
  command("zoom-in", "Timeline", "Zoom in", ["+", "="], (app) => app.timeline.zoom(1.5)),
  command("zoom-out", "Timeline", "Zoom out", ["-"], (app) => app.timeline.zoom(1 / 1.5)),
  command("zoom-fit", "Timeline", "Show the selection, or the whole video", ["z"], (app) => app.timeline.zoomToFit()),
  command("select", "Labels", "Select the segment at the playhead", ["q"], (app) => {
    const { start, stop } = app.labels.segmentAt(app.track, app.frame);
    app.select({ track: app.track, start, stop });
  }, { button: "select" }),
  command("select-from", "Labels", "Start the selection at the playhead", ["i"], changes.selectFromHere),
  command("select-to", "Labels", "End the selection with the frame at the playhead", ["o"], changes.selectToHere),
  command("cancel", "Labels", "Give up the recording, what is dragged, or the selection", ["Escape"], (app) => {
    if (!app.recorder.cancel() && !app.timeline.pointer.cancel()) app.select(null);
  }),
  change("accept", "Accept the model's segment at the playhead, or its labels in the selection", ["y"],
    (app) => changes.accept(app), "accept model"),
  change("accept-all", "The same in all lanes", ["Shift+Y"], (app) => changes.accept(app, true), "accept all",
    FOR_LANES),
  change("erase", "Make the selection or the segment unlabelled", ["Delete", "Backspace"], changes.erase, "erase"),
  change("absent", "The class is not there in the selection or the segment", ["x"], changes.setAbsent, "not there",
    FOR_LANES),
  change("split", "Split the segment before the frame at the playhead", ["s"], changes.split, "split"),
  change("merge-next", "Merge the segment with the next one", ["g"], (app) => changes.merge(app, 1), "merge ▸"),
  change("merge-previous", "Merge it with the previous one", ["Shift+G"], (app) => changes.merge(app, -1), "◂ merge"),
  change("boundary-here", "Move the nearest boundary to the playhead", ["b"], changes.moveBoundaryHere,
    "boundary here"),
  change("fill", "Fill the unlabelled frames of the selection or of the video", ["f"], (app) => app.askFill(),
    "fill…"),
  change("mark", "Add a point mark", ["m"], (app) => changes.addMark(app), "mark"),
  change("note", "Add a note", ["Shift+M"], (app) => app.writeNote(), "note…"),
  change("undo", "Undo", ["Ctrl+z"], (app) => app.labels.undo(), "undo"),
  change("redo", "Redo", ["Ctrl+y", "Ctrl+Shift+Z"], (app) => app.labels.redo(), "redo"),
  ...queueCommands.map(({ id, name, keys, run }) => command(id, "Queue", name, keys, run)),
  command("label-view", PAGE, "Label", ["Shift+L"], (app) => app.show("watch")),
  command("train-view", PAGE, "Train", ["Shift+T"], (app) => app.show("train")),
  command("results-view", PAGE, "Results", ["Shift+R"], (app) => app.show("results")),
  command("help", PAGE, "Show all keys", ["?"], (app) => app.showKeys()),
];

/** Whether a command is of use in this data set. */
export function isOffered(app, { overlapping, changes: isChange }) {
  return !(overlapping && app.info.exclusive) && !(isChange && app.info.read_only);
}

/** Run a command, where a video and, for what needs them, its labels are there. */
export function runCommand(app, { group, run }) {
  if (group !== PAGE && !app.video) return;
  if ((group === "Labels" && !app.labels) || (group === "Timeline" && !app.timeline)) return;
  app.dropPassingNotices();
  run(app);
}

const KEY_NAMES = { " ": "Space", ArrowRight: "→", ArrowLeft: "←", ArrowUp: "↑", ArrowDown: "↓", Delete: "Del",
  Escape: "Esc", Backspace: "⌫", Enter: "↵" };

/** A key as it is shown: "Shift+→"; on a button "⇧→". */
export function keyName(key, isShort = false) {
  const parts = key.length > 1 && key !== "+" ? key.split("+") : [key];
  const name = parts.map((part) => KEY_NAMES[part] ?? (part.length === 1 ? part.toUpperCase() : part)).join("+");
  return isShort ? name.replace("Shift+", "⇧") : name;
}
