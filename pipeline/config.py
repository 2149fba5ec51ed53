"""The settings of params.yaml, checked: an unknown key, a wrong type or an impossible value is an error.

Hydra composes `configs/` into params.yaml (`dvc exp run -S labeller=lstm`); each stage reads the sections that dvc.yaml
lists under its `params`. Field comments give units; configs/ holds the values.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import InputError

Fraction01 = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A section of params.yaml: immutable, and strict about its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Scenes(Section):
    """The embedded data set: how much of it is made, and from which seed."""

    num_videos: Positive
    num_images: Positive
    seed: int
    shortest_frames: Positive
    longest_frames: Positive
    noise: Annotated[float, Field(ge=0)]  # standard deviation of the camera noise, in grey levels of 255

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.shortest_frames > self.longest_frames:
            raise ValueError(
                f"shortest_frames {self.shortest_frames} is more than longest_frames {self.longest_frames}"
            )
        return self


class Pixels(Section):
    """From a decoded frame to the encoder's input: region of interest, size and colour; kept in the checkpoint."""

    crop: tuple[float, float, float, float] | None  # x, y, width, height; null: the whole frame
    crop_unit: Literal["pixels", "fractions"]
    size: tuple[Positive, Positive] | None  # height, width in pixels; null: the size that the encoder was trained at
    color: Literal["rgb", "grey"]


class Dataset(Section):
    """Where a data set in the layout of docs/design.md lies, and how it is split."""

    name: str
    root: Path
    background: str | None  # the class left out of the scores "without background"
    val_fraction: Fraction01  # of the groups, where <root>/splits names none
    test_fraction: Fraction01  # likewise; not with folds
    folds: Annotated[int, Field(ge=2)] | None  # cross-validation: the groups are dealt to so many folds
    fold: Annotated[int, Field(ge=0)]  # the one, from 0, that is the test split
    skip_broken: bool  # leave out videos with problems, and say so, instead of stopping
    pixels: Pixels

    @model_validator(mode="after")
    def _one_of_the_folds(self) -> Self:
        if self.folds is None and self.fold:
            raise ValueError(f"fold: got {self.fold} and folds null: set folds to how many there are")
        if self.folds is not None and self.fold >= self.folds:
            raise ValueError(f"fold: got {self.fold} of {self.folds} folds, expected 0 to {self.folds - 1}")
        return self


class Training(Section):
    """How a model is trained."""

    epochs: Positive
    batch_size: Positive  # windows, each step
    window_frames: Positive | None  # length of the windows that videos are cut into; null: whole videos
    # random: windows in random order, each from a state of zeros; consecutive: one after another, the state carried on
    windows: Literal["random", "consecutive"]
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    clip_norm: Annotated[float, Field(gt=0)]
    schedule: Literal["constant", "cosine"]
    warmup_epochs: Annotated[int, Field(ge=0)]
    # balanced: as if all classes had the same number of frames; square_root: half way there (on a scale of logarithms)
    class_weights: Literal["none", "balanced", "square_root"]
    label_smoothing: Fraction01  # share of each label that is spread over all classes: probabilities grow less sure
    # Standard deviation of the noise added to features, in their units: 1 is their spread where the labeller normalizes
    # them over the video.
    feature_noise: Annotated[float, Field(ge=0)]
    feature_dropout: Fraction01  # share of the features that is left out, other ones of each window
    mixed_precision: bool  # on CUDA only
    patience: Positive | None  # epochs without a better `monitor` before it stops; null: never
    monitor: Literal["loss", "frame_accuracy", "edit", "f1_at_50"]  # on validation
    device: Literal["auto", "cpu", "cuda"]

    @model_validator(mode="after")
    def _consecutive_windows_have_a_length(self) -> Self:
        if self.windows == "consecutive" and self.window_frames is None:
            raise ValueError("windows consecutive: window_frames must say how many frames a window has, got null")
        return self


