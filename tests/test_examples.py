"""The scripts of examples/ run, and print what their texts promise."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import mido
import numpy as np
import pandas as pd
import pytest
import scipy.io
import torch
from import_graph import ROOT
from made_models import CLASSES, write_video
from PIL import Image

EXAMPLES = ROOT / "examples"
LONGEST_EXAMPLE = 150  # lines


def run(script: str, *arguments: object, cwd: Path) -> str:
    """Run a script, check that its exit code is 0, and return what it prints."""
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_has_a_test():
    tried = set(re.findall(r'run\("(\w+\.py)"', Path(__file__).read_text()))
    assert tried == {path.name for path in EXAMPLES.glob("*.py")}


def load(script: str):
    """Import a script as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{Path(script).stem}", EXAMPLES / script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def refused(script: str, *arguments: object, cwd: Path) -> str:
    """Run a script that refuses its input, and return the one sentence that it prints instead of a traceback."""
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)
    assert done.returncode == 1, done.stderr
    (sentence,) = done.stderr.splitlines()
    return sentence


def check_resumes(script: str, cwd: Path) -> None:
    """Check that a training which was stopped after its first epoch prints the same scores in the end."""
    arguments = ("--epochs", 2, "--cells", "tanh", "--out")
    whole = run(script, *arguments, "whole", cwd=cwd).splitlines()
    saved = torch.load(cwd / "whole" / "tanh.pt", weights_only=True)
    again = run(script, *arguments, "whole", cwd=cwd).splitlines()
    assert not any("epoch" in line for line in again)
    assert [line for line in again if line.startswith("tanh: ")] == [
        line for line in whole if line.startswith("tanh: ") and "epoch" not in line
    ]
    assert len(saved["scores"]) == 2


def test_examples_are_short():
    long = {
        path.name: n for path in EXAMPLES.glob("*.py") if (n := len(path.read_text().splitlines())) > LONGEST_EXAMPLE
    }
    assert long == {}


def test_the_example_label_video_runs(video_model, tmp_path):
    write_video(tmp_path / "clip.mp4")
    lines = run("label_video.py", "clip.mp4", "--model", video_model, cwd=tmp_path).splitlines()
    assert lines
    assert all(
        re.match(rf" *[\d.]+ s to +[\d.]+ s  ({'|'.join(CLASSES)})  \(probability [\d.]+\)", line) for line in lines
    )


@pytest.mark.slow
def test_the_example_time_budget_runs(video_model, tmp_path):
    (tmp_path / "recordings").mkdir()
    for name in ("a", "b"):
        write_video(tmp_path / "recordings" / f"{name}.mp4")
    run("time_budget.py", "recordings", "--model", video_model, cwd=tmp_path)
    table = pd.read_csv(tmp_path / "time_budget.csv", index_col="video")
    segments = pd.read_csv(tmp_path / "labels" / "a.segments.csv")
    assert list(table.index) == ["a", "b"]
    lengths = segments["stop_seconds"] - segments["start_seconds"]
    assert abs(table.loc["a"].sum() - lengths.sum()) < 0.01 * len(CLASSES)


@pytest.mark.slow
def test_the_example_caption_images_runs(caption_model, tmp_path):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "photo.jpg")
    name, *captions = run("caption_images.py", "photo.jpg", "--model", caption_model, cwd=tmp_path).splitlines()
    assert name == "photo.jpg"
    assert len(captions) == 3


@pytest.mark.slow
def test_the_example_recurrent_network_runs(tmp_path):
    *_, last = run("recurrent_network.py", cwd=tmp_path).splitlines()
    accuracy = re.fullmatch(r"step 400: loss [\d.]+, ([\d.]+)% of the frames right", last)
    assert accuracy is not None
    assert float(accuracy[1]) > 95


@pytest.mark.slow
def test_the_example_music_writes_what_one_hears_and_sees(tmp_path):
    check_resumes("music.py", tmp_path)
    played = mido.MidiFile(tmp_path / "whole" / "music.mid")
    notes = [message for message in played if message.type in ("note_on", "note_off")]
    assert {message.note for message in notes} <= set(range(21, 109))
    held = sum(1 if message.type == "note_on" else -1 for message in notes)
    assert held == 0
    assert played.length == pytest.approx(0.3 * 80)
    assert Image.open(tmp_path / "whole" / "music.png").width > 1000


