// A lane as one row of pixels: however many segments there are, a row costs one value per pixel.

import { PRESENT, indexAfter } from "./tracks.js";

const LEAST_ALPHA = 0.4; // of a pixel that is labelled in part
const UNKNOWN = [128, 128, 128, false]; // the colour of a class that is not in the list yet
const BACKGROUND_WEIGHT = 0.25; // short segments stay visible beside the background

/**
 * Fill a row with the segments of a track. Of several segments in a pixel the longest counts most and the others tint.
 *
 * @param {Uint8ClampedArray} pixels RGBA of the whole image; @param {number} offset the first byte of the row
 * @param {object} span { start: the frame at the left end, scale: pixels per frame, width: pixels }
 * @param {(value: number) => [number, number, number, boolean]} colorOf the colour, and whether it is background
 */
export function fillRuns(pixels, offset, span, track, colorOf) {
  const { start, scale, width } = span;
  const { starts, stops, values } = track;
  let pixel = -1, red = 0, green = 0, blue = 0, weight = 0, cover = 0, longest = 0, winner = null;
  const flush = () => {
    if (pixel < 0 || pixel >= width || !cover) return;
    const total = weight + longest;
    const at = offset + pixel * 4;
    pixels[at] = (red + longest * winner[0]) / total;
    pixels[at + 1] = (green + longest * winner[1]) / total;
    pixels[at + 2] = (blue + longest * winner[2]) / total;
    pixels[at + 3] = 255 * Math.max(LEAST_ALPHA, Math.min(1, cover));
  };
  const add = (where, length, color) => {
    if (length <= 0) return;
    if (where !== pixel) {
      flush();
      pixel = where;
      red = green = blue = weight = cover = longest = 0;
    }
    const share = length * (color[3] ? BACKGROUND_WEIGHT : 1);
    red += share * color[0];
    green += share * color[1];
    blue += share * color[2];
    weight += share;
    cover += length;
    if (share > longest) {
      longest = share;
      winner = color;
    }
  };
  for (let index = indexAfter(track, Math.floor(start)); index < starts.length; index++) {
    const left = Math.max(0, (starts[index] - start) * scale);
    if (left >= width) break;
    const right = Math.min(width, (stops[index] - start) * scale);
    const color = colorOf(values[index]);
    const first = Math.floor(left), last = Math.floor(right);
    if (first === last) {
      add(first, right - left, color);
      continue;
    }
    add(first, first + 1 - left, color);
    for (let where = first + 1, at = offset + where * 4; where < last; where++) {
      pixels[at++] = color[0];
      pixels[at++] = color[1];
      pixels[at++] = color[2];
      pixels[at++] = 255;
    }
    add(last, right - last, color);
  }
  flush();
}

/** A function from the values of a track to colours, for `fillRuns`. */
export function colorsOf({ info }, { classes, backgroundIndex, empty }, track) {
  if (info.exclusive) {
    const colors = classes.map((color, index) => [...color, index === backgroundIndex]);
    return (value) => colors[value] ?? UNKNOWN;
  }
  const present = [...(classes[track] ?? UNKNOWN), false], absent = [...empty, true];
  return (value) => (value === PRESENT ? present : absent);
}

const BINS = 1024; // of a tile

/**
 * Fill a row with how high a row of a model's tiles is, as the opacity of a colour.
 *
 * @param {object} model of app.predictions; @param {number} row the class, or the number of classes for uncertainty
 */
export function fillHeat(pixels, offset, span, model, row, numRows, color, numFrames) {
  const { start, scale, width } = span;
  const level = Math.max(0, Math.min(model.numLevels - 1, Math.floor(Math.log(1 / scale) / Math.log(4))));
  const size = 4 ** level; // frames of a bin
  const lastBin = Math.ceil(numFrames / size) - 1;
  let loaded = -1, tile = null, bins = 0;
  for (let x = 0; x < width; x++) {
    const from = Math.floor((start + x / scale) / size);
    if (from > lastBin) break;
    const to = Math.min(lastBin, Math.max(from, Math.ceil((start + (x + 1) / scale) / size) - 1));
    let highest = 0;
    for (let bin = from; bin <= to; bin++) {
      const index = Math.floor(bin / BINS);
      if (index !== loaded) {
        tile = model.tile(level, index);
        loaded = index;
        bins = tile ? tile.length / numRows : 0;
      }
      if (tile) highest = Math.max(highest, tile[row * bins + (bin % BINS)]);
    }
    const at = offset + x * 4;
    pixels[at] = color[0];
    pixels[at + 1] = color[1];
    pixels[at + 2] = color[2];
    pixels[at + 3] = highest;
  }
}
