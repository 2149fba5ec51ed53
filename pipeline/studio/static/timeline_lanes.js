// Which lanes the timeline has, from top to bottom.

const GIVEN = 22, CLASS = 18, MODEL = 20, THIN = 12, HEAT = 13, BAND = 7, GAP = 2, GROUP_GAP = 5;

/**
 * The lanes: { kind, name, top, height, track, classIndex, model, isActive }, kinds "given", "theirs" (the other
 * version of a conflict), "model", "probability" and "uncertainty".
 */
export function lanesOf(app, shown) {
  const lanes = (app.info.exclusive ? exclusiveLanes : overlappingLanes)(app, shown);
  let top = 0;
  for (const lane of lanes) {
    top += lane.startsGroup ? GROUP_GAP : GAP;
    lane.top = top;
    top += lane.height;
  }
  return { lanes, height: top + GROUP_GAP };
}

function modelsOf(app) {
  return app.predictions.slice(0, 2);
}

function exclusiveLanes(app, shown) {
  const lanes = [{ kind: "given", name: app.labels?.owner ?? "given", height: GIVEN, track: 0, startsGroup: true }];
  if (app.labels?.conflict) lanes.push({ kind: "theirs", name: "theirs", height: GIVEN, track: 0 });
  for (const model of modelsOf(app)) {
    lanes.push({ kind: "model", name: model.name, height: MODEL, track: 0, model, startsGroup: true });
    if (!model.hasProbabilities) continue;
    if (shown.uncertainty) lanes.push({ kind: "uncertainty", name: "uncertainty", height: HEAT, model });
    if (!shown.probabilities) continue;
    for (const [classIndex, { name }] of app.info.classes.entries())
      lanes.push({ kind: "probability", name, height: HEAT, model, classIndex });
  }
  return lanes;
}

function overlappingLanes(app, shown) {
  const lanes = [];
  if (shown.uncertainty)
    for (const model of modelsOf(app))
      if (model.hasProbabilities)
        lanes.push({ kind: "uncertainty", name: `unsure: ${model.name}`, height: HEAT, model });
  for (const [track, { name }] of app.info.classes.entries()) {
    lanes.push({ kind: "given", name, height: CLASS, track, startsGroup: true });
    if (app.labels?.conflict) lanes.push({ kind: "theirs", name: "theirs", height: THIN, track });
    for (const model of modelsOf(app)) {
      lanes.push({ kind: "model", name: model.name, height: THIN, track, model });
      if (shown.probabilities && model.hasProbabilities)
        lanes.push({ kind: "probability", name, height: BAND, model, classIndex: track });
    }
  }
  return lanes;
}

/** The track that a lane is drawn from; null where there is none yet. */
export function trackOfLane(app, lane) {
  if (lane.kind === "given") return app.labels?.tracks[lane.track] ?? null;
  if (lane.kind === "theirs") return app.labels?.conflict?.tracks[lane.track] ?? null;
  return lane.model?.tracks[lane.track] ?? null;
}
