"""What all tests share: where real data lies, and small data sets written anew."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data sets, beside the repository or named by FRAMESCRIBE_DATA; the test skips without it."""
    path = Path(os.environ.get("FRAMESCRIBE_DATA", Path(__file__).parents[1].parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"real data is not here ({path}); FRAMESCRIBE_DATA may name it")
    return path


def write_feature_dataset(root: Path, *, num_videos: int = 6, num_frames: int = 40, seed: int = 0) -> Path:
    """Ready features of three classes; the class is the sign of a step three frames ago, so it takes memory to tell."""
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
            features[start, :3] += 6 * np.eye(3)[labels[start]]  # only the first frame of a segment tells its class
        np.save(root / "features" / f"clip{video_index}.npy", features)
        with (root / "labels" / f"clip{video_index}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["start", "stop", "class"])
            for start in range(0, len(labels), 8):
                writer.writerow([start, start + 8, classes[labels[start]]])
    return root


@pytest.fixture
def feature_dataset(tmp_path: Path) -> Path:
    return write_feature_dataset(tmp_path / "dataset")
