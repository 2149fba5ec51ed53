"""The captioner: single steps equal one pass, images are independent, attention, and words that never occur."""

import pytest
import torch
from made_models import CAPTIONER
from torch import Tensor

from pipeline.models.captioner import Captioner, LockedDropout
from pipeline.text.vocabulary import END, PADDING, START, UNKNOWN

CELLS = ["gru", "lstm"]
NUM_WORDS = 12


def make(cell: str, **options) -> Captioner:
    torch.manual_seed(0)
    sizes = {"embedding_size": 5, "hidden_size": 6, "num_heads": 2, "dropout": 0.5, "output_dropout": 0.5}
    settings = CAPTIONER.model_copy(update={"cell": cell, **sizes, **options})
    captioner = Captioner(settings, num_channels=6, num_words=NUM_WORDS, num_regions=4).double().eval()
    for parameter in captioner.parameters():
        torch.nn.init.normal_(parameter, std=0.7)
    return captioner


def regions(num_images: int = 3) -> Tensor:
    return torch.randn(num_images, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def captions() -> tuple[Tensor, Tensor]:
    """[3, 2, 5], and their lengths."""
    words = torch.randint(3, NUM_WORDS, (3, 2, 5), generator=torch.Generator().manual_seed(2))
    words[:, :, 0] = START
    lengths = torch.tensor([[5, 3], [1, 5], [4, 2]])
    words[torch.arange(5) >= lengths.unsqueeze(2)] = PADDING
    return words, lengths


@pytest.mark.parametrize("cell", CELLS)
def test_word_by_word_equals_all_words_together(cell: str) -> None:
    captioner, (words, lengths) = make(cell), captions()
    logits = captioner(regions(), words, lengths)
    assert logits.shape == (lengths.sum(), NUM_WORDS)
    logits[:, [PADDING, START, UNKNOWN]] = -torch.inf
    expected = torch.log_softmax(logits, dim=1)
    state, steps = captioner.begin(regions(), 2), []
    for t in range(words.shape[2]):
        log_probs, state = captioner.step(words[:, :, t], state)
        steps.append(log_probs)
    mask = torch.arange(5) < lengths.unsqueeze(2)
    torch.testing.assert_close(torch.stack(steps, 2)[mask], expected)


@pytest.mark.parametrize("cell", CELLS)
def test_a_caption_depends_only_on_its_own_image_and_words(cell: str) -> None:
    captioner, (words, lengths) = make(cell), captions()
    together = captioner.attention(regions(), words, lengths)
    for image in range(3):
        for caption in range(2):
            length = lengths[image, caption]
            alone = captioner.attention(
                regions()[image : image + 1],
                words[image : image + 1, caption : caption + 1, :length],
                lengths[image : image + 1, caption : caption + 1],
            )
            torch.testing.assert_close(together[image, caption, :length], alone[0, 0])


def test_attention_sums_to_one_over_the_regions_and_the_sentinel() -> None:
    words, lengths = captions()
    attention = make("lstm").attention(regions(), words, lengths)
    assert attention.shape == (3, 2, 5, 5)
    mask = torch.arange(5) < lengths.unsqueeze(2)
    torch.testing.assert_close(attention.sum(3)[mask], torch.ones_like(attention[..., 0])[mask])


def test_without_learned_places_the_order_of_regions_does_not_matter() -> None:
    captioner, (words, lengths) = make("lstm"), captions()
    torch.nn.init.zeros_(captioner.place)
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(captioner(regions()[:, order], words, lengths), captioner(regions(), words, lengths))
    turned = captioner.attention(regions()[:, order], words, lengths)
    torch.testing.assert_close(turned[..., :4], captioner.attention(regions(), words, lengths)[..., order])


@pytest.mark.parametrize("cell", CELLS)
def test_the_probability_of_a_generated_caption_is_that_of_its_words(cell: str) -> None:
    captioner, prefix = make(cell), torch.tensor([START, 5, 7])
    found = captioner.generate(regions(), prefix=prefix, beam_size=3, max_words=6, length_penalty=0.7)
    for image in range(3):
        for sentence, log_prob in zip(found.words[image], found.log_probs[image], strict=True):
            said = sentence[sentence != PADDING]
            assert not {PADDING, START, UNKNOWN} & set(said.tolist())
            read = torch.cat([prefix, said[:-1]])[None, None]
            logits = captioner(regions()[image : image + 1], read, torch.tensor([[read.shape[2]]]))
            logits[:, [PADDING, START, UNKNOWN]] = -torch.inf
            steps = torch.log_softmax(logits, dim=1)[len(prefix) - 1 :]
            torch.testing.assert_close(steps.gather(1, said[:, None]).sum().float(), log_prob)


@pytest.mark.parametrize("cell", CELLS)
def test_a_batch_gets_the_captions_of_each_image_alone(cell: str) -> None:
    captioner, prefix = make(cell), torch.tensor([START])
    options = {"prefix": prefix, "beam_size": 4, "max_words": 8, "length_penalty": 0.7}
    together = captioner.generate(regions(5), **options)
    for image in range(5):
        alone = captioner.generate(regions(5)[image : image + 1], **options)
        assert torch.equal(together.words[image], alone.words[0])


def test_samples_follow_the_probabilities() -> None:
    captioner = make("gru")
    torch.manual_seed(0)
    drawn = captioner.sample(regions(1), num_captions=4000, max_words=3)
    log_probs, _ = captioner.step(torch.tensor([[START]]), captioner.begin(regions(1), 1))
    shares = torch.bincount(drawn[0, :, 0], minlength=NUM_WORDS) / 4000
    torch.testing.assert_close(shares, log_probs[0, 0].exp().float(), atol=0.03, rtol=0)
    after_end = (drawn == END).cumsum(2) - (drawn == END).long() > 0
    assert (drawn[after_end] == PADDING).all()
    assert (drawn[~after_end] != PADDING).all()


def test_every_parameter_gets_a_gradient() -> None:
    for cell in CELLS:
        captioner, (words, lengths) = make(cell).train(), captions()
        captioner(regions(), words, lengths).square().sum().backward()
        for name, parameter in captioner.named_parameters():
            assert parameter.grad is not None, name
            assert parameter.grad.abs().sum() > 0, name


def test_locked_dropout_drops_the_same_features_at_all_steps() -> None:
    torch.manual_seed(0)
    dropped = LockedDropout(0.4)(torch.ones(50, 6, 40))
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.6])
    assert (dropped == 0).float().mean().item() == pytest.approx(0.4, abs=0.05)
    assert torch.equal(LockedDropout(0.4).eval()(dropped), dropped)


@pytest.mark.parametrize("shape", [(3, 4), (3, 4, 5), (3, 2, 4, 6)])
def test_regions_with_a_wrong_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected \[images, 4, 6\]"):
        make("gru").begin(torch.zeros(shape, dtype=torch.float64), 1)


def test_heads_that_do_not_divide_the_units_are_refused() -> None:
    with pytest.raises(ValueError, match="num_heads: got 4, expected a divisor of hidden_size 6"):
        make("gru", num_heads=4)
