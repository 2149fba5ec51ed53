"""The media files of a recording as videos on this machine, and what a file says of them that is not so."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.annotations.foreign.document import Loss, Media, Recording, Unit
from pipeline.annotations.formats.parsing import length_cause
from pipeline.errors import InputError
from pipeline.interchange.videos import LENGTH_TOLERANCE, LENGTH_TOLERANCE_SECONDS, TimedVideo, VideoFolder, read_times

NO_MEDIA = "recordings that name no media file are left out"
NOT_FOUND = "media files whose video is not found are left out"
NOT_READ = "media files whose video cannot be read are left out"
OTHER_LENGTH = "recordings whose labels have another number of frames than the video are left out"
NO_START = "media files after one of unknown length are left out, as it is not known when they start"
RATE_TOLERANCE = 0.01


class MediaFinder:
    """Finds the videos of recordings, and notes what does not fit them.

    Args:
        videos: Where the videos are.
        notes: What does not fit is appended to it, in whole sentences.
        from_first: Whether times count from the first frame of a video, see `read_times`.
    """

    def __init__(self, videos: VideoFolder, notes: list[str], *, from_first: bool) -> None:
        self._videos, self._notes, self._from_first = videos, notes, from_first

    def named_after(self, path: Path, recording: Recording) -> Recording:
        """Return the only recording of a file that does not name its video: it has the name of the file or its folder.

        Args:
            path: The file.
            recording: The recording.
        """
        if len(recording.media) > 1:
            return recording
        media = recording.media[0] if recording.media else Media(recording.name)
        names = [media.name, recording.name, path.stem, path.parent.name]
        name = next((name for name in names if name and self._videos.has(name)), names[0])
        return replace(recording, media=(replace(media, name=name),))

    def find_all(self, recording: Recording, losses: list[Loss]) -> tuple[Recording, list[TimedVideo | None]]:
        """Find the videos of a recording.

        Args:
            recording: The recording.
            losses: A Loss is appended for each media file that is left out.

        Returns:
            The recording, with the starts of its media files where the file does not state them; and the video of each,
            None where it is left out.
        """
        found = [self._find(media, recording, losses) for media in recording.media]
        recording = _with_starts(recording, found)
        for index, media in enumerate(recording.media):
            if math.isnan(media.start) and found[index] is not None:
                losses.append(Loss(NO_START, media.name))
                found[index] = None
        return recording, found

    def _find(self, media: Media, recording: Recording, losses: list[Loss]) -> TimedVideo | None:
        """Find the video of a media file; a Loss where it is not there, or does not fit."""
        try:
            video = self._videos.find(media)
        except InputError as error:
            losses.append(Loss(NOT_FOUND, media.name, str(error)))
            return None
        try:
            timed = read_times(video, from_first=self._from_first)
        except InputError as error:
            losses.append(Loss(NOT_READ, media.name, str(error)))
            return None
        num_frames = timed.times.num_frames
        if recording.num_frames is not None and recording.num_frames != num_frames:
            cause = length_cause(recording.num_frames, num_frames)
            what = f"got labels for {recording.num_frames} frames, the video has {num_frames}: {cause}"
            losses.append(Loss(OTHER_LENGTH, media.name, what))
            return None
        self._compare(media, recording, timed)
        return timed

    def _compare(self, media: Media, recording: Recording, video: TimedVideo) -> None:
        """Note what a file says of a video that is not so, or how its times may be meant otherwise."""
        times, rate, is_in_frames = video.times, media.frame_rate, recording.unit is Unit.FRAMES
        first = float(times.pts_seconds[0]) if times.num_frames else 0.0
        length = times.end_seconds - first
        stated, tolerance = media.seconds, max(LENGTH_TOLERANCE_SECONDS, LENGTH_TOLERANCE * length)
        if stated is not None and min(abs(length - stated), abs(times.end_seconds - stated)) > tolerance:
            self._note(video, f"lasts {length:.1f} s, and the file says {stated:.1f} s: was another cut annotated?")
        if rate is not None and is_in_frames and video.is_variable:
            self._note(
                video,
                f"its frame rate varies, and the file numbers its frames at {rate:g} per second: compare some of the"
                " imported labels with the video",
            )
        elif rate is not None and abs(rate - video.frame_rate) > RATE_TOLERANCE * video.frame_rate:
            used = "frames" if is_in_frames else "times"
            self._note(
                video,
                f"has {video.frame_rate:g} frames per second, and the file says {rate:g}; the {used} of the file are"
                " used as they are",
            )
        if not is_in_frames and times.usable_resolution(recording.resolution) == 0.0:
            self._note(
                video,
                f"the times of the file are in steps of {recording.resolution:g} s, and frames are"
                f" {times.usual_step:.3g} s apart: labels may begin and end some frames off",
            )
        if not is_in_frames and first > 1.5 * times.usual_step:
            self._note(
                video,
                f"its first frame is shown at {first:.3f} s by the time stamps; if the program that was used shows it"
                " at 0, as BORIS does, import with --from-first-frame",
            )

    def _note(self, video: TimedVideo, note: str) -> None:
        self._notes.append(f"{video.path}: {note}")


def _with_starts(recording: Recording, videos: Sequence[TimedVideo | None]) -> Recording:
    """Return a recording with the starts of its media files, where the file does not state them: by the real lengths.

    Like BORIS, whose tables do not state them, the length of each counts in whole milliseconds.
    """
    if not any(math.isnan(media.start) for media in recording.media):
        return recording
    first = recording.media[0].start
    starts = [0.0 if math.isnan(first) else first]
    for media, video in zip(recording.media, videos, strict=True):
        seconds = video.times.end_seconds if video else media.seconds if media.seconds is not None else math.nan
        starts.append(starts[-1] + (math.floor(1000 * seconds) / 1000 if math.isfinite(seconds) else math.nan))
    media_files = zip(recording.media, starts, strict=False)
    return replace(recording, media=tuple(replace(media, start=start) for media, start in media_files))