class Augmentation(Section):
    """How frames differ each time that they are seen in training; the frames of a window all alike."""

    shift: Fraction01  # at most, of the height and of the width; what comes in repeats the edge
    contrast: Fraction01  # at most: frames are multiplied by 1 - contrast to 1 + contrast
    brightness: Annotated[float, Field(ge=0)]  # at most: added or taken away, in units of the encoder's input
    mirror: bool  # half of the windows; not where classes say left and right


class Encoder(Section):
    """The CNN that turns a frame into a feature; `given`: the data set holds ready features."""

    name: str  # given | efficientnet_lite0 | small_cnn | any torchvision classification model
    weights: str | None  # imagenet | a weights file | null: random
    grid: Positive  # the last feature map is pooled to grid x grid cells
    training: Literal["frozen", "frame_classifier", "end_to_end"]
    batch_norm: Literal["frozen", "group_norm", "trained"]  # while the encoder is trained
    batch_size: Positive  # frames encoded at once
    learning_rate: Annotated[float, Field(gt=0)]  # of the encoder's weights, where they are trained
    augmentation: Augmentation  # of the frames, where the encoder is trained
    classifier: Training  # how a frame_classifier is trained; end_to_end goes by the section `training`

    @model_validator(mode="after")
    def _given_is_frozen(self) -> Self:
        if self.name == "given" and (self.training != "frozen" or self.weights is not None or self.grid != 1):
            raise ValueError("encoder `given` encodes nothing: training must be frozen, weights null and grid 1")
        return self


class Labeller(Section):
    """The recurrent network and its head."""

    cell: Literal["none", "tanh", "relu", "gru", "lstm"]
    hidden_size: Positive
    num_layers: Positive
    bidirectional: bool
    dropout: Fraction01
    head: Literal["many_to_many", "many_to_one"]
    inputs: Literal["features", "deltas", "both"]  # deltas: the features' change over the last delta_frames frames
    delta_frames: Positive
    # Shorter predicted segments are merged into a neighbour; 1: none is; auto: what gives the best F1@50 on validation,
    # and without a validation split 0.4 of the median training segment. Training makes a number of it.
    min_segment_frames: Positive | Literal["auto"]
    # Over what features are brought to one scale: each frame by itself, or each feature over its video, which takes out
    # what all frames of a video share; then train on whole videos (training.window_frames null).
    normalize: Literal["frame", "video"] = "frame"
    # The recurrent network reads means of so many frames; auto: 0.2 of the median training segment, likewise.
    pool_frames: Positive | Literal["auto"] = 1
    # How W_hh starts; identity is meant for cell relu. Checkpoints from before there was a choice do not name it.
    recurrent_init: Literal["uniform", "orthogonal", "identity"] = "uniform"

    @model_validator(mode="after")
    def _memory_for_deltas(self) -> Self:
        if self.cell == "none" and self.inputs != "features":
            raise ValueError(f"cell none names each frame by itself: inputs must be features, got {self.inputs}")
        return self

    @model_validator(mode="after")
    def _steps_of_whole_videos_are_told(self) -> Self:
        if self.head == "many_to_one" and self.pool_frames == "auto":
            raise ValueError(
                "with head many_to_one a segment is a whole video, which says nothing of steps: got pool_frames auto,"
                " expected a number"
            )
        return self

    @model_validator(mode="after")
    def _whole_videos_for_a_bidirectional_network(self) -> Self:
        looks_ahead = self.normalize == "video" or self.pool_frames != 1
        if looks_ahead and self.cell != "none" and not self.bidirectional:
            raise ValueError(
                f"a causal network knows no later frame: normalize must be frame and pool_frames 1, got"
                f" {self.normalize} and {self.pool_frames}; or set bidirectional to true"
            )
        return self


class ImageEncoder(Section):
    """The CNN, frozen, whose feature map the captioner looks at."""

    name: str  # efficientnet_lite0 | any torchvision classification model
    weights: str | None  # imagenet | a weights file | null: random
    grid: Positive  # the map is pooled to grid x grid regions
    stride: Positive | None  # null: the last map; 16: the last whose cells are 16 pixels apart, for small things
    batch_size: Positive  # images encoded at once


