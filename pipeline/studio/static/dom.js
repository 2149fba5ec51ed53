// Making elements. Text is always set as text, so that names from files are never read as HTML.

/** Make an element: `make("button", { class: "main", onclick: f, "aria-label": "Play" }, "Play")`. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A text that may be broken after its hyphens and underscores, as names of classes have them. */
export function breakable(text) {
  return text.split(/(?<=[_-])/).flatMap((part, index) => (index ? [document.createElement("wbr"), part] : [part]));
}

/** Format seconds as a player shows them: 1:02, 1:00:02, with decimals where asked for. */
export function clock(seconds, decimals = 0) {
  if (!Number.isFinite(seconds)) return "";
  const sign = seconds < 0 ? "-" : "";
  const ticks = Math.round(Math.abs(seconds) * 10 ** decimals);
  const whole = Math.floor(ticks / 10 ** decimals);
  const fraction = decimals ? "." + String(ticks % 10 ** decimals).padStart(decimals, "0") : "";
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60, rest = String(whole % 60).padStart(2, "0");
  return sign + (hours ? `${hours}:${String(minutes).padStart(2, "0")}` : `${minutes}`) + `:${rest}${fraction}`;
}

/** "1 video", "2 videos". */
export function counted(count, noun, plural = `${noun}s`) {
  return `${count.toLocaleString("en")} ${count === 1 ? noun : plural}`;
}
