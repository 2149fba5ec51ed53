"""How a captioner learns, compared with references written by hand, on a very small captioner."""

import copy
import io
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from import_graph import ROOT
from torch import Tensor
from torch.nn.functional import one_hot

from pipeline.checkpoints.captioner import make_captioner
from pipeline.config.captioner import CaptionTraining
from pipeline.config.params import load_params
from pipeline.errors import InputError
from pipeline.models.captioner import Captioner
from pipeline.text.vocabulary import END, PADDING, START, UNKNOWN
from pipeline.training.captioner_learner import CaptionBatch, CaptionLearner, forced

NUM_WORDS = 14
MAX_WORDS = 6


def settings(**changes) -> CaptionTraining:
    defaults = load_params(ROOT / "params.yaml").captioner.training.model_dump() | {
        "epochs": 4,
        "learning_rate": 0.01,
        "weight_decay": 0.0,
        "clip_norm": 1e6,
        "schedule": "constant",
        "warmup_epochs": 0,
        "label_smoothing": 0.0,
        "scheduled_sampling": 0.0,
        "self_critical_epochs": 0,
        "self_critical_learning_rate": 0.001,
        "patience": None,
        "device": "cpu",
    }
    return CaptionTraining.model_validate(defaults | changes)


def make(*, dropout: float = 0.0) -> Captioner:
    """Make the smallest possible captioner for 2 x 2 regions with six channels."""
    changes = {"cell": "gru", "embedding_size": 12, "hidden_size": 24}
    changes |= {"dropout": dropout, "output_dropout": dropout}
    torch.manual_seed(0)
    small = load_params(ROOT / "params.yaml").captioner.model_copy(update=changes)
    return make_captioner(small, SimpleNamespace(num_channels=6, grid=2), num_words=NUM_WORDS)


def no_reward(images, words):
    raise AssertionError("only self-critical epochs ask for a reward")


def make_learner(captioner: Captioner | None = None, *, reward=no_reward, **changes) -> CaptionLearner:
    captioner = make() if captioner is None else captioner
    return CaptionLearner(captioner, settings=settings(**changes), max_words=MAX_WORDS, reward=reward)


def encode(captions: list[list[int]], num_captions: int) -> Tensor:
    """Captions as words int64 [N, K, T + 1]."""
    rows = [[START, *caption, END] for caption in captions]
    longest = max(map(len, rows))
    padded = torch.tensor([row + [PADDING] * (longest - len(row)) for row in rows])
    return padded.unflatten(0, (-1, num_captions))


def make_batch(*, num_images: int = 5, num_captions: int = 1, seed: int = 0) -> CaptionBatch:
    """Make random captions of 1 to 5 words without repeated words."""
    generator = np.random.default_rng(seed)
    captions = [
        (4 + generator.permutation(NUM_WORDS - 4)[: generator.integers(1, 6)]).tolist()
        for _ in range(num_images * num_captions)
    ]
    regions = torch.randn(num_images, 4, 6, generator=torch.Generator().manual_seed(seed))
    return CaptionBatch(range(num_images), regions, encode(captions, num_captions))


CAPTIONS = st.lists(st.lists(st.integers(UNKNOWN, NUM_WORDS - 1), max_size=5), min_size=1, max_size=8)


