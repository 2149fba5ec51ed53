"""Settings of the training of a labeller."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.config.section import ContextFrames, Fraction01, Positive, Section
from pipeline.scores import LabelMonitor


class Training(Section):
    """How a model is trained."""

    epochs: Positive
    """How many times training goes through the training videos."""
    batch_size: Positive
    """The number of windows in each training step."""
    window_frames: Positive | None
    """The length, in frames, of the windows that training videos are cut into. null trains on whole videos."""
    windows: Literal["random", "consecutive"]
    """The order of the windows. random: in random order, and the network starts each window from a state of zeros.
    consecutive: one window of a video after the other, and the network carries its state on."""
    burn_in_frames: ContextFrames = 0
    """How many frames before each window the network reads as well, to begin the window with a history, as it does when
    it labels: the loss is not taken on them. It needs `window_frames` and random `windows`."""
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
    class_weights: Literal["none", "balanced", "square_root"]
    """How much the frames of rare classes count. none: all frames count the same. balanced: classes count as if each
    had the same number of frames. square_root: halfway between these two, on a logarithmic scale. Where classes
    overlap, the same holds in each group for its classes and for none of them."""
    focal_gamma: Annotated[float, Field(ge=0, le=20)] = 0.0
    """Focal loss: each frame counts (1 - p)^focal_gamma, where p is the probability of its label, so that what the
    network is already sure of counts less. 0 counts all the same; 2 is usual, where classes are rare."""
    label_smoothing: Fraction01
    """The share of each label that is spread over all classes. It makes the probabilities less sure."""
    feature_noise: Annotated[float, Field(ge=0)]
    """The standard deviation of the noise that training adds to the features, in their own units. Where
    `labeller.normalize` is video, 1 is the spread of a feature."""
    feature_dropout: Fraction01
    """The share of the features that training leaves out. Each window loses other ones."""
    mixed_precision: bool
    """Whether training computes in mixed precision. It has an effect on CUDA only."""
    patience: Positive | None
    """Training stops after so many epochs without a better `monitor`. null never stops early."""
    monitor: LabelMonitor
    """The score on the validation split by which the best epoch is chosen. Without a validation split, the last epoch
    is kept. `frame_macro_f1` and `mean_average_precision` are for classes that overlap."""
    threshold_score: Literal["f1", "segment_f1"] = "f1"
    """Where classes overlap: the score by which the threshold of each class is chosen on the validation split. f1:
    the F1 of its frames. segment_f1: the F1@50 of its segments."""
    device: Literal["auto", "cpu", "cuda"]
    """Where training computes. auto takes CUDA where there is a CUDA device."""

    @model_validator(mode="after")
    def _consecutive_windows_have_a_length(self) -> Self:
        if self.windows == "consecutive" and self.window_frames is None:
            raise ValueError("windows consecutive: window_frames must say how many frames a window has, got null")
        return self

    @model_validator(mode="after")
    def _frames_before_a_window(self) -> Self:
        if self.burn_in_frames and (self.windows == "consecutive" or self.window_frames is None):
            raise ValueError(
                f"burn_in_frames {self.burn_in_frames}: expected random windows of some window_frames, got windows"
                f" {self.windows} and window_frames {self.window_frames or 'null'}, which have their history anyway"
            )
        return self


class Distillation(Section):
    """A trained labeller, such as one that reads in both directions, whose probabilities the new one learns too."""

    teacher: Path | None = None
    """The checkpoint folder of the trained labeller, of the same classes: an absolute path, outside of the folder that
    the training writes. Where the data set holds videos, it reads their frames with its own encoder. null: no
    teacher."""
    weight: Annotated[float, Field(gt=0, le=1)] = 0.5
    """The share of the loss that is the distance from the teacher's probabilities; the rest is that of the labels."""
    temperature: Annotated[float, Field(gt=0, le=100)] = 2.0
    """The temperature of the probabilities of both in this distance. Above 1, it shows more of what the teacher thinks
    of the less probable classes."""
