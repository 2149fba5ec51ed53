"""Small data sets and settings for tests, and a way to kill a training."""

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml
from PIL import Image


def write_feature_dataset(root: Path, *, num_videos: int = 6, num_frames: int = 40, seed: int = 0) -> Path:
    """Write features of three classes. Only the first of the eight frames of a segment shows its class."""
    generator = np.random.default_rng(seed)
    classes = ("idle", "left", "right")
    for folder in ("features", "labels"):
        (root / folder).mkdir(parents=True)
    (root / "classes.txt").write_text("\n".join(classes) + "\n")
    for video_index in range(num_videos):
        segment_classes = generator.integers(0, 3, size=num_frames // 8)
        labels = np.repeat(segment_classes, 8)[:num_frames]
        features = generator.normal(size=(len(labels), 6)).astype(np.float32)
        for start in range(0, len(labels), 8):
            features[start, :3] += 6 * np.eye(3)[labels[start]]
        np.save(root / "features" / f"clip{video_index}.npy", features)
        with (root / "labels" / f"clip{video_index}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["start", "stop", "class"])
            for start in range(0, len(labels), 8):
                writer.writerow([start, start + 8, classes[labels[start]]])
    return root


def write_caption_dataset(root: Path, *, num_images: int = 12) -> Path:
    """Write images of two sizes with a coloured square on one side, with two or three captions each."""
    (root / "images").mkdir(parents=True)
    rows = [("image", "caption")]
    for index in range(num_images):
        color = ("red", "green", "blue")[index % 3]
        side = ("left", "right")[index // 3 % 2]
        width, height = ((64, 48), (40, 60))[index % 2]
        image = Image.new("RGB", (width, height), (index * 5, 40, 40))
        left = 4 if side == "left" else width - 20
        image.paste(color, (left, 10, left + 16, 10 + 16))
        name = f"square{index:02}.{'jpg' if index % 2 else 'png'}"
        image.save(root / "images" / name)
        rows.append((name, f"A {color} square on the {side}."))
        rows.append((name, f"On the {side} there is a {color} square"))
        if index % 4 == 0:
            rows.append((name, f"It's {color}, isn't it?"))
    with (root / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return root


def write_params(folder: Path, **changes: object) -> None:
    """Write params.yaml for a quick run on the ready features in `folder`/dataset and the captioned images in
    `folder`/pictures. `changes` are values named by `section__key`.
    """
    params = yaml.safe_load((Path(__file__).parents[1] / "params.yaml").read_text())
    params["dataset"] |= {"name": "tiny", "root": "dataset", "background": "idle"}
    params["encoder"] |= {"name": "given", "weights": None, "grid": 1, "last_stage": None}
    params["labeller"] |= {
        "hidden_size": 8,
        "num_layers": 1,
        "bidirectional": False,
        "dropout": 0.1,
        "inputs": "features",
        "delta_frames": 4,
        "map_filters": None,
    }
    params["training"] |= {"epochs": 4, "batch_size": 4, "window_frames": 16, "patience": None, "device": "cpu"}
    params["encoder"]["classifier"] |= {"epochs": 3, "window_frames": 4, "device": "cpu"}
    params["captions"] |= {
        "name": "squares",
        "root": "pictures",
        "val_fraction": 0.2,
        "test_fraction": 0.2,
        "min_word_count": 1,
    }
    params["captions"]["encoder"] |= {"name": "small_cnn", "weights": None, "grid": 2, "stride": None, "batch_size": 4}
    params["captions"]["pixels"] |= {"crop": None, "size": [64, 64], "color": "rgb"}
    params["captioner"] |= {"cell": "gru", "embedding_size": 8, "hidden_size": 8, "num_heads": 2, "dropout": 0.1}
    params["captioner"]["decoding"] |= {"beam_size": 2, "max_words": 8}
    params["captioner"]["training"] |= {
        "epochs": 3,
        "batch_size": 4,
        "captions_per_image": 2,
        "learning_rate": 0.01,
        "warmup_epochs": 0,
        "scheduled_sampling": 0.0,
        "self_critical_epochs": 0,
        "patience": None,
        "monitor": "cider",
        "device": "cpu",
    }
    for name, value in changes.items():
        *sections, key = name.split("__")
        target: dict = params
        for section in sections:
            target = target[section]
        assert key in target, name
        target[key] = {**target[key], **value} if isinstance(value, Mapping) else value
    (folder / "params.yaml").write_text(yaml.safe_dump(params))


class Killed(BaseException):
    """Stands for SIGKILL: no code of the project catches it."""


def kill_in(monkeypatch, module, name: str, *, call: int) -> None:
    """Make the `call`-th call of module.name, from 0, kill the training."""
    original, count = getattr(module, name), iter(range(100))

    def killing(*args, **kwargs):
        if next(count) == call:
            raise Killed(name)
        return original(*args, **kwargs)

    monkeypatch.setattr(module, name, killing)