@given(captions=CAPTIONS, num_captions=st.sampled_from([1, 2]), cut=st.booleans())
def test_the_targets_are_all_words_except_the_first(captions, num_captions, cut):
    captions = captions * num_captions
    words = encode(captions, num_captions)
    if cut and words.shape[2] > 2:
        words = words[:, :, :-1]  # the longest captions have no END, like a caption that was cut
    read, targets, lengths = forced(words)
    assert read.shape == (len(captions) // num_captions, num_captions, words.shape[2] - 1)
    expected_targets = []
    rows = zip(words.flatten(0, 1).tolist(), read.flatten(0, 1).tolist(), lengths.flatten().tolist(), strict=True)
    for row, read_row, length in rows:
        sentence = [word for word in row if word != PADDING]
        assert length == len(sentence) - 1
        assert read_row == sentence[:-1] + [PADDING] * (len(read_row) - length)
        expected_targets += sentence[1:]
    assert targets.tolist() == expected_targets


def test_the_captioner_memorizes_the_training_captions_and_generates_them():
    batch = make_batch(num_images=5)
    learner = make_learner(epochs=400)
    for epoch in range(400):
        loss = learner.train_epoch([batch], epoch=epoch)["train_loss"]
        if loss < 0.01:
            break
    assert loss < 0.01
    found = learner.model.eval().generate(
        batch.regions, prefix=torch.tensor([START]), beam_size=1, max_words=MAX_WORDS, length_penalty=0.0
    )
    for said, wrote in zip(found.words[:, 0].tolist(), batch.words[:, 0, 1:].tolist(), strict=True):
        assert [word for word in said if word != PADDING] == [word for word in wrote if word != PADDING]


def step_by_step(captioner: Captioner, regions: Tensor, words: Tensor) -> list[Tensor]:
    """The log-probabilities [V] before each word of one caption int64 [T + 1] with START, by the definition."""
    state, log_probs = captioner.begin(regions.unsqueeze(0), 1), []
    for word in words[:-1]:
        steps, state = captioner.step(word.view(1, 1), state)
        log_probs.append(steps[0, 0])
    return log_probs


def sentences(batch: CaptionBatch) -> list[tuple[Tensor, Tensor]]:
    """The regions and the words, without padding, of each caption."""
    return [
        (batch.regions[n], caption[caption != PADDING])
        for n, of_image in enumerate(batch.words)
        for caption in of_image
    ]


def test_the_reported_loss_is_the_mean_over_the_words_of_all_captions():
    batch, captioner = make_batch(num_captions=2), make().double()
    batch = batch._replace(regions=batch.regions.double())
    learner = make_learner(copy.deepcopy(captioner))
    printed = learner.train_epoch([batch], epoch=0)["train_loss"]
    with torch.no_grad():
        losses = []
        for regions, words in sentences(batch):
            logits = captioner(regions[None], words[None, None, :-1], torch.tensor([[len(words) - 1]]))
            losses += (-torch.log_softmax(logits, 1)[torch.arange(len(words) - 1), words[1:]]).tolist()
    assert printed == pytest.approx(np.mean(losses), rel=1e-9)
    assert len(losses) == int((batch.words[:, :, 1:] != PADDING).sum())


# Scheduled sampling


def say_successors(words: Tensor) -> Tensor:
    """Logits that always name the number after the word that was read."""
    return 1e3 * one_hot((words + 1) % NUM_WORDS, NUM_WORDS).float()


def say_anything(words: Tensor) -> Tensor:
    """Logits that are equal for all words, also those that must never occur."""
    return torch.zeros(len(words), NUM_WORDS)


def with_own_words(batch: CaptionBatch, share: float, say=say_successors) -> tuple[Tensor, Tensor, Tensor]:
    """Return `read`, what a network with logits `say(words [M])` [M, V] reads instead, and the lengths."""
    read, _, lengths = forced(batch.words)
    learner = make_learner()
    learner.model.forward = lambda regions, words, lengths: say(  # type: ignore[method-assign]
        words[torch.arange(words.shape[2]) < lengths.unsqueeze(2)]
    )
    return read, learner._with_own_words(batch.regions, read, lengths, share), lengths


def successors(read: Tensor) -> Tensor:
    """The words of `say_successors` at each place after the words of people. START and all after END stay."""
    said = read.clone()
    said[:, :, 1:] = torch.where(read[:, :, 1:] == PADDING, PADDING, (read[:, :, :-1] + 1) % NUM_WORDS)
    return said


def succeeding_batch() -> CaptionBatch:
    """Make a batch in which no word is the successor of the word before it, and all successors are valid words."""
    captions = [[4, 6, 8], [9], [12, 10, 8, 6, 4], [7, 5], [11, 9, 7], [6]]
    return CaptionBatch(range(3), torch.randn(3, 4, 6), encode(captions, 2))


def test_a_share_of_zero_own_words_keeps_the_words_of_people():
    read, mixed, _ = with_own_words(succeeding_batch(), 0.0)
    assert torch.equal(mixed, read)


def test_a_share_of_one_replaces_all_words_except_start_and_padding():
    read, mixed, lengths = with_own_words(succeeding_batch(), 1.0)
    expected = successors(read)
    expected[:, :, 1] = torch.where(read[:, :, 1] == PADDING, PADDING, START + 1)
    assert torch.equal(mixed, expected)
    assert (mixed[:, :, 0] == START).all()
    assert torch.equal(mixed == PADDING, torch.arange(read.shape[2]) >= lengths.unsqueeze(2))


def test_a_share_in_between_replaces_as_many_words():
    torch.manual_seed(0)
    batch = succeeding_batch()
    batch = CaptionBatch(range(300), batch.regions.repeat(100, 1, 1), batch.words.repeat(100, 1, 1))
    read, mixed, _ = with_own_words(batch, 0.3)
    own = successors(read)
    assert ((mixed == read) | (mixed == own)).all()
    can_be_replaced = (read != PADDING) & (read != START)
    assert (mixed != read)[can_be_replaced].float().mean().item() == pytest.approx(0.3, abs=0.05)
    assert torch.equal(mixed[~can_be_replaced], read[~can_be_replaced])


def test_own_words_are_never_start_unknown_or_padding():
    torch.manual_seed(0)
    batch = succeeding_batch()
    batch = CaptionBatch(range(300), batch.regions.repeat(100, 1, 1), batch.words.repeat(100, 1, 1))
    read, mixed, lengths = with_own_words(batch, 1.0, say_anything)
    assert torch.equal((mixed != PADDING).sum(2), lengths), "padding is not a word within a caption"
    said = mixed[:, :, 1:][read[:, :, 1:] != PADDING]
    assert set(said.tolist()) == set(range(NUM_WORDS)) - {PADDING, START, UNKNOWN}


def test_the_share_of_own_words_grows_from_zero_to_the_setting(monkeypatch):
    shares: dict[int, float] = {}
    changes = {"epochs": 7, "self_critical_epochs": 2, "scheduled_sampling": 0.4}
    learner = make_learner(reward=lambda images, words: np.zeros(words.shape[:2]), **changes)
    original = learner._with_own_words

    def recorded(regions, read, lengths, share):
        shares[epoch] = share
        return original(regions, read, lengths, share)

    monkeypatch.setattr(learner, "_with_own_words", recorded)
    for epoch in range(7):
        learner.train_epoch([make_batch(num_captions=2)], epoch=epoch)
    assert shares == {epoch: pytest.approx(0.1 * epoch) for epoch in range(1, 5)}
    one = make_learner(epochs=1, scheduled_sampling=0.4)
    monkeypatch.setattr(one, "_with_own_words", recorded)
    one.train_epoch([make_batch()], epoch=0)
    assert len(shares) == 4, "its only epoch is the first"


# Self-critical


def fix_samples(monkeypatch, captioner: Captioner, drawn: Tensor) -> None:
    def sample(regions, *, num_captions, max_words):
        assert not captioner.training, "captions are sampled from the network that learns"
        assert (len(regions), num_captions, max_words) == (*drawn.shape[:2], MAX_WORDS)
        return drawn

    monkeypatch.setattr(captioner, "sample", sample)


def self_critical_learner(captioner: Captioner, reward, **changes) -> CaptionLearner:
    return make_learner(captioner, reward=reward, **{"epochs": 2, "self_critical_epochs": 1} | changes)


def gradients(captioner: Captioner) -> dict[str, Tensor]:
    return {
        name: torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        for name, parameter in captioner.named_parameters()
    }


DRAWN = torch.tensor(
    [
        [[5, 7, END, PADDING], [4, 4, 9, 6], [END, PADDING, PADDING, PADDING]],
        [[8, END, PADDING, PADDING], [13, 12, END, PADDING], [5, 5, 5, 5]],
    ]
)  # some ended, some cut
REWARDS = np.array([[0.5, 2.0, 0.0], [1.0, 0.25, 3.0]])


def test_the_self_critical_gradient_equals_its_definition(monkeypatch):
    captioner = make(dropout=0.5).double()
    batch = make_batch(num_images=2, num_captions=3)
    batch = CaptionBatch([17, 4], batch.regions.double(), batch.words)
    before = copy.deepcopy(captioner).eval()
    asked = []

    def reward(images, words):
        asked.append((list(images), words.tolist()))
        return REWARDS

    fix_samples(monkeypatch, captioner, DRAWN)
    scores = self_critical_learner(captioner, reward).train_epoch([batch], epoch=1)
    assert asked == [([17, 4], DRAWN.tolist())]
    assert scores["train_cider"] == pytest.approx(100 * REWARDS.mean())

    terms = []
    for n, k in np.ndindex(2, 3):
        others = [REWARDS[n, other] for other in range(3) if other != k]
        words = torch.tensor([START, *(word for word in DRAWN[n, k].tolist() if word != PADDING)])
        for log_probs, word in zip(step_by_step(before, batch.regions[n], words), words[1:], strict=True):
            terms.append(-(REWARDS[n, k] - np.mean(others)) * log_probs[word])
    torch.stack(terms).mean().backward()
    expected = gradients(before)
    for name, gradient in gradients(captioner).items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-6, atol=1e-12, msg=name)
    norm = torch.cat([gradient.flatten() for gradient in expected.values()]).norm().item()
    assert scores["gradient_norm"] == pytest.approx(norm) != 0


