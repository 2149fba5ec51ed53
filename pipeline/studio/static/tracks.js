// Tracks: sorted runs [start, stop) of one value each, which do not overlap. Frames in no run are unlabelled (null).
// Runs of one value that touch have a cut between them. Starts, stops and values are arrays, typed or not.

/** The values of a track where classes overlap; frames in no run are unknown. */
export const PRESENT = 1, ABSENT = 0;

/** A track of the arrays that the server sent. */
export function trackOf({ starts, stops, values }) {
  return { starts: Int32Array.from(starts), stops: Int32Array.from(stops), values: Int16Array.from(values) };
}

/** The index of the first run that ends after a frame: the run of the frame, or the next one, or the number of runs. */
export function indexAfter(track, frame) {
  let low = 0, high = track.stops.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (track.stops[middle] > frame) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The value at a frame; null where it is unlabelled. */
export function valueAt(track, frame) {
  const index = indexAfter(track, frame);
  return index < track.starts.length && track.starts[index] <= frame ? track.values[index] : null;
}

/** The run of a frame, or the unlabelled frames around it: { start, stop, value }. */
export function segmentAt(track, frame, numFrames) {
  const index = indexAfter(track, frame);
  if (index < track.starts.length && track.starts[index] <= frame)
    return { start: track.starts[index], stop: track.stops[index], value: track.values[index] };
  const start = index ? track.stops[index - 1] : 0;
  return { start, stop: index < track.starts.length ? track.starts[index] : numFrames, value: null };
}

/** The segments of a range, unlabelled ones included, clipped to it. */
export function segmentsIn(track, start, stop) {
  const found = [];
  for (let frame = start; frame < stop; ) {
    const segment = segmentAt(track, frame, stop);
    const end = Math.min(segment.stop, stop);
    found.push({ start: frame, stop: end, value: segment.value });
    frame = end;
  }
  return found;
}

/** The next frame after `frame` at which a segment starts or ends; null where there is none. */
export function boundaryAfter(track, frame) {
  const index = indexAfter(track, frame);
  if (index >= track.starts.length) return null;
  return track.starts[index] > frame ? track.starts[index] : track.stops[index];
}

/** The last frame before `frame` at which a segment starts or ends; null where there is none. */
export function boundaryBefore(track, frame) {
  const index = indexAfter(track, frame - 1);
  if (index < track.starts.length && track.starts[index] < frame) return track.starts[index];
  return index ? track.stops[index - 1] : null;
}

/** Whether a frame is the first of a segment, or the first after one. */
export function isBoundary(track, frame) {
  return boundaryAfter(track, frame - 1) === frame;
}

/**
 * The track with the frames [start, stop) set to a value; null makes them unlabelled. Cuts within the range go; at its
 * ends the frames join a neighbour of the same value, unless there was a cut.
 */
export function painted(track, start, stop, value) {
  const { starts, stops, values } = track;
  const from = indexAfter(track, start - 1); // the first run that touches the range or reaches into it
  let to = from;
  const runs = [];
  const last = { start, stop, value };
  let before = null, after = null;
  for (; to < starts.length && starts[to] <= stop; to++) {
    const run = { start: starts[to], stop: stops[to], value: values[to] };
    if (run.start < start) before = { start: run.start, stop: Math.min(run.stop, start), value: run.value };
    if (run.stop > stop) after = { start: Math.max(run.start, stop), stop: run.stop, value: run.value };
  }
  const isCut = (frame) => {
    const next = indexAfter(track, frame);
    return next > 0 && next < starts.length && starts[next] === frame && stops[next - 1] === frame &&
      values[next] === values[next - 1];
  };
  if (before && before.value === value && before.stop === start && !isCut(start)) last.start = before.start;
  else if (before) runs.push(before);
  if (after && after.value === value && after.start === stop && !isCut(stop)) {
    last.stop = after.stop;
    after = null;
  }
  if (value !== null) runs.push(last);
  if (after) runs.push(after);
  return spliced(track, from, to, runs);
}

/** The track with the segment at a frame cut in two before the frame. */
export function cut(track, frame) {
  const index = indexAfter(track, frame);
  if (index >= track.starts.length || track.starts[index] >= frame) return track;
  const value = track.values[index];
  const runs = [{ start: track.starts[index], stop: frame, value }, { start: frame, stop: track.stops[index], value }];
  return spliced(track, index, index + 1, runs);
}

/** The track without the cut at a frame. */
export function uncut(track, frame) {
  const index = indexAfter(track, frame);
  const { starts, stops, values } = track;
  if (!index || index >= starts.length || starts[index] !== frame) return track;
  if (stops[index - 1] !== frame || values[index - 1] !== values[index]) return track;
  return spliced(track, index - 1, index + 1, [{ start: starts[index - 1], stop: stops[index], value: values[index] }]);
}

/** What moving a boundary of a track changes: { paints, remove_cuts, add_cuts }, or null where nothing moves. */
export function boundaryMove(track, index, boundary, to, numFrames) {
  const before = segmentAt(track, boundary - 1, numFrames), after = segmentAt(track, boundary, numFrames);
  const least = before.value === null ? before.start : before.start + 1;
  const most = after.value === null ? after.stop : after.stop - 1;
  const place = Math.min(Math.max(to, least), most);
  if (place === boundary || boundary <= 0 || boundary >= numFrames) return null;
  if (before.value === after.value)
    return { paints: [], remove_cuts: [[index, boundary]], add_cuts: [[index, place]], place };
  const paint = place > boundary ? [index, boundary, place, before.value] : [index, place, boundary, after.value];
  return { paints: [paint], remove_cuts: [], add_cuts: [], place };
}

function spliced(track, from, to, runs) {
  const replaced = (array, name) => {
    const result = new array.constructor(array.length - (to - from) + runs.length);
    result.set(array.subarray(0, from));
    for (const [index, run] of runs.entries()) result[from + index] = run[name];
    result.set(array.subarray(to), from + runs.length);
    return result;
  };
  return {
    starts: replaced(track.starts, "start"),
    stops: replaced(track.stops, "stop"),
    values: replaced(track.values, "value"),
  };
}
