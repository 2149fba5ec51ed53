// The small forms: they add a class, change the keys of classes, and ask for a frame to go to.

import * as api from "./api.js";
import { make } from "./dom.js";
import { COMMANDS } from "./commands.js";

/** A dialog with a form: `save` gets the form's data; what it throws is shown, and the dialog stays. */
function ask(title, fields, saveName, save) {
  const problem = make("p", { class: "error", role: "alert" });
  const form = make("form", { method: "dialog" }, ...fields, problem,
    make("div", { class: "row" }, make("button", { class: "main", type: "submit" }, saveName),
      make("button", { type: "button", onclick: () => dialog.close() }, "Cancel")));
  const dialog = make("dialog", { class: "studio-dialog", "aria-labelledby": "form-title" },
    make("h2", { id: "form-title" }, title), form);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.textContent = "";
    try {
      await save(new FormData(form));
      dialog.close();
    } catch (error) {
      problem.textContent = error.message;
      if (!(error instanceof api.RefusedError)) console.error(error);
    }
  });
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

async function takeInfo(app) {
  app.takeClasses(await api.get("/api/studio"));
  if (app.labels) await app.labels.reload();
}

/** Ask for a new class. */
export function addClassForm(app) {
  const isFirst = !app.info.classes?.length, overlaps = !isFirst && !app.info.exclusive;
  const name = make("label", {}, "Name",
    make("input", { name: "name", required: true, autocomplete: "off", maxlength: "100" }));
  const group = make("label", {}, "Group: classes of one group exclude each other (may be empty)",
    make("input", { name: "group", autocomplete: "off", list: "class-groups" }));
  const groups = [...new Set((app.info.classes ?? []).map((each) => each.group).filter(Boolean))];
  const known = make("datalist", { id: "class-groups" }, ...groups.map((value) => make("option", { value })));
  const may = make("label", { class: "check" }, make("input", { type: "checkbox", name: "overlapping" }),
    "Classes may overlap: a frame may have several");
  const fields = [name, ...(overlaps ? [group, known] : []), ...(isFirst ? [may] : [])];
  ask("Add a class", fields, "Add", async (data) => {
    const body = { name: data.get("name").trim() };
    if (overlaps && data.get("group").trim()) body.group = data.get("group").trim();
    if (isFirst) body.overlapping = data.get("overlapping") !== null;
    await api.post("/api/classes", body);
    await takeInfo(app);
  });
}

/** Ask for the keys of all classes. */
export function showClassKeys(app) {
  const taken = new Map(COMMANDS.flatMap(({ keys, name }) => keys.map((key) => [key.toLowerCase(), name])));
  const fields = app.info.classes.map(({ name, key }, index) => make("label", { class: "key" }, make("span", {}, name),
    make("input", { name: `key-${index}`, value: key ?? "", maxlength: "1", size: "2", autocomplete: "off" })));
  ask("Keys of the classes", [make("div", { class: "fields" }, ...fields)], "Save", async (data) => {
    const keys = {}, used = new Map();
    for (const [index, { name }] of app.info.classes.entries()) {
      const key = data.get(`key-${index}`).toLowerCase();
      if (!key) continue;
      const fault = taken.has(key) ? `is a key of the page: ${taken.get(key)}.`
        : used.has(key) ? `is the key of ${used.get(key)} and of ${name}.` : null;
      if (fault) throw new api.RefusedError(422, { error: `“${key}” ${fault}` });
      used.set(key, name);
      keys[name] = key;
    }
    await api.post("/api/keys", { keys });
    await takeInfo(app);
  });
}

/** Ask for a frame, by its number or as a time such as 1:02.5, and go there. */
export function askPlace(app) {
  const last = app.video.num_frames - 1;
  const field = make("label", {}, `Frame (0 to ${last.toLocaleString("en")}), or time (such as 1:02.5)`,
    make("input", { name: "place", required: true, autocomplete: "off" }));
  ask("Go to", [field], "Go", async (data) => {
    const text = data.get("place").trim();
    if (!/^(\d+|(\d+:){1,2}\d+(\.\d+)?)$/.test(text))
      throw new api.RefusedError(422, { error: `“${text}” is neither a frame such as 250 nor a time such as 1:02.5.` });
    const seconds = text.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
    app.setFrame(text.includes(":") ? app.frameAt(app.times[0] + seconds) : Number(text), "jump");
  });
}
