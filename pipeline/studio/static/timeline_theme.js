// The colours of the timeline: those of the page's style, and of the classes.

const dark = matchMedia("(prefers-color-scheme: dark)");
const DARK_BACKGROUND = [66, 73, 83]; // the background class's pale grey would glare on a dark page

/** Read the colours: `themeOf(app)` has those of the page as CSS, and `classes`, [red, green, blue] of each class. */
export function themeOf(app) {
  const style = getComputedStyle(document.documentElement);
  const names = ["page", "card", "text", "faint", "line", "accent", "uncertain", "disagrees", "focus"];
  const theme = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  theme.backgroundIndex = (app.info.classes ?? []).findIndex(({ name }) => name === app.info.background);
  theme.classes = (app.info.classes ?? []).map(({ color }, index) =>
    dark.matches && index === theme.backgroundIndex ? DARK_BACKGROUND : bytesOf(color));
  theme.empty = bytesOf(theme.page);
  theme.uncertainBytes = bytesOf(theme.uncertain);
  return theme;
}

/** Call a function when the user's system changes between light and dark. */
export function onThemeChange(listener) {
  dark.addEventListener("change", listener);
}

/** "#rgb" or "#rrggbb" as [red, green, blue]. */
export function bytesOf(color) {
  const digits = color.length === 4 ? [...color.slice(1)].map((digit) => digit + digit).join("") : color.slice(1);
  return [0, 2, 4].map((at) => parseInt(digits.slice(at, at + 2), 16) || 0);
}

export function cssOf([red, green, blue], alpha = 1) {
  return `rgb(${red} ${green} ${blue} / ${alpha})`;
}

/** The colour of text on a colour. */
export function inkOn([red, green, blue]) {
  return 0.299 * red + 0.587 * green + 0.114 * blue > 118 ? "#15181c" : "#ffffff";
}
