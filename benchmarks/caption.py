"""How fast images are described, beside how fast they are encoded, in one run. docs/benchmarks.md has what was seen.

    python benchmarks/caption.py --model models/captioner --images data/scenes/images

`--images`: photographs of the size that users have; up to --num of them are described. Rates are medians of rounds in
which the parts take turns. Nothing is asserted: the limits stand beside what was measured.
"""

import argparse
import platform
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from turns import take_turns

from pipeline.caption import Search, caption_images, find_pictures, generate_captions, load_caption_model, plan_search
from pipeline.caption_checkpoint import CaptionCheckpoint
from pipeline.encode import encode_images
from pipeline.video.image import read_image

WHOLE_LIMIT, BEAM_LIMIT = 0.9, 1.3
DECODED_AT_ONCE = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/captioner", help="checkpoint folder of a captioner, or MLflow URI")
    parser.add_argument("--images", type=Path, default=Path("data/scenes/images"), help="a folder of images")
    parser.add_argument("--num", type=int, default=256, help="images of the folder that are taken")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    model = load_caption_model(options.model, device="auto")
    paths = find_pictures([options.images])[0][: options.num]
    print(f"{len(paths)} images, {platform.processor() or platform.machine()}, {torch.get_num_threads()} threads")
    print(f"torch {torch.__version__}, encoder {model.spec.encoder.name}, {model.spec.captioner.cell} of "
          f"{model.spec.captioner.hidden_size}, {len(model.vocabulary)} words\n")  # fmt: skip
    _print_rates(model, paths, options.rounds)
    _print_beams(model, paths[:DECODED_AT_ONCE], options.rounds)


def _print_rates(model: CaptionCheckpoint, paths: list[Path], rounds: int) -> None:
    """Images a second: encoding alone, on tensors that wait in memory, and the whole way from files to captions."""
    batch_size = model.frames.spec.batch_size
    pixels = torch.cat([model.frames.preprocess(read_image(path)[None]) for path in paths])
    searches = {f"beam {k}": plan_search(model, beam_size=k) for k in (1, 3, 5)}

    @torch.inference_mode()
    def encode() -> None:
        for batch in pixels.split(batch_size):
            model.frames.encoder.regions(batch.to(model.captioner.word_bias.device)).sum().item()

    def describe(search: Search) -> None:
        for _ in caption_images(paths, model, search, refuse=sys.exit):
            pass

    parts: dict[str, Callable[[], object]] = {
        "encode only": encode,
        "read and encode": lambda: sum(
            len(batch)
            for batch in encode_images(
                map(read_image, paths), model.frames.encoder, model.frames.preprocess, batch_size=batch_size
            )
        ),
        **{f"whole, {name}": lambda search=search: describe(search) for name, search in searches.items()},
    }
    seconds = take_turns(parts, rounds)
    default = f"whole, beam {model.spec.captioner.decoding.beam_size}"
    for name, took in seconds.items():
        limit = f"   limit {WHOLE_LIMIT}" if name == default else ""
        print(
            f"{name:20}{len(paths) / took:8.1f} images/s   {seconds['encode only'] / took:6.2f} of encode only{limit}"
        )


def _print_beams(model: CaptionCheckpoint, paths: list[Path], rounds: int) -> None:
    """The search alone, and with the encoding of the same images."""
    device = model.captioner.word_bias.device
    pixels = torch.cat([model.frames.preprocess(read_image(path)[None]) for path in paths]).to(device)
    with torch.inference_mode():
        regions = model.frames.encoder.regions(pixels)
    searches = {k: plan_search(model, beam_size=k) for k in (1, 3, 5)}

    def encode_and_search(search: Search) -> None:
        with torch.inference_mode():
            generate_captions(model.frames.encoder.regions(pixels), model, search)

    parts: dict[str, Callable[[], object]] = {}
    for k, search in searches.items():
        parts[f"search, beam {k}"] = lambda search=search: generate_captions(regions, model, search)
        parts[f"with encoding, beam {k}"] = lambda search=search: encode_and_search(search)
    seconds = take_turns(parts, 3 * rounds)
    print(f"\na batch of {len(paths)}")
    for name, took in seconds.items():
        greedy = seconds[f"{name.split(',')[0]}, beam 1"]
        limit = f"   limit {BEAM_LIMIT}" if name.endswith("beam 5") else ""
        print(f"{name:24}{1000 * took:8.1f} ms   {took / greedy:6.2f} of greedy{limit}")


if __name__ == "__main__":
    main()