class Captions(Section):
    """A set of captioned images in the layout of docs/design.md, how it is split, and how its images are encoded."""

    name: str
    root: Path
    val_fraction: Fraction01  # of the groups, where <root>/splits names none
    test_fraction: Fraction01
    skip_broken: bool  # leave out images with problems, and say so, instead of stopping
    min_word_count: Positive  # words seen less often in the training captions are unknown
    mirror: bool  # learn from each training image mirrored too; not where captions say left and right
    pixels: Pixels
    encoder: ImageEncoder


class CaptionTraining(Section):
    """How a captioner is trained."""

    epochs: Positive  # all of them, the self-critical ones too
    batch_size: Positive  # images, each step
    captions_per_image: Positive  # of each image, each epoch; drawn anew where it has more, repeated where it has fewer
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    clip_norm: Annotated[float, Field(gt=0)]
    schedule: Literal["constant", "cosine"]
    warmup_epochs: Annotated[int, Field(ge=0)]
    label_smoothing: Fraction01
    weight_averaging: Fraction01  # of a step, decay of the moving average of the weights, which is the model; 0: none
    scheduled_sampling: (
        Fraction01  # at the last epoch, the share of words read that are the network's own; grows from 0
    )
    self_critical_epochs: Annotated[int, Field(ge=0)]  # the last ones, on the CIDEr of captions drawn at random
    self_critical_learning_rate: Annotated[float, Field(gt=0)]
    patience: Positive | None  # epochs without a better `monitor` before it stops; null: never
    monitor: Literal["loss", "cider", "bleu_4"]  # on validation
    device: Literal["auto", "cpu", "cuda"]

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
    """How captions are searched for, unless the command line says otherwise."""

    beam_size: Positive
    max_words: Positive = Field(validation_alias=AliasChoices("max_words", "most_words"))
    length_penalty: Annotated[float, Field(ge=0)]  # 0: sums of log-probabilities are compared; 1: means


class Captioner(Section):
    """The recurrent network that looks at an image and writes."""

    cell: Literal["gru", "lstm"]
    embedding_size: Positive
    hidden_size: Positive
    num_heads: Positive  # places that it can look at for one word
    dropout: Fraction01  # of words and hidden states, the same features at each step
    output_dropout: Fraction01  # of what decides the next word
    decoding: Decoding
    training: CaptionTraining

    @model_validator(mode="after")
    def _heads_share_the_state(self) -> Self:
        if self.hidden_size % self.num_heads:
            raise ValueError(f"num_heads: got {self.num_heads}, expected a divisor of hidden_size {self.hidden_size}")
        return self


class Params(Section):
    """All of params.yaml."""

    seed: int
    # The hyper-parameter search or cross-validation that this is part of: its runs are children of one run in MLflow.
    search: Annotated[str, Field(pattern=r"^[\w.\-]+$")] | None
    num_samples: Positive  # held-out videos that stage label_samples labels, images that evaluate_captioner shows
    scenes: Scenes
    dataset: Dataset
    encoder: Encoder
    labeller: Labeller
    training: Training
    captions: Captions
    captioner: Captioner

    @model_validator(mode="after")
    def _a_state_to_carry(self) -> Self:
        if self.training.windows == "consecutive" and self.labeller.bidirectional and self.labeller.cell != "none":
            raise ValueError(
                "training.windows consecutive carries the state from window to window, which a bidirectional network"
                " cannot: choose labeller=rnn, gru or lstm, or set labeller.bidirectional to false"
            )
        return self


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml. Raises InputError with every problem at once, one a line."""
    try:
        return Params.model_validate(yaml.safe_load(path.read_text()))
    except FileNotFoundError:
        raise InputError(
            f"{path} is missing: run from the repository's root, or compose it with `dvc exp run`"
        ) from None
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {error}") from None
    except ValidationError as error:
        problems = [f"{path}: {'.'.join(map(str, e['loc']))}: {e['msg']} (got {e['input']!r})" for e in error.errors()]
        raise InputError("\n".join(problems)) from None