def test_equal_rewards_give_no_gradient(monkeypatch):
    captioner = make()
    fix_samples(monkeypatch, captioner, DRAWN)
    rewards = np.array([[1.5] * 3, [0.25] * 3])
    batch = make_batch(num_images=2, num_captions=3)
    scores = self_critical_learner(captioner, lambda images, words: rewards).train_epoch([batch], epoch=1)
    assert scores["gradient_norm"] == 0
    assert all(not gradient.any() for gradient in gradients(captioner).values())


def test_rewarded_words_become_more_probable():
    def reward(images: object, words: Tensor) -> np.ndarray:
        return (words == 7).any(2).numpy().astype(float)

    torch.manual_seed(0)
    changes = {"epochs": 31, "self_critical_epochs": 30, "self_critical_learning_rate": 0.01}
    learner = self_critical_learner(make(), reward, **changes)
    batch = make_batch(num_images=8, num_captions=4)
    rewards = [learner.train_epoch([batch], epoch=epoch)["train_cider"] for epoch in range(1, 31)]
    assert np.mean(rewards[-5:]) > np.mean(rewards[:3]) + 20
    assert np.mean(rewards[-5:]) > 90


def test_self_critical_epochs_are_the_last_at_their_own_rate():
    changes = {"epochs": 6, "self_critical_epochs": 2, "schedule": "cosine", "learning_rate": 0.02}
    reward = lambda images, words: np.ones(words.shape[:2])  # noqa: E731
    learner = make_learner(reward=reward, **changes)
    batch = make_batch(num_captions=2)
    scores = [learner.train_epoch([batch, batch], epoch=epoch) for epoch in range(6)]
    assert ["train_loss" in each for each in scores] == [True] * 4 + [False] * 2
    assert ["train_cider" in each for each in scores] == [False] * 4 + [True] * 2
    rates = [each["learning_rate"] for each in scores]
    assert rates[:4] == pytest.approx([0.02 * 0.5 * (1 + np.cos(np.pi * epoch / 4)) for epoch in range(4)])
    assert rates[4:] == [0.001] * 2
    assert [group["lr"] for group in learner._optimizer.param_groups] == [0.001]


