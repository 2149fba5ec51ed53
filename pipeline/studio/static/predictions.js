// See studio.js.

export function init(app) {}
