"""Settings of the recurrent network that writes captions, and of its training."""

from typing import Annotated, Literal, Self

from pydantic import AliasChoices, Field, model_validator

from pipeline.config.section import Fraction01, LengthPenalty, NumBeams, NumWords, Positive, Section, Size
from pipeline.scores import CaptionMonitor


class CaptionTraining(Section):
    """How a captioner is trained."""

    epochs: Positive
    """The number of all epochs, the self-critical ones included."""
    batch_size: Positive
    """The number of images in each training step."""
    captions_per_image: Positive
    """How many captions of each image are used in each epoch. They are drawn again in each epoch where the image has
    more, and repeated where it has fewer."""
    learning_rate: Annotated[float, Field(gt=0)]
    """The highest learning rate, which `schedule` changes over the epochs."""
    weight_decay: Annotated[float, Field(ge=0)]
    """The weight decay of the optimizer."""
    clip_norm: Annotated[float, Field(gt=0)]
    """Gradients are scaled down to this norm where theirs is larger."""
    schedule: Literal["constant", "cosine"]
    """How the learning rate changes after the warm-up: it stays constant, or falls along a cosine."""
    warmup_epochs: Annotated[int, Field(ge=0)]
    """The number of first epochs in which the learning rate rises."""
    label_smoothing: Fraction01
    """The share of each word that is spread over all words."""
    weight_averaging: Fraction01
    """The decay, in each step, of the moving average of the weights, which becomes the model. 0 averages nothing."""
    scheduled_sampling: Fraction01
    """The share of the words that the network reads which are its own, at the last epoch. It grows from 0."""
    self_critical_epochs: Annotated[int, Field(ge=0)]
    """How many of the last epochs train on the CIDEr score of captions that are drawn at random."""
    self_critical_learning_rate: Annotated[float, Field(gt=0)]
    """The learning rate of the self-critical epochs."""
    patience: Positive | None
    """Training stops after so many epochs without a better `monitor`. null never stops early."""
    monitor: CaptionMonitor
    """The score on the validation split by which the best epoch is chosen. Without a validation split, the last epoch
    is kept."""
    device: Literal["auto", "cpu", "cuda"]
    """Where training computes. auto takes CUDA where there is a CUDA device."""

    @model_validator(mode="after")
    def _an_epoch_to_begin_with(self) -> Self:
        if self.self_critical_epochs >= self.epochs:
            raise ValueError(
                f"self_critical_epochs: got {self.self_critical_epochs} of {self.epochs} epochs, expected fewer: only a"
                " network that knows some captions can learn from its own"
            )
        if self.self_critical_epochs and self.captions_per_image < 2:
            raise ValueError("self_critical_epochs: captions_per_image must be 2 or more, as an image's are compared")
        return self


class Decoding(Section):
    """How the search for a caption works. The command line can change the number of beams."""

    beam_size: NumBeams
    """The number of beginnings of sentences that the beam search keeps."""
    max_words: NumWords = Field(validation_alias=AliasChoices("max_words", "most_words"))
    """The longest caption, in words. The words of a prefix do not count."""
    length_penalty: LengthPenalty
    """How much the length of a sentence counts. 0 compares sums of log-probabilities, 1 compares their means."""


class CaptionerSettings(Section):
    """The recurrent network that looks at an image and writes a caption."""

    cell: Literal["gru", "lstm"]
    """The kind of recurrent cell."""
    embedding_size: Size
    """The number of values that represent a word."""
    hidden_size: Size
    """The number of hidden units. It must be a multiple of `num_heads`."""
    num_heads: Size
    """The number of places in the image that the network can look at for one word."""
    dropout: Fraction01
    """The share of the values of words and hidden states that training drops, the same ones at each step."""
    output_dropout: Fraction01
    """The share that training drops of the values that decide the next word."""
    decoding: Decoding
    """How the search for a caption works."""
    training: CaptionTraining
    """How the captioner is trained."""

    @model_validator(mode="after")
    def _heads_share_the_state(self) -> Self:
        if self.hidden_size % self.num_heads:
            raise ValueError(f"num_heads: got {self.num_heads}, expected a divisor of hidden_size {self.hidden_size}")
        return self
