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

from pipeline.rnn import sequences

EXAMPLES = ROOT / "examples"
LONGEST_EXAMPLE = 150  # lines


def run(script: str, *arguments: object, cwd: Path) -> str:
    """Run a script, check that its exit code is 0, and return what it prints."""
    command = [sys.executable, str(EXAMPLES / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_has_a_test():
    tried = set(re.findall(r'"(\w+\.py)"', Path(__file__).read_text()))
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


@pytest.fixture
def call(monkeypatch, capsys):
    """Run a script in this process, with two epochs of the smallest network, and return what it prints."""

    def call(script: str, out: Path, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [script, "--epochs", "2", "--cells", "tanh", "--out", str(out), *arguments])
        load(script).main()
        return capsys.readouterr().out

    return call


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


SEQUENCES = {"music.py": (), "sentiment.py": (), "autofill.py": ("--hidden", "32"), "headlines.py": ()}


@pytest.mark.slow
@pytest.mark.parametrize("script", SEQUENCES)
def test_an_example_that_was_stopped_ends_as_one_that_was_not(script, tmp_path, monkeypatch, call):
    arguments = SEQUENCES[script]
    whole = call(script, tmp_path / "whole", *arguments)
    assert whole.count("tanh: epoch") == 2
    save = sequences._save

    def save_and_stop(path, state):
        save(path, state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(sequences, "_save", save_and_stop)
        with pytest.raises(KeyboardInterrupt):
            call(script, tmp_path / "stopped", *arguments)
    resumed = call(script, tmp_path / "stopped", *arguments)
    assert resumed.count("tanh: epoch") == 1
    results = [
        [line for line in printed.splitlines() if "tanh: epoch" not in line and str(tmp_path) not in line]
        for printed in (whole, resumed)
    ]
    assert results[0] == results[1]
    again = call(script, tmp_path / "whole", *arguments)  # without a training, with the same samples
    assert [line for line in again.splitlines() if line not in whole.splitlines()] == []
    assert any(line.startswith("tanh: ") for line in results[0])
    before, after = (torch.load(tmp_path / out / "tanh.pt", weights_only=True) for out in ("whole", "stopped"))
    assert before["scores"] == after["scores"]
    assert all(torch.equal(weight, after["best"][name]) for name, weight in before["best"].items())
    with Image.open(tmp_path / "whole" / f"{Path(script).stem}.png") as picture:
        assert picture.width > 1000


def test_as_many_keys_as_are_expected_follow_a_beginning():
    music = load("music.py")
    composer = music.Composer("gru").eval()
    with torch.no_grad():
        composer.keys.weight.zero_()
        composer.keys.bias.fill_(-100)[40] = 100  # key 40 is certain, and all others are impossible
    rows = music.compose(composer, torch.ones(3, 88), 5)
    assert rows[:3].eq(1).all()
    assert rows[3:].sum(1).tolist() == [1] * 5
    assert rows[3:, 40].eq(1).all()


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
@pytest.mark.parametrize("name", ["JSB_Chorales", "JSB_Chorales.mat"])
def test_music_refuses_bad_files_in_a_sentence(name, tmp_path):
    (tmp_path / "JSB_Chorales.mat").write_bytes(b"not a MATLAB file")
    arguments = ("--data", ".", "--corpus", name)
    assert re.match(r"music\.py: JSB_Chorales\.mat: got .*", refused("music.py", *arguments, cwd=tmp_path))


def classifier(cell: str):
    """A network of sentiment.py that knows three words."""
    torch.manual_seed(0)
    sentiment = load("sentiment.py")
    vocabulary = sentiment.Vocabulary.from_captions([["a", "b", "c"]], min_count=1)
    return sentiment.Classifier(cell, vocabulary, [(["a", "b"], 1.0), (["c"], 0.0)]).eval()


def test_log_count_ratios_are_those_of_the_sentences():
    sentences = [(["good", "good"], 1.0), (["bad"], 0.0), (["bad", "good"], 1.0), (["good"], 1.0)]
    ratios = load("sentiment.py").log_count_ratios(sentences, least=1)
    assert ratios == pytest.approx({"good": np.log(4 / 1), "bad": np.log(2 / 2)})  # sentences, each with 1 more
    assert load("sentiment.py").log_count_ratios(sentences, least=3) == {"good": ratios["good"]}


def test_the_numbers_of_words_and_pairs_are_those_of_the_training_sentences():
    sentiment = load("sentiment.py")
    training = [(["so", "good"], 1.0)] * 3 + [(["so", "bad"], 0.0)] * 2
    vocabulary = sentiment.Vocabulary.from_captions([["so", "good", "bad"]], min_count=1)
    model = sentiment.Classifier("gru", vocabulary, training)
    found = model.embedding.weight[vocabulary.encode(["so", "good", "bad"]), 0].tolist()
    assert found == pytest.approx([np.log(4 / 3), np.log(4), -np.log(3)])
    assert model.pairs == pytest.approx({("so", "good"): np.log(4)})  # the other one is too rare


def test_a_word_weighs_as_much_as_the_logit_falls_without_it():
    model = classifier("gru")
    with torch.no_grad():
        whole, without = model([["a", "b", "c"], ["a", "never seen", "c"]]).tolist()
    assert model.weigh(["a", "b", "c"])[1] == pytest.approx(whole - without, abs=1e-5)


def test_padding_does_not_change_a_sentence():
    model = classifier("lstm")
    with torch.no_grad():
        alone, beside = model([["a", "b"]])[0], model([["a", "b"], ["c"] * 9])[0]
    assert alone.item() == pytest.approx(beside.item(), abs=1e-5)


@pytest.mark.parametrize("text", ["", "2 a film", "1", "a film without a label", "0 a film\n\n1 another"])
def test_sentiment_refuses_lines_that_are_something_else(text, tmp_path):
    (tmp_path / "stsa.binary.train").write_text(text)
    with pytest.raises(ValueError, match=r"train, line \d: got '.*', expected 0 or 1, a space and a sentence"):
        load("sentiment.py").read_sentences(tmp_path / "stsa.binary.train")


def writer(letters: str):
    """A network of autofill.py that knows some letters."""
    torch.manual_seed(0)
    return load("autofill.py").Writer("gru", letters, 8).eval()


def test_the_score_of_a_text_is_that_of_its_letters():
    """The streams carry their state from window to window, so that windows change nothing."""
    autofill = load("autofill.py")
    model, text = writer("ab c"), "ab cba b" * 500
    streams = model.encode(text).view(autofill.STREAMS, -1)
    assert streams.shape[1] > autofill.WINDOW
    with torch.no_grad():
        log_probs = model(streams[:, :-1])[0].log_softmax(2)
    expected = -log_probs.gather(2, streams[:, 1:, None]).mean().item()
    assert model.score(text) == pytest.approx(expected, rel=1e-5)


def test_completions_are_the_likeliest_of_all_words():
    model = writer("ab ")
    words = {"": 1.0}
    for _ in range(6):  # all words of up to five letters, with the space that ends them
        grown = {}
        for word, probability in words.items():
            if word.endswith(" "):
                grown[word] = probability
                continue
            following, _ = model.after("a" + word)
            grown |= {word + letter: probability * following[i].item() for i, letter in enumerate(model.letters)}
        words = grown
    by_probability = sorted(((p, word) for word, p in words.items() if word.endswith(" ")), reverse=True)
    for (p, word), (expected, best) in zip(model.complete("a", count=40)[:3], by_probability, strict=False):
        assert word == best
        assert p == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("line", "got"), [("a #é", "#é"), ("", "")])
def test_lines_that_cannot_be_completed_are_refused_before_a_training(line, got, tmp_path, call):
    with pytest.raises(ValueError, match=f"^--lines '{line}': got '{got}', expected letters of the text"):
        call("autofill.py", tmp_path / "out", "--lines", line)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["A B" * 2000 + "é", "ab\n" * 1500, "ABC DEF " * 500, "\n" * 4000])
def test_any_text_is_completed(text, tmp_path, call):
    """Without line ends, without the letters of the default lines, with a letter that training never sees."""
    (tmp_path / "text.txt").write_text(text)
    printed = call("autofill.py", tmp_path / "out", "--data", str(tmp_path), "--corpus", "text.txt", "--hidden", "4")
    assert "nats a letter in validation" in printed
    assert (tmp_path / "out" / "autofill.png").exists()


def test_autofill_refuses_an_empty_text(tmp_path, call):
    (tmp_path / "tinyshakespeare.txt").touch()
    with pytest.raises(ValueError, match=r"tinyshakespeare\.txt: got 0 letters, expected 3200 or more"):
        call("autofill.py", tmp_path / "out", "--data", str(tmp_path))


def editor(cell: str = "gru"):
    """A network of headlines.py, with a text whose names are rare and its title."""
    torch.manual_seed(0)
    headlines = load("headlines.py")
    vocabulary = headlines.Vocabulary.from_captions([["the", "cup", "wins", "<1>", "<2>"]], min_count=1)
    return headlines.Editor(cell, vocabulary).eval(), (["kato", "wins", "the", "cup", "of", "kato"], ["kato", "wins"])


def test_rare_words_have_the_same_number_in_the_text_and_in_its_title():
    model, (text, title) = editor()
    assert model.numbers(text) == {"kato": "<1>", "of": "<2>"}
    read, written = model.encode(text, text), model.encode(text, title)
    assert read[0] == read[5] == written[0]
    assert model.vocabulary.decode(written) == ["<1>", "wins"]


@pytest.mark.parametrize("cell", ["tanh", "lstm"])
def test_a_title_that_is_read_at_once_has_the_probabilities_of_one_word_at_a_time(cell):
    model, item = editor(cell)
    words = torch.tensor([[[1, *model.encode(*item)]]])
    with torch.no_grad():
        state = model.read([item])
        at_once, _, attention = model(words, state)
        for t in range(words.shape[2]):
            one, state, _ = model(words[:, :, t : t + 1], state)
            assert torch.allclose(one[:, :, 0], at_once[:, :, t], atol=1e-5)
    assert torch.allclose(at_once.exp().sum(-1), torch.ones(1, 1, 3), atol=1e-4)
    assert torch.allclose(attention.sum(-1), torch.ones(1, 3))


def test_other_texts_of_a_batch_change_no_title():
    model, item = editor()
    longer = (["the"] * 20, ["cup"])
    assert model.write([item, longer])[0] == model.write([item])[0]
    assert "<" not in model.write([item])[0]


@pytest.mark.parametrize(
    ("table", "got"),
    [
        ("", "got an empty file"),
        ("title,text\n", "got 0 items with words"),
        ("title,text\na,\n", "row 1 has an empty text"),
        ("headline,text\na,b\n", "got the columns headline, text, expected also title"),
        ("title,text\n" + "a,b\n" * 9 + "...,b\n", "got 9 items with words"),
    ],
)
def test_headlines_refuses_a_table_without_titles_and_texts(table, got, tmp_path):
    (tmp_path / "news.csv").write_text(table)
    with pytest.raises(ValueError, match=rf"news\.csv: {got}"):
        load("headlines.py").read_news(tmp_path / "news.csv")


def test_titles_are_whole_and_texts_begin_behind_the_place_and_the_agency(tmp_path):
    rows = '"Banned &lt;b&gt;today&lt;/b&gt; - Source (AP)","LONDON (Reuters) - It is #39;so #39; - really."\n'
    (tmp_path / "news.csv").write_text("title,text\n" + rows * 10)
    text, title = load("headlines.py").read_news(tmp_path / "news.csv")[0]
    assert title == ["banned", "today", "source"]
    assert text == ["it", "is", "so", "really"]


def test_sentiment_refuses_sentences_of_one_label_and_too_few(tmp_path, call):
    for text, got in (("1 good\n" * 30, 24), ("1 good\n0 bad\n", 0)):
        (tmp_path / "rt-polarity.all").write_text(text)
        with pytest.raises(ValueError, match=f"got {got} sentences for training, expected more, of both labels"):
            call("sentiment.py", tmp_path / "out", "--data", str(tmp_path), "--corpus", "MR")
