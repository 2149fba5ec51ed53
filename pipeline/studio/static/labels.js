// The labels of the open video as the server has them, with the edits that are under way applied already.

import * as api from "./api.js";
import { counted } from "./dom.js";
import { ABSENT, PRESENT, cut, painted, segmentAt, trackOf, uncut, valueAt } from "./tracks.js";

const SECONDS_TO_RETRY = 2;
const WHAT_TO_DO = "Correct the file, or move it out of the folder: the page then notices that by itself.";
const ADOPTED = "The label file was changed outside the studio: this is what it has now. Undo brings back what was here.";

/**
 * The labels of one video. `tracks` and `marks` are read by all parts and changed by `edit`, `undo` and `redo` alone.
 * Edits are sent in their order, one at a time; each is seen on the page at once.
 */
export class LabelMirror {
  #app;
  #queue = []; // what is not confirmed yet, in order: { path, name, change or null }
  #isSending = false;

  constructor(app, id, answer) {
    this.#app = app;
    this.id = id;
    this.failure = null; // why edits are not saved
    this.#take(answer);
  }

  /** How many edits are not confirmed by the server. */
  get pending() {
    return this.#queue.length;
  }

  /** Why nothing can be changed here; null where it can. */
  get readOnly() {
    if (this.#app.info.read_only) return this.#app.info.read_only;
    return this.problems[0] ?? null;
  }

  /** Whose labels they are, in a word. */
  get owner() {
    return this.isOfModel ? "model" : "given";
  }

  valueAt(track, frame) {
    return valueAt(this.tracks[track], frame);
  }

  segmentAt(track, frame) {
    return segmentAt(this.tracks[track], frame, this.numFrames);
  }

  /**
   * Change labels or marks; one call is one step of undo.
   *
   * `change` has what the server's edits have: paints [[track, start, stop, value or null]...], add_cuts and
   * remove_cuts [[track, frame]...], add_marks [{ frame, name, text }...], remove_marks [id...], change_marks.
   * Returns whether it was taken.
   */
  edit(name, change) {
    if (this.readOnly) {
      this.refuse();
      return false;
    }
    this.#app.dropNotice("labels");
    this.#queue.push({ path: "edits", name, change });
    this.#apply(change);
    this.#changed();
    this.#send();
    return true;
  }

  /** Add a track for each class that was added, until the server's are there. */
  addTracks() {
    const { exclusive, classes } = this.#app.info, numTracks = exclusive ? 1 : classes.length;
    while (this.tracks.length < numTracks) this.tracks.push(trackOf({ starts: [], stops: [], values: [] }));
  }

  /** Say why nothing can be changed. */
  refuse() {
    if (this.problems.length) showNotices(this.#app);
    else this.#app.notice("labels", `Nothing was changed: ${this.readOnly}.`, { error: true });
  }

  /** Take back the latest edit. */
  undo() {
    this.#step("undo", this.canUndo);
  }

  /** Make again the edit that was taken back last. */
  redo() {
    this.#step("redo", this.canRedo);
  }

  /** Choose which version of the labels is kept: "mine" or "theirs". */
  async resolve(choice) {
    const answer = await this.#app.attempt(() => api.post(`/api/videos/${this.id}/conflict`, { choice }));
    if (answer?.tracks) this.#take(answer);
    else await this.reload();
    this.#changed();
    showNotices(this.#app);
  }

  /** Take the server's labels. */
  async reload() {
    const answer = await api.get(`/api/videos/${this.id}/labels`);
    if (this.pending) return; // its answer is newer
    if (answer.is_adopted && answer.version !== this.version) this.#app.notice("adopted", ADOPTED);
    this.#take(answer);
    this.#changed();
  }

  #step(path, isPossible) {
    if (this.#app.info.read_only || (!isPossible && !this.pending)) return;
    this.#queue.push({ path, name: path, change: null });
    this.#changed();
    this.#send();
  }

  #take(answer) {
    this.#takeState(answer);
    this.numFrames = answer.num_frames;
    this.tracks = answer.tracks.map(trackOf);
    this.problems = answer.problems;
    this.notices = answer.notices;
    this.source = answer.source;
    this.isOfModel = answer.is_of_model;
    for (const { change } of this.#queue) if (change) this.#apply(change);
  }

  #takeState(answer) {
    this.version = answer.version;
    this.canUndo = answer.can_undo;
    this.canRedo = answer.can_redo;
    this.undoName = answer.undo_name;
    this.redoName = answer.redo_name;
    this.conflict = answer.conflict && { ...answer.conflict, tracks: answer.conflict.tracks.map(trackOf) };
    if (answer.marks) this.marks = answer.marks; // the server names new ones
  }

  #apply(change) {
    const tracks = this.tracks;
    for (const [track, start, stop, value] of withGroups(this.#app.info, change.paints ?? []))
      tracks[track] = painted(tracks[track], start, stop, value);
    for (const [track, frame] of change.remove_cuts ?? []) tracks[track] = uncut(tracks[track], frame);
    for (const [track, frame] of change.add_cuts ?? []) tracks[track] = cut(tracks[track], frame);
    this.#applyMarks(change);
  }

  #applyMarks(change) {
    const removed = new Set(change.remove_marks ?? []);
    const changed = new Map((change.change_marks ?? []).map((mark) => [mark.id, mark]));
    this.marks = this.marks.filter((mark) => !removed.has(mark.id)).map((mark) => changed.get(mark.id) ?? mark);
    for (const mark of change.add_marks ?? []) this.marks.push({ id: null, ...mark });
    this.marks.sort((a, b) => a.frame - b.frame);
  }

  async #send() {
    if (this.#isSending) return;
    this.#isSending = true;
    while (this.#queue.length) {
      const { path, name, change } = this.#queue[0];
      try {
        const body = change ? { version: this.version, name, ...change } : { version: this.version };
        const answer = await api.post(`/api/videos/${this.id}/${path}`, body);
        this.#queue.shift();
        this.failure = null;
        this.#confirm(answer);
      } catch (error) {
        if (!(await this.#recover(error))) break;
      }
      this.#changed();
    }
    this.#isSending = false;
    this.#changed();
  }

  #confirm(answer) {
    if (answer.tracks) this.#take(answer);
    else {
      this.#takeState(answer);
      if (answer.marks) for (const { change } of this.#queue) if (change) this.#applyMarks(change);
    }
    if (answer.focus && this.#app.labels === this) showFrames(this.#app, answer.focus);
  }

  /** Deal with an edit that was not taken; returns whether the next one may be sent. */
  async #recover(error) {
    if (!(error instanceof api.RefusedError)) throw error;
    if (error.status === 0 || error.status >= 500) {
      this.failure = error.message;
      this.#changed();
      await new Promise((resolve) => setTimeout(resolve, SECONDS_TO_RETRY * 1000));
      return true;
    }
    if (error.isOfEarlierStudio) {
      this.failure = "the studio was started again";
      this.#app.tellRestart();
      return false;
    }
    const names = this.#queue.map(({ name }) => name);
    this.#queue = [];
    this.failure = null;
    const lost = `${counted(names.length, "change")} of this page (${[...new Set(names)].join(", ")})`;
    const shown = "The page shows what is saved.";
    this.#app.notice("labels", `${lost} could not be made: ${sentence(error.message)} ${shown}`, { error: true });
    if (error.content.labels) this.#take(error.content.labels);
    else await this.#app.attempt(() => this.reload(), "labels-reload");
    return true;
  }

  #changed() {
    if (this.#app.labels === this) this.#app.emit("labels");
    showSaved(this.#app, this);
  }
}

/** Paints as they are carried out: where a class becomes present, the others of its group become absent. */
export function withGroups({ exclusive, classes }, paints) {
  if (exclusive) return paints;
  return paints.flatMap((paint) => {
    const [track, start, stop, value] = paint;
    if (value !== PRESENT) return [paint];
    const { group } = classes[track];
    const others = [...classes.keys()].filter((other) => other !== track && classes[other].group === group);
    return [paint, ...others.map((other) => [other, start, stop, ABSENT])];
  });
}

function sentence(text) {
  return /[.?!]$/.test(text) ? text : `${text}.`;
}

function showFrames(app, [start, stop]) {
  if (app.frame < start || app.frame >= stop) app.setFrame(start, "labels");
}

const unsaved = new Set(); // mirrors of this page with edits that are not confirmed, of videos left meanwhile too

function showSaved(app, mirror) {
  if (mirror.pending) unsaved.add(mirror);
  else unsaved.delete(mirror);
  const line = document.getElementById("saved");
  const failed = [...unsaved].find(({ failure }) => failure);
  const state = failed ? "failed" : unsaved.size ? "saving" : "saved";
  const texts = { failed: `Not saved: ${failed?.failure}`, saving: "Saving…", saved: "All changes saved" };
  let text = texts[state];
  if (state === "saved" && app.labels?.readOnly) text = "Read-only";
  if (line.textContent !== text) line.textContent = text;
  line.dataset.state = state;
}

function showNotices(app) {
  const mirror = app.labels;
  const show = (key, text) => (text ? app.notice(key, text, { error: true }) : app.dropNotice(key));
  const problems = mirror.problems.map(sentence).join(" ");
  show("labels-problem", problems && `These labels cannot be changed: ${problems} ${WHAT_TO_DO}`);
  show("labels-notice", mirror.notices.map(sentence).join(" "));
  app.dropNotice("conflict");
  if (!mirror.conflict) return;
  const text = `${mirror.conflict.source || "The label file"} was changed by another program while this page has` +
    " changes that it lacks. The timeline shows both: “given” has those of this page, “theirs” those of the file.";
  app.notice("conflict", text, {
    error: true,
    actions: app.info.read_only ? [] : [
      ["Keep mine", () => mirror.resolve("mine")],
      ["Take theirs", () => mirror.resolve("theirs")],
    ],
  });
}

async function load(app) {
  const { id } = app.video;
  for (const key of ["labels", "labels-problem", "labels-notice", "conflict"]) app.dropNotice(key);
  const answer = await app.attempt(() => api.get(`/api/videos/${id}/labels`), "labels-load");
  if (!answer || app.video.id !== id) return;
  app.labels = new LabelMirror(app, id, answer);
  app.emit("labels");
  showSaved(app, app.labels);
  showNotices(app);
}

let isReloading = false;

let isShared = false; // whether the user was told that the video is open in another page too

async function compare(app) {
  const wasShared = isShared;
  isShared = app.status.other_pages > 0 && !app.info.read_only;
  if (!isShared) app.dropNotice("other-pages");
  else if (!wasShared)
    app.notice("other-pages", "This video is open in another page too. A change made there appears here.");
  const mirror = app.labels, version = app.status.labels?.[mirror?.id];
  if (!mirror || version === undefined || mirror.pending || isReloading) return;
  if (version !== mirror.version) await reload(app);
}

/** Take the server's labels of the open video, which somebody else has changed. */
async function reload(app) {
  const mirror = app.labels;
  isReloading = true;
  await app.attempt(async () => {
    await mirror.reload();
    if (app.labels === mirror) showNotices(app);
  }, "labels-load");
  isReloading = false;
}

let shownRow = "";

/** Look whether the list of videos tells of a conflict, or of labels that cannot be written. */
async function compareRow(app, rows) {
  const row = rows.find(({ id }) => id === app.labels?.id);
  if (!row) return;
  const state = JSON.stringify([row.id, row.has_conflict, row.problems]);
  const isNew = shownRow !== state;
  shownRow = state;
  if (isNew && !app.labels.pending && !isReloading) await reload(app);
}

export function init(app) {
  app.on("video", () => load(app));
  app.on("status", () => compare(app));
  app.on("videos", (rows) => compareRow(app, rows));
  addEventListener("beforeunload", (event) => {
    if (unsaved.size) event.preventDefault();
  });
}
