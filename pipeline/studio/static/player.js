// See studio.js.

export function init(app) {}
export function playPause(app) {}
export function step(app, frames) {}
export function stepSeconds(app, seconds) {}
export function faster(app) {}
export function slower(app) {}
export function speed(app, rate) {}
