"""`framescribe label`: its arguments, and the labelling of finished videos."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cli import live
from pipeline.cli.console import (
    EXIT_SOME_FAILED,
    Commands,
    add_command,
    add_model_arguments,
    add_reader_argument,
    add_renamed_option,
    make_writable,
    parse_place,
    report_failure,
    report_note,
)
from pipeline.cli.live import video_or_address
from pipeline.errors import InputError
from pipeline.stores.address import Address

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipeline.files import InputFile
    from pipeline.labelling.folder import LabellingOutcome, Progress
    from pipeline.labelling.model import Model
    from pipeline.labelling.outputs import OutputOptions

TEXT = """
Write, for each video, into the folder --out:
  <stem>.frames.csv      frame,time_seconds,label,probability        one row per frame
  <stem>.segments.csv    start,stop,start_seconds,stop_seconds,label,probability
                         frames from start up to, but not including, stop
                         where classes overlap: frame,time_seconds,labels and a probability for each class, with the
                         labels of a frame joined by ";", and segments that overlap
  <stem>.report.json     the run, data and commit that the model comes from, and what was decoded
  decode_report.csv      for all videos: frames declared, decoded, failed, substituted; what is wrong with a file;
                         the reader that decoded it
and, where --formats asks for it,
  <stem>.frames.jsonl    one JSON object per frame         <stem>.segments.vtt    WebVTT subtitles, for browsers
  <stem>.frames.parquet  the same as a Parquet table       <stem>.segments.srt    SubRip, for players and editors
  <stem>.novelty.csv     frame,time_seconds,novelty: above 1, a frame is more unlike the training frames than 99% of the
                         held-out ones, and its label worth little
  <stem>.overlay.mp4     with --overlay: the video with its labels drawn on it
A video that cannot be labelled is named with the cause, and the others are labelled. Videos that are finished are left
alone, so a call that was interrupted can be repeated and resumes where it was.
"""
END = """
exit code: 0, all were labelled; 1, some were not labelled, or only in part; 2, the call was refused

examples: framescribe label recordings/ --model models/labeller --out labels/
          framescribe label match.mp4 --model models/labeller --out labels/ --formats csv,vtt --overlay
          framescribe label --camera 0 --model models/labeller --out labels/
          framescribe label rtsp://10.0.0.5/live --model models/labeller --out labels/
          framescribe label --follow recording.mkv --model models/labeller --out labels/