def test_self_critical_epochs_have_no_dropout(monkeypatch):
    modes = []
    learner = make_learner(reward=lambda images, words: np.ones(words.shape[:2]), epochs=2, self_critical_epochs=1)
    original = learner.model.forward
    monkeypatch.setattr(
        learner.model, "forward", lambda *args: (modes.append(learner.model.training), original(*args))[1]
    )
    for epoch in (0, 1, 0):
        learner.train_epoch([make_batch(num_captions=2)], epoch=epoch)
    assert modes == [True, False, True]


# All epochs


@pytest.mark.parametrize("epoch", [0, 1])
def test_a_loss_that_is_not_finite_stops_training_before_a_weight_changes(epoch):
    learner = self_critical_learner(make(), lambda images, words: np.full(words.shape[:2], np.nan))
    if epoch == 0:
        with torch.no_grad():
            learner.model.word_bias.fill_(float("inf"))
    before = copy.deepcopy(learner.model.state_dict())
    with pytest.raises(InputError, match=r"became (nan|inf).*captioner\.training\.learning_rate"):
        learner.train_epoch([make_batch(num_captions=2)], epoch=epoch)
    for name, tensor in learner.model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_the_gradient_is_clipped_and_its_norm_before_clipping_is_reported():
    def step(clip_norm: float) -> tuple[float, float]:
        learner = make_learner(clip_norm=clip_norm)
        printed = learner.train_epoch([make_batch()], epoch=0)["gradient_norm"]
        return printed, torch.cat([g.flatten() for g in gradients(learner.model).values()]).norm().item()

    free, left = step(1e6)
    assert free == pytest.approx(left)
    printed, left = step(free / 3)
    assert printed == pytest.approx(free)
    assert left == pytest.approx(free / 3, rel=1e-3)


