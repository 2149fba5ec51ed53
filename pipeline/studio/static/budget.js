// Time budgets: how the labelled time is divided among the classes.

import * as api from "./api.js";
import { clock, counted, make } from "./dom.js";
import { className, sortableTable } from "./result_tables.js";

const MAX_BARS = 40; // videos

/** A bar that the classes divide; where they overlap, one for each class, as long as its share. */
function bar(app, name, classes) {
  const label = classes.filter(({ seconds }) => seconds).map((each) => `${each.name} ${(each.share * 100).toFixed(0)}%`).join(", ");
  const parts = classes.map((each, index) => {
    const part = make("span", { title: `${each.name}: ${clock(each.seconds, 1)}` });
    part.style.background = app.info.classes[index]?.color ?? "var(--faint)";
    part.style.width = `${(each.share ?? 0) * 100}%`;
    return part;
  });
  const kind = app.info.exclusive ? "bar" : "bar overlapping";
  return make("div", { class: "budget-row" }, make("span", { class: "stem", title: name }, name),
    make("span", { class: kind, role: "img", "aria-label": `${name}: ${label}` }, ...parts));
}

function table(app, classes) {
  const seconds = (key) => (row) => (row[key] === null ? "–" : clock(row[key], 1));
  const column = (name, key, show, title = name) => ({ name, title, value: (row) => row[key], show });
  return sortableTable("Time budget of all videos together", [
    column("class", "name", (row) => className(app, row.index, row.name)),
    column("time", "seconds", seconds("seconds"), "total time of its bouts"),
    column("share", "share", (row) => (row.share === null ? "–" : `${(row.share * 100).toFixed(1)}%`), "share of the labelled time"),
    column("bouts", "bouts", (row) => row.bouts.toLocaleString("en"), "number of bouts"),
    column("per min", "per_minute", (row) => row.per_minute?.toFixed(2) ?? "–", "bouts for each minute of labelled time"),
    column("mean bout", "mean_seconds", seconds("mean_seconds"), "mean length of a bout"),
    column("median bout", "median_seconds", seconds("median_seconds"), "median length of a bout"),
    column("latency", "latency_seconds", seconds("latency_seconds"), "time until the first bout; the mean over the videos that have one"),
  ], classes.map((each, index) => ({ ...each, index })));
}

/** Show the time budget of a source ("given", or the id of a model) in an element. */
export async function showBudget(app, content, source) {
  const answer = await app.attempt(() => api.get(`/api/budget?source=${encodeURIComponent(source)}`), "budget");
  if (!answer) return;
  if (!answer.num_videos) {
    content.replaceChildren(make("p", { class: "empty" }, source === "given"
      ? "No video has labels yet: give some in the Label view."
      : "The model has not labelled a video yet: choose “Label … more videos” in the Label view."));
    return;
  }
  const bars = answer.videos.slice(0, MAX_BARS).map((video) => bar(app, video.stem, video.classes));
  const more = answer.videos.length > MAX_BARS ? make("p", { class: "faint" }, `and ${counted(answer.videos.length - MAX_BARS, "more video")}`) : null;
  const leftOut = answer.left_out.map(({ stem, reason }) => make("p", { class: "warning" }, `${stem} is left out: ${reason}`));
  content.replaceChildren(...leftOut, make("div", { class: "bars" }, bar(app, "all videos", answer.classes), ...bars), ...(more ? [more] : []), table(app, answer.classes));
}