def test_the_midi_file_has_the_rows(tmp_path):
    rows = torch.zeros(4, 88)
    rows[:3, 39], rows[1, 43] = 1, 1  # middle C for three steps, and E for one
    load("music.py").write_midi(rows, tmp_path / "music.mid")
    track = mido.MidiFile(tmp_path / "music.mid").tracks[0]
    heard = [(message.type, message.note, message.time) for message in track if not message.is_meta]
    expected = [("note_on", 60, 0), ("note_on", 64, 288), ("note_off", 64, 288), ("note_off", 60, 288)]
    assert heard == expected


def test_the_score_of_music_is_that_of_bai_et_al():
    """It is the sum over keys, averaged over all rows but the first: a longer piece counts more."""
    music = load("music.py")
    composer = music.Composer("gru").eval()
    pieces = [torch.randint(0, 2, (length, 88)).float() for length in (2, 9, 5)]
    total = count = 0
    with torch.no_grad():
        for piece in pieces:
            probability = torch.sigmoid(composer(piece[None, :-1])[0][0]).double()
            told = piece[1:].double()
            total -= (told * probability.log() + (1 - told) * (1 - probability).log()).sum().item()
            count += len(piece) - 1
    assert composer.score(pieces) == pytest.approx(total / count, rel=1e-4)
    assert composer.nll(pieces).item() == pytest.approx(total / count, rel=1e-4)


def cells(*pieces: np.ndarray) -> np.ndarray:
    """A cell array of MATLAB."""
    array = np.empty((1, len(pieces)), dtype=object)
    array[0, :] = list(pieces)
    return array


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"traindata": cells(np.ones((4, 88))), "validdata": cells(np.ones((4, 88)))},
        {f"{part}data": cells(np.ones((1, 88))) for part in ("train", "valid", "test")},
        {f"{part}data": cells(np.ones((4, 12)), np.ones((4, 88))) for part in ("train", "valid", "test")},
        {f"{part}data": cells(np.full((4, 88), 7)) for part in ("train", "valid", "test")},
        {f"{part}data": np.arange(4) for part in ("train", "valid", "test")},
    ],
)
def test_music_refuses_a_mat_file_that_is_something_else(content, tmp_path):
    scipy.io.savemat(tmp_path / "other.mat", content)
    with pytest.raises(ValueError, match=r"other\.mat: got .*, expected a MATLAB file of traindata") as raised:
        load("music.py").read_pieces(tmp_path / "other.mat")
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_music_refuses_bad_files_in_a_sentence(tmp_path):
    (tmp_path / "JSB_Chorales.mat").write_bytes(b"not a MATLAB file")
    assert re.match(r"music\.py: JSB_Chorales\.mat: got .*", refused("music.py", "--data", ".", cwd=tmp_path))
    assert "nowhere" in refused("music.py", "--data", "nowhere", cwd=tmp_path)


@pytest.mark.slow
def test_the_example_sentiment_shows_which_words_weighed(tmp_path):
    check_resumes("sentiment.py", tmp_path)
    assert Image.open(tmp_path / "whole" / "sentiment.png").width > 1000


def test_a_word_weighs_as_much_as_the_logit_falls_without_it():
    sentiment = load("sentiment.py")
    vocabulary = sentiment.Vocabulary.from_captions([["a", "b", "c"]], min_count=1)
    model = sentiment.Classifier("gru", vocabulary).eval()
    with torch.no_grad():
        whole, without = model([["a", "b", "c"], ["a", "never seen", "c"]]).tolist()
    assert model.weigh(["a", "b", "c"])[1] == pytest.approx(whole - without, abs=1e-5)


def test_padding_does_not_change_a_sentence():
    sentiment = load("sentiment.py")
    vocabulary = sentiment.Vocabulary.from_captions([["a", "b", "c"]], min_count=1)
    model = sentiment.Classifier("lstm", vocabulary).eval()
    with torch.no_grad():
        alone, beside = model([["a", "b"]])[0], model([["a", "b"], ["c"] * 9])[0]
    assert alone.item() == pytest.approx(beside.item(), abs=1e-5)


@pytest.mark.parametrize("text", ["", "2 a film", "1", "a film without a label", "0 a film\n\n1 another"])
def test_sentiment_refuses_lines_that_are_something_else(text, tmp_path):
    (tmp_path / "stsa.binary.train").write_text(text)
    with pytest.raises(ValueError, match=r"train, line \d: got '.*', expected 0 or 1, a space and a sentence"):
        load("sentiment.py").read_sentences(tmp_path / "stsa.binary.train")