def test_label_smoothing_reaches_the_loss():
    batch = make_batch()
    losses = [
        make_learner(label_smoothing=smoothing).train_epoch([batch], epoch=0)["train_loss"] for smoothing in (0.0, 0.3)
    ]
    read, targets, lengths = forced(batch.words)
    log_probs = torch.log_softmax(make()(batch.regions, read, lengths), 1)
    plain = -log_probs[torch.arange(len(targets)), targets].mean().item()
    assert losses == pytest.approx([plain, 0.7 * plain - 0.3 * log_probs.mean().item()], rel=1e-4)


@pytest.mark.parametrize("next_epoch", [2, 3])
def test_training_resumes_bit_for_bit_from_a_saved_state(next_epoch):
    changes = {"epochs": 4, "scheduled_sampling": 0.5, "self_critical_epochs": 1, "weight_averaging": 0.9}
    batches = [make_batch(num_captions=2, seed=seed) for seed in range(2)]

    def learn(learner: CaptionLearner, epoch: int) -> dict[str, float]:
        torch.manual_seed(epoch)
        return learner.train_epoch(batches, epoch=epoch)

    def reward(images: object, words: Tensor) -> np.ndarray:
        return (words == 7).sum(2).numpy().astype(float)

    whole = make_learner(make(dropout=0.3), reward=reward, **changes)
    for epoch in range(next_epoch):
        learn(whole, epoch)
    file = io.BytesIO()
    torch.save(whole.state_dict(), file)
    file.seek(0)
    resumed = make_learner(make(dropout=0.3), reward=reward, **changes)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert learn(whole, next_epoch) == learn(resumed, next_epoch)
    for one, other in ((whole.model, resumed.model), (whole.averaged, resumed.averaged)):
        for name, tensor in one.state_dict().items():
            assert torch.equal(other.state_dict()[name], tensor), name


def test_the_resulting_captioner_has_the_moving_average_of_the_weights():
    """avg_1 = w_1, then avg_n = d avg_(n-1) + (1 - d) w_n with d = min(decay, n / (n + 9)), which is small at first."""
    learner = make_learner(make(dropout=0.3), weight_averaging=0.25)
    batch = make_batch()
    expected: dict[str, Tensor] = {}
    for n in range(1, 7):
        learner.train_epoch([batch], epoch=0)
        decay = min(0.25, n / (n + 9))
        for name, weight in learner.model.named_parameters():
            before = expected.get(name, weight.detach())
            expected[name] = decay * before + (1 - decay) * weight.detach()
    for name, weight in learner.averaged.named_parameters():
        torch.testing.assert_close(weight.detach(), expected[name], msg=name)
    assert learner.model.training
    assert not learner.averaged.training
    assert make_learner().averaged.training, "without an average it is the model itself"


def test_the_rate_follows_the_schedule_within_an_epoch():
    learner = make_learner(epochs=2, schedule="cosine", learning_rate=0.02)
    batches = [make_batch()._replace(done=done) for done in (0.0, 0.5)]
    rates = [learner.train_epoch(batches, epoch=epoch)["learning_rate"] for epoch in range(2)]
    at = [0.02 * 0.5 * (1 + np.cos(np.pi * epoch / 2)) for epoch in (0, 0.5, 1, 1.5)]
    assert rates == pytest.approx([np.mean(at[:2]), np.mean(at[2:])])