"""


def add(commands: Commands) -> None:
    """Add the command, for finished videos and for live ones, to the parser of `framescribe`."""
    label = add_command(commands, "label", "label videos with a trained model", TEXT + live.TEXT, END)
    add_model_arguments(label, several=True)
    live.add_arguments(label)
    _add_arguments(label)
    label.set_defaults(run=run)


def _add_arguments(label: argparse.ArgumentParser) -> None:
    """Add all arguments except those of the model and of live labelling to the command `label`."""
    label.add_argument(
        "inputs",
        nargs="*",
        type=video_or_address,
        metavar="VIDEO|DIR|ADDRESS",
        help="videos, or folders of them, also in stores (s3://, gs://); lists of these (.txt); or .npy features; or"
        " the address of a stream",
    )
    label.add_argument(
        "--out", required=True, type=parse_place, metavar="DIR", help="where the labels go; also a store's folder"
    )
    label.add_argument(
        "--formats",
        default="csv",
        metavar="LIST",
        help="one or more of csv,jsonl,parquet,vtt,srt,novelty,boris,elan,label-studio,praat,activitynet,"
        "feral (default: csv)",
    )
    label.add_argument("--overlay", action="store_true", help="also draw the labels on the video")
    label.add_argument(
        "--on-error",
        choices=("skip", "stop", "partial"),
        default="skip",
        help="what to do with a damaged video. skip: leave it out; partial: label the frames that can be decoded (not"
        " with --reader decord or opencv); stop: end the call (default: skip)",
    )
    label.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="how many videos are labelled in parallel (default: one per CPU core, at most 4; with a GPU 8)",
    )
    label.add_argument(
        "--cluster",
        nargs="?",
        const="auto",
        metavar="ADDRESS",
        help="label on the machines of a Ray cluster (default ADDRESS: the cluster of this machine); all machines see"
        " the same folders, or stores",
    )
    label.add_argument("--overwrite", action="store_true", help="also label the videos that are finished")
    add_renamed_option(label, "--again", now="--overwrite", nargs=0)
    label.add_argument(
        "--track", action="store_true", help="also log this call and its decode report as a run in MLflow"
    )
    label.add_argument(
        "--precision",
        choices=("full", "reduced"),
        default="full",
        help="reduced: the encoder computes in bfloat16, faster where the CPU or GPU has it (default: full, float32)",
    )
    label.add_argument(
        "--static-threshold",
        type=float,
        metavar="LEVEL",
        help="for a camera that stands still: do not encode a frame again while no part of it differs from the last"
        " encoded one by more than LEVEL grey levels of 255 (default: encode every frame)",
    )
    add_renamed_option(label, "--still", now="--static-threshold", type=float)
    label.add_argument(
        "--frame-rate",
        type=float,
        metavar="N",
        help="encode only N frames per second; every frame still gets a label, that of the nearest encoded frame"
        " (default: as the model was trained)",
    )
    add_reader_argument(label, "pyav, which reads most files and scales frames on their way out")


def run(options: argparse.Namespace) -> int:
    """Label the videos or one live source, and return the exit code: 1 where some were not labelled, or only in part.

    Raises:
        InputError: The call is refused.
    """
    if live.is_live(options):
        return live.run(options)
    _check(options)
    if options.track:
        from pipeline.tracking.connection import connect  # mlflow takes seconds to import

        connect()  # so that a server that is out of reach is found before hours of labelling

    from pipeline.labelling.folder import check_outputs, track_call
    from pipeline.labelling.inputs import find_everywhere
    from pipeline.labelling.outputs import OutputOptions

    outputs = OutputOptions(tuple(options.formats.split(",")), options.overlay, options.on_error, options.overwrite)
    model = _load(options)
    check_outputs(outputs, model)
    paths = find_everywhere(options.inputs, model, on_note=report_note)
    if isinstance(options.out, Path):
        make_writable(options.out)
    outcome = _label(paths, model, outputs, options)
    print(_describe_outcome(outcome, len(paths), options.out))
    if options.track:
        print(f"tracked as MLflow run {track_call(model, paths, outcome, options.out)}")
    return EXIT_SOME_FAILED if outcome.num_failed + outcome.num_partial else 0


def _load(options: argparse.Namespace) -> "Model":
    from pipeline.labelling.model import load_model

    model = load_model(
        options.model,
        device=options.device if options.cluster is None else "cpu",  # the workers' devices are for the videos
        precision=options.precision,
        static_threshold=options.static_threshold,
        reader=options.reader,
        opens_encoders=options.cluster is None,
    ).at_rate(options.frame_rate)
    if other_rate := model.describe_other_rate():
        report_note(other_rate)
    return model


def _label(
    paths: "Sequence[InputFile]", model: "Model", outputs: "OutputOptions", options: argparse.Namespace
) -> "LabellingOutcome":
    """Label the videos here or on a cluster, and show how far it is."""
    from tqdm import tqdm

    from pipeline.labelling.folder import Progress, default_num_parallel, label_videos, needs_decoder_processes

    with tqdm(unit="frame", desc="labelling", disable=None, total=0, smoothing=0) as bar:

        def show(progress: Progress) -> None:
            bar.total = progress.num_frames
            bar.set_postfix_str(f"video {progress.num_videos_done} of {progress.num_videos}", refresh=False)
            bar.update(progress.num_frames_done - bar.n)

        if options.cluster is not None:
            return _label_on_cluster(paths, model, outputs, options, show)
        return label_videos(
            paths,
            model,
            options.out,
            outputs=outputs,
            num_parallel=options.jobs or default_num_parallel(model),
            decoder_processes=needs_decoder_processes(model),
            on_failure=report_failure,
            on_progress=show,
            on_note=report_note,
        )


def _label_on_cluster(
    paths: "Sequence[InputFile]",
    model: "Model",
    outputs: "OutputOptions",
    options: argparse.Namespace,
    show: "Callable[[Progress], None]",
) -> "LabellingOutcome":
    from pipeline.fleet.label import label_on_cluster
    from pipeline.fleet.worker import ModelSource

    source = ModelSource(
        tuple(options.model),
        options.device,
        options.precision,
        options.static_threshold,
        options.reader,
        options.frame_rate,
    )
    return label_on_cluster(
        paths,
        model,
        source,
        options.out,
        address=options.cluster,
        outputs=outputs,
        on_failure=report_failure,
        on_progress=show,
        on_note=report_note,
    )


def _check(options: argparse.Namespace) -> None:
    """Raise an InputError with every problem that can be found without the model."""
    from pipeline.annotations.exports import find_format_problems
    from pipeline.video.frame_choice import find_rate_fault

    problems = [f"--formats: {problem}" for problem in find_format_problems(options.formats.split(","))]
    if options.static_threshold is not None and not 0 <= options.static_threshold <= 255:
        problems.append(f"--static-threshold: got {options.static_threshold}, expected 0 to 255 grey levels")
    if options.frame_rate is not None and (fault := find_rate_fault(options.frame_rate)):
        problems.append(f"--frame-rate: {fault}")
    if options.jobs is not None and options.jobs < 1:
        problems.append(f"--jobs: got {options.jobs}, expected at least 1")
    if options.jobs is not None and options.cluster is not None:
        problems.append("--jobs: leave it out with --cluster, where each worker takes a GPU or a core")
    if problems:
        raise InputError("\n".join(problems))


def _describe_outcome(outcome: "LabellingOutcome", num_videos: int, out: Path | Address) -> str:
    parts = [f"labelled {outcome.num_labelled} of {num_videos} into {out}"]
    if outcome.num_partial:
        parts.append(f"{outcome.num_partial} of them in part")
    if outcome.num_finished_before:
        parts.append(f"{outcome.num_finished_before} were finished before")
    return ", ".join(parts)
