"""The labeller: independence of padding and chunks, causality, the heads, and gradients into an encoder."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from pipeline.config.labeller import LabellerSettings
from pipeline.models.augmentation import Augmentation
from pipeline.models.encoders.building import build_encoder
from pipeline.models.end_to_end import EndToEnd
from pipeline.models.labeller import Labeller, LabellerState

CELLS = ["none", "tanh", "relu", "gru", "lstm"]
HEADS = ["many_to_many", "many_to_one"]
INPUTS = ["features", "deltas", "both"]
SPANS = st.lists(st.integers(1, 12), min_size=1, max_size=3, unique=True).map(sorted)


def make(cell: str, **options: Any) -> Labeller:
    torch.manual_seed(0)
    training = {name: options.pop(name) for name in ("feature_noise", "feature_dropout") if name in options}
    settings = LabellerSettings(**{"cell": cell, "hidden_size": 5, "num_layers": 2, **options})
    return Labeller(settings, num_features=6, num_classes=4, **training).double().eval()


def features(*shape: int) -> Tensor:
    return torch.randn(*shape, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_a_padded_batch_equals_each_video_alone(cell: str, bidirectional: bool, head: str) -> None:
    whole = {"normalize": "video", "pool_frames": 2} if bidirectional else {}
    labeller = make(cell, bidirectional=bidirectional, head=head, **whole)
    x, lengths = features(3, 9), [9, 1, 4]
    for index, length in enumerate(lengths):
        x[index, length:] = torch.nan
    batch = labeller(x, lengths=torch.tensor(lengths)).logits
    for index, length in enumerate(lengths):
        alone = labeller(x[index : index + 1, :length]).logits[0]
        torch.testing.assert_close(batch[index, :length] if head == "many_to_many" else batch[index], alone)


@pytest.mark.parametrize("whole", [{}, {"bidirectional": True, "normalize": "video", "pool_frames": 2}])
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("cell", CELLS)
def test_the_content_of_padding_reaches_no_gradient(cell: str, head: str, whole: dict[str, Any]) -> None:
    labeller, lengths = make(cell, head=head, **whole), torch.tensor([7, 3])

    def gradients(padding: float) -> list[Tensor]:
        x = features(2, 7)
        x[1, 3:] = padding
        logits = labeller(x, lengths=lengths).logits
        loss = logits.sum() if head == "many_to_one" else logits[0].sum() + logits[1, :3].sum()
        return list(torch.autograd.grad(loss, list(labeller.parameters())))

    for poisoned, clean in zip(gradients(torch.nan), gradients(0.0), strict=True):
        assert torch.equal(poisoned, clean)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(CELLS), st.sampled_from(INPUTS), st.integers(1, 11), SPANS)
def test_chunks_with_carried_state_equal_the_whole(cell: str, inputs: str, cut: int, delta_frames: list[int]) -> None:
    labeller, x = (
        make(cell, inputs="features" if cell == "none" else inputs, delta_frames=delta_frames),
        features(2, 12),
    )
    first = labeller(x[:, :cut])
    second = labeller(x[:, cut:], state=first.state)
    torch.testing.assert_close(torch.cat([first.logits, second.logits], dim=1), labeller(x).logits)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=2, max_size=4), SPANS)
def test_the_state_of_a_ragged_batch_is_that_of_each_video_alone(lengths: list[int], delta_frames: list[int]) -> None:
    labeller, x = make("lstm", inputs="both", delta_frames=delta_frames), features(len(lengths), 9)
    state, more = labeller(x, lengths=torch.tensor(lengths)).state, features(len(lengths), 5)
    batch = labeller(more, state=state).logits
    for index, length in enumerate(lengths):
        whole = torch.cat([x[index, :length], more[index]])
        torch.testing.assert_close(batch[index], labeller(whole[None]).logits[0, length:])


def test_deltas_are_the_change_over_the_last_frames_and_ignore_constant_features() -> None:
    labeller, x = make("gru", inputs="deltas", delta_frames=3), features(1, 10)
    projected = labeller.delta_projection(labeller.norm(x[0]))
    embedded, _ = labeller._embed(x)
    for t in range(10):
        torch.testing.assert_close(embedded[0, t], torch.relu(projected[t] - projected[max(0, t - 3)]))
    still = x[:, :1].expand(-1, 10, -1)
    torch.testing.assert_close(labeller(still).logits, labeller(still + features(1, 1)).logits)


def test_deltas_over_several_spans_have_weights_of_their_own_and_are_added() -> None:
    labeller, x = make("gru", inputs="deltas", delta_frames=[1, 3]), features(1, 10)
    short, long = labeller.delta_projection(labeller.norm(x[0])).split(labeller.hidden_size, -1)
    embedded, _ = labeller._embed(x)
    for t in range(10):
        change = short[t] - short[max(0, t - 1)] + long[t] - long[max(0, t - 3)]
        torch.testing.assert_close(embedded[0, t], torch.relu(change))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(CELLS),
    st.sampled_from(HEADS),
    st.sampled_from(INPUTS),
    st.booleans(),
    st.integers(1, 3),
    st.sampled_from(["frame", "video"]),
    st.integers(1, 6),
    st.lists(st.integers(0, 9), min_size=1, max_size=5),
)
def test_predict_in_any_chunks_equals_predict_on_the_whole_to_the_last_bit(
    cell: str,
    head: str,
    inputs: str,
    bidirectional: bool,
    num_layers: int,
    normalize: str,
    pool_frames: int,
    cuts: list[int],
) -> None:
    inputs = "features" if cell == "none" else inputs
    options = {"bidirectional": bidirectional, "head": head, "inputs": inputs, "num_layers": num_layers}
    if bidirectional:
        options |= {"normalize": normalize, "pool_frames": pool_frames}
    labeller, x = make(cell, **options).float(), features(1, 12).float()
    with torch.no_grad():
        expected = labeller(x).logits[0].softmax(-1).expand(12, 4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.models.labeller.CHUNK_FRAMES", 4)
        predicted = labeller.predict(iter(x[0].tensor_split(sorted(cuts))))
        uncut = labeller.predict([x[0]])
    np.testing.assert_allclose(predicted, expected, rtol=0, atol=1e-5)
    assert predicted.tobytes() == uncut.tobytes()
    assert (predicted.shape, predicted.dtype) == ((12, 4), np.float32)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(CELLS[1:]),
    st.sampled_from(INPUTS),
    st.integers(1, 12),
    st.integers(0, 15),
    st.lists(st.integers(0, 12), max_size=4),
)
def test_with_a_look_ahead_the_last_frame_is_read_again_and_each_frame_gets_a_later_step(
    cell: str, inputs: str, num_frames: int, look_ahead: int, cuts: list[int]
) -> None:
    labeller, x = make(cell, inputs=inputs, look_ahead=look_ahead).float(), features(1, num_frames).float()
    with torch.no_grad():
        steps = labeller(torch.cat([x, x[:, -1:].expand(-1, look_ahead, -1)], dim=1)).logits[0].softmax(-1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.models.labeller.CHUNK_FRAMES", 4)
        predicted = labeller.predict(iter(x[0].tensor_split(sorted(cuts))))
        uncut = labeller.predict([x[0]])
    assert predicted.shape == (num_frames, 4)
    np.testing.assert_allclose(predicted, steps[look_ahead:], rtol=0, atol=1e-5)
    assert predicted.tobytes() == uncut.tobytes()


def test_a_label_depends_on_all_frames_of_the_look_ahead_and_on_no_later_one() -> None:
    labeller, x = make("gru", look_ahead=3).float(), features(12).float()
    for changed in range(12):
        other = x.clone()
        other[changed] *= -1
        moved = np.abs(labeller.predict([x]) - labeller.predict([other])).max(axis=1) > 1e-7
        assert moved.tolist() == [frame + 3 >= changed for frame in range(12)]


def test_normalized_over_the_video_a_labeller_ignores_offset_and_scale_of_features() -> None:
    moved = features(1, 9) * torch.arange(1, 7) + torch.arange(6)
    of_video, of_frame = (make("gru", bidirectional=True, normalize=over) for over in ("video", "frame"))
    torch.testing.assert_close(of_video(moved).logits, of_video(features(1, 9)).logits, rtol=0, atol=1e-4)
    assert (of_frame(moved).logits - of_frame(features(1, 9)).logits).abs().max() > 1e-2


def test_a_pooled_labeller_labels_the_means_of_blocks() -> None:
    pooled, every, x = (
        make("gru", bidirectional=True, pool_frames=3),
        make("gru", bidirectional=True),
        features(2, 9),
    )
    means = x.unflatten(1, (3, 3)).mean(2)
    torch.testing.assert_close(pooled(x).logits, every(means).logits.repeat_interleave(3, dim=1))


def test_a_causal_network_reads_no_later_frame_and_whole_videos_have_no_state() -> None:
    for options in ({"normalize": "video"}, {"pool_frames": 2}):
        with pytest.raises(ValueError, match="a causal network knows no later frame"):
            make("gru", **options)
        labeller = make("none", **options)
        assert not labeller.causal
        with pytest.raises(ValueError, match="reads whole videos"):
            labeller(features(1, 4), state=LabellerState(None, None))


def test_features_are_disturbed_only_in_training() -> None:
    x = features(40, 50)
    labeller = make("none", feature_noise=0.5)
    assert (labeller._disturbed(x) - x).std().item() == pytest.approx(0.5, rel=0.05)
    torch.testing.assert_close(labeller(x).logits, make("none")(x).logits)
    assert not torch.allclose(labeller.train()(x).logits, make("none")(x).logits)
    labeller = make("none", feature_dropout=0.25).train()
    kept = labeller._disturbed(x) / x
    torch.testing.assert_close(kept, kept[:, :1].expand_as(kept))
    assert {round(share, 4) for share in kept.unique().tolist()} == {0.0, round(1 / 0.75, 4)}
    assert (kept == 0).double().mean().item() == pytest.approx(0.25, abs=0.08)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_later_frames_change_nothing_if_and_only_if_a_labeller_is_causal(cell: str, bidirectional: bool) -> None:
    labeller, x = make(cell, bidirectional=bidirectional), features(1, 8)
    changed = x.clone()
    changed[:, 5:] *= -1  # the LayerNorm would remove a shift
    unmoved = torch.allclose(labeller(x).logits[:, :5], labeller(changed).logits[:, :5])
    assert labeller.causal == unmoved == (cell == "none" or not bidirectional)


@pytest.mark.parametrize("cell", CELLS)
def test_earlier_frames_have_an_effect_only_through_the_recurrent_network(cell: str) -> None:
    labeller, x = make(cell), features(1, 8)
    changed = x.clone()
    changed[:, 0] += torch.arange(6)
    remembers = not torch.allclose(labeller(x).logits[:, 1:], labeller(changed).logits[:, 1:])
    assert remembers == (cell != "none")


def test_the_labeller_learns_what_one_frame_does_not_show() -> None:
    """The class is the last of two marks, many frames ago. Without a recurrent network it is a coin flip."""
    torch.manual_seed(0)
    marks = torch.randint(0, 12, (16, 40))  # 0 and 1 are the marks, all other values mean nothing
    marks[:, 0] = torch.randint(0, 2, (16,))
    labels = torch.zeros_like(marks)
    for t in range(40):
        labels[:, t] = torch.where(marks[:, t] < 2, marks[:, t], labels[:, max(t - 1, 0)])
    x = torch.nn.functional.one_hot(marks.clamp(max=2), 3).float()

    def accuracy(cell: str) -> float:
        torch.manual_seed(0)
        labeller = Labeller(LabellerSettings(cell=cell, hidden_size=16), num_features=3, num_classes=2)
        optimizer = torch.optim.Adam(labeller.parameters(), lr=0.02)
        for _ in range(60):
            loss = torch.nn.functional.cross_entropy(labeller(x).logits.flatten(0, 1), labels.flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return (labeller(x).logits.argmax(2) == labels).float().mean().item()

    assert accuracy("gru") > 0.98
    assert accuracy("none") < 0.75


def test_end_to_end_equals_encoder_and_labeller_in_sequence_and_trains_the_encoder() -> None:
    torch.manual_seed(0)
    encoder = build_encoder("efficientnet_lite0", weights="imagenet")
    model = EndToEnd(
        encoder, Labeller(LabellerSettings(cell="gru", hidden_size=5), num_features=1280, num_classes=4)
    ).eval()
    frames, lengths = torch.randn(2, 3, 3, 32, 32), torch.tensor([3, 2])
    frames[1, 2:] = torch.nan
    logits = model(frames, lengths=lengths).logits
    for index, length in enumerate(lengths.tolist()):
        alone = model.labeller(encoder(frames[index, :length]).unsqueeze(0)).logits[0]
        torch.testing.assert_close(logits[index, :length], alone, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(model(frames[index : index + 1, :length]).logits[0], alone, rtol=1e-4, atol=1e-5)
    (logits[0].sum() + logits[1, :2].sum()).backward()
    gradient = encoder.trunk.get_parameter("conv_stem.weight").grad
    assert gradient is not None
    assert gradient.isfinite().all()
    assert gradient.any()


def test_frames_are_augmented_only_in_training() -> None:
    encoder = build_encoder("small_cnn", weights=None)
    labeller = Labeller(LabellerSettings(cell="none", hidden_size=5), num_features=encoder.num_features, num_classes=4)
    model = EndToEnd(encoder, labeller, augmentation=Augmentation(brightness=3.0))
    seen: list[Tensor] = []
    encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    frames = torch.zeros(1, 2, 3, 16, 16)
    model.eval()(frames)
    model.train()(frames)
    assert not seen[0].any()
    assert seen[1].any()


def test_bad_input_names_got_and_expected() -> None:
    labeller = make("gru")
    with pytest.raises(ValueError, match=r"got shape \[2, 9, 5\], expected \[videos, frames, 6\]"):
        labeller(features(2, 9)[..., :5])
    with pytest.raises(ValueError, match=r"lengths: got \[10\], expected 1 to 9"):
        make("none")(features(2, 9), lengths=torch.tensor([10, 9]))
    with pytest.raises(ValueError, match=r"state: got shape \[1, 2, 5\], expected \[2, 2, 5\]"):
        labeller(features(2, 9), state=LabellerState(None, torch.zeros(1, 2, 5, dtype=torch.float64)))
    with pytest.raises(ValueError, match="pool_frames: got 'auto', expected a number of frames"):
        make("gru", bidirectional=True, pool_frames="auto")
    with pytest.raises(ValueError, match="encoder gives 1280 features, the labeller expects 6"):
        EndToEnd(build_encoder("efficientnet_lite0", weights=None), labeller)
