"""How fast images are described, beside how fast they are encoded by the same encoder and by torch's, in one run.

docs/results/benchmarks/captions.md has the results.

    python benchmarks/caption.py --model models/captioner --images data/scenes/images

`--images`: photographs of the size that users have; up to --num of them are described. Rates are medians of rounds in
which the parts take turns. Nothing is asserted: the limits stand beside what was measured. That of the whole command
was set for torch's encoder alone; the exported one is so much faster that reading and searching count beside it.
"""

import argparse
import platform
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from turns import take_turns

from pipeline.captioning.describe import (
    CaptionModel,
    Search,
    caption_images,
    find_pictures,
    generate_captions,
    load_caption_model,
    plan_search,
)
from pipeline.encoding.images import describe_images
from pipeline.video.image import read_image

WHOLE_LIMIT, BEAM_LIMIT = 0.9, 1.3
PARALLEL_DECODERS = 32


def main() -> None:
    """Print all rates and times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="models/captioner", help="checkpoint folder of a captioner, or MLflow URI")
    parser.add_argument("--images", type=Path, default=Path("data/scenes/images"), help="a folder of images")
    parser.add_argument("--num", type=int, default=256, help="images of the folder that are taken")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    model = load_caption_model(options.model, device="auto")
    paths = find_pictures([options.images])[0][: options.num]
    print(f"{len(paths)} images, {platform.processor() or platform.machine()}, {torch.get_num_threads()} threads")
    height, width = model.frame_encoder.preprocess.size
    encoded_by = "torch" if model.runtime is None else type(model.runtime).__name__
    print(f"torch {torch.__version__}, encoder {model.spec.encoder.name} by {encoded_by} at {width}x{height}")
    print(f"{model.spec.captioner.cell} of {model.spec.captioner.hidden_size}, {len(model.vocabulary)} words\n")
    _print_rates(model, paths, options.rounds)
    _print_beams(model, paths[:PARALLEL_DECODERS], options.rounds)


def _scaled(model: CaptionModel, paths: list[Path]) -> torch.Tensor:
    """Read images, uint8 [n, h, w, 3], scaled to the encoder's size."""
    return torch.cat([model.frame_encoder.preprocess.resize(read_image(path)[None]) for path in paths])


def _encode(model: CaptionModel, scaled: torch.Tensor) -> torch.Tensor:
    """Encode images uint8 [n, h, w, 3] into regions [n, R, C], with the encoder that the command uses."""
    if model.runtime is None:
        return _encode_by_torch(model, scaled)
    return model.frame_encoder.encoder.regions_of(model.runtime.submit(scaled.numpy()).result())


@torch.inference_mode()
def _encode_by_torch(model: CaptionModel, scaled: torch.Tensor) -> torch.Tensor:
    """Encode images as `_encode` does, on the captioner's device, one batch at a time on all cores."""
    device, normalize = model.captioner.word_bias.device, model.frame_encoder.preprocess.normalize
    batches = scaled.split(model.frame_encoder.spec.batch_size)
    regions = torch.cat([model.frame_encoder.encoder.regions(normalize(batch).to(device)) for batch in batches])
    regions.sum().item()  # waits for a GPU
    return regions


def _print_rates(model: CaptionModel, paths: list[Path], rounds: int) -> None:
    """Print images per second of encoding alone, with the pixels in memory, and of all steps from files to captions."""
    scaled = _scaled(model, paths)
    searches = {f"beam {k}": plan_search(model, beam_size=k) for k in (1, 3, 5)}

    def read_and_encode() -> None:
        for _ in describe_images(
            map(read_image, paths), model.regions, len, batch_size=model.frame_encoder.spec.batch_size
        ):
            pass

    def describe(search: Search) -> None:
        for _ in caption_images(paths, model, search, on_failure=sys.exit):
            pass

    parts: dict[str, Callable[[], object]] = {
        "encode only": lambda: _encode(model, scaled),
        "encode only, torch": lambda: _encode_by_torch(model, scaled),
        "read and encode": read_and_encode,
        **{f"whole, {name}": partial(describe, search) for name, search in searches.items()},
    }
    seconds = take_turns(parts, rounds)
    default = f"whole, beam {model.spec.captioner.decoding.beam_size}"
    for name, took in seconds.items():
        ours, torchs = seconds["encode only"] / took, seconds["encode only, torch"] / took
        limit = f"   limit {WHOLE_LIMIT}" if name == default else ""
        print(
            f"{name:20}{len(paths) / took:8.1f} images/s   {ours:6.2f} of encode only   {torchs:6.2f} of torch's{limit}"
        )


def _print_beams(model: CaptionModel, paths: list[Path], rounds: int) -> None:
    """Print the time of the search alone, on all cores, and with the encoding of the same images before it."""
    scaled = _scaled(model, paths)
    regions = _encode(model, scaled)
    searches = {k: plan_search(model, beam_size=k) for k in (1, 3, 5)}

    @torch.inference_mode()
    def encode_and_search(search: Search) -> None:
        generate_captions(_encode(model, scaled), model, search)

    parts: dict[str, Callable[[], object]] = {}
    for k, search in searches.items():
        parts[f"search, beam {k}"] = partial(generate_captions, regions, model, search)
        parts[f"with encoding, beam {k}"] = partial(encode_and_search, search)
    seconds = take_turns(parts, 3 * rounds)
    print(f"\na batch of {len(paths)}")
    for name, took in seconds.items():
        greedy = seconds[f"{name.split(',')[0]}, beam 1"]
        limit = f"   limit {BEAM_LIMIT}" if name.endswith("beam 5") else ""
        print(f"{name:24}{1000 * took:8.1f} ms   {took / greedy:6.2f} of greedy{limit}")


if __name__ == "__main__":
    main()
