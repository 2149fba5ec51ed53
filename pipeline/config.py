"""The settings of params.yaml, checked: an unknown key, a wrong type or an impossible value is an error.

Hydra composes `configs/` into params.yaml (`dvc exp run -S labeller=lstm`); each stage reads the sections that dvc.yaml
lists under its `params`. The docstring below a field says what it means, and docs/users/settings.md is made from
these docstrings by docs/make_settings.py. The values are in configs/.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import InputError
from pipeline.scores import CaptionMonitor, LabelMonitor

Fraction01 = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
MAX_STEP_FRAMES = 10_000
# The sizes of a model, and of what it computes on, have bounds far above what is useful: a checkpoint may come from a
# stranger, and a size that was changed in it must not take all memory.
Size = Annotated[int, Field(ge=1, le=65_536)]
NumLayers = Annotated[int, Field(ge=1, le=100)]
SegmentFrames = Annotated[int, Field(ge=1, le=1_000_000_000)]
SegmentDecoding = Literal["merge", "viterbi", "auto"]
NumFrames = Annotated[int, Field(ge=1, le=MAX_STEP_FRAMES)]
MAX_DELTA_SPANS = 8
DeltaSpans = Annotated[tuple[NumFrames, ...], Field(min_length=1, max_length=MAX_DELTA_SPANS)]
MapFilters = Annotated[int, Field(ge=1, le=1024)]
ContextFrames = Annotated[int, Field(ge=0, le=MAX_STEP_FRAMES)]
Side = Annotated[int, Field(ge=1, le=2048)]  # pixels
Grid = Annotated[int, Field(ge=1, le=256)]
Stride = Annotated[int, Field(ge=1, le=1024)]
BatchSize = Annotated[int, Field(ge=1, le=4096)]
NumBeams = Annotated[int, Field(ge=1, le=1000)]
NumWords = Annotated[int, Field(ge=1, le=1000)]
LengthPenalty = Annotated[float, Field(ge=0, le=100)]
Edge = Annotated[float, Field(ge=0, le=1_000_000)]  # pixels
RegisteredName = Annotated[str, Field(pattern=r"^[^/:\s'](?:[^/:']*[^/:\s'])?$")]  # what MLflow can find by its URI
FrameRate = Annotated[float, Field(gt=0)]  # frames per second


class Section(BaseModel):
    """A section of params.yaml: immutable, and strict about its keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Scenes(Section):
    """The embedded data set: how much of it is made, and from which seed."""

    num_videos: Positive
    """How many videos are made."""
    num_images: Positive
    """How many captioned images are made."""
    seed: int
    """The seed of the random numbers that the data set is made from."""
    shortest_frames: Positive
    """The length of the shortest video, in frames."""
    longest_frames: Positive
    """The length of the longest video, in frames."""
    noise: Annotated[float, Field(ge=0)]
    """The standard deviation of the camera noise, in grey levels of 255."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.shortest_frames > self.longest_frames:
            raise ValueError(
                f"shortest_frames {self.shortest_frames} is more than longest_frames {self.longest_frames}"
            )
        return self


class _Region(Section):
    """The region of interest and the colour of the frames that the encoder takes; kept in the checkpoint."""

    crop: tuple[Edge, Edge, Edge, Edge] | None
    """The region of interest: x, y, width and height. null takes the whole frame."""
    crop_unit: Literal["pixels", "fractions"]
    """The unit of `crop`: pixels, or fractions of the width and the height of the frame."""
    color: Literal["rgb", "grey"]
    """Whether the encoder sees colours or grey levels."""


class Pixels(_Region):
    """The same, with the size of images."""

    size: tuple[Side, Side] | None
    """The height and the width to which the region is scaled, in pixels. null takes the size that the encoder was
    trained at."""


class VideoPixels(_Region):
    """The same, with the size of the frames of videos."""

    size: tuple[Side, Side] | Literal["auto"] | None
    """The height and the width to which the region is scaled, in pixels. auto: as many pixels as 224 x 224 in the shape
    of the region, so that nothing is squeezed. null takes the size that the encoder was trained at."""
    follow_motion: bool = False
    """true shows the encoder each frame twice, side by side: whole, and enlarged where something moves. This is for
    cameras that stand still. `size` is that of each half. Videos are decoded twice, and live labels cannot have it."""


class Dataset(Section):
    """Where a data set lies, and how it is split. Its layout is in docs/users/data_format.md."""

    name: str
    """The name of the data set, which MLflow shows."""
    root: Path
    """The folder of the data set."""
    background: str | None
    """The class that is left out of the scores "without background". null leaves out no class."""
    independent_classes: bool = False
    """Whether a frame may have any number of classes. true: any classes may overlap. false: the class list decides.
    Those of a classes.txt exclude each other, and a classes.csv says which of them do."""
    val_fraction: Fraction01
    """The share of the groups that becomes the validation split. A data set with splits/train.txt and without
    splits/val.txt takes it from its training split. It does not count where splits/val.txt names a split."""
    test_fraction: Fraction01
    """The share of the groups that becomes the test split, where the data set has no folder splits/. It does not count
    where `folds` is set."""
    folds: Annotated[int, Field(ge=2)] | None
    """The number of folds of a cross-validation. The groups are dealt to the folds, and `val_fraction` is then a share
    of the groups outside the test fold. null: no cross-validation."""
    fold: Annotated[int, Field(ge=0)]
    """The fold that is the test split, counted from 0."""
    skip_broken: bool
    """true leaves out each video that has a problem and prints the problem. false stops at any problem."""
    follow_links: bool = False
    """Whether text files (labels, classes, groups, splits) are read that are links out of the data set. Links of videos
    and features are always followed."""
    pixels: VideoPixels
    """How frames become the encoder's input."""
    reader: Literal["auto", "pyav", "decord", "opencv"] = "auto"
    """What decodes the videos, in every stage. auto takes pyav. decord and opencv refuse what they would read
    differently. Label with the same `--reader` afterwards."""
    frame_rate: FrameRate | None = None
    """How many frames of each second are encoded, in training and afterwards in labelling: those that are shown at even
    times. Every frame still gets a label, that of the nearest encoded frame. All settings in frames then count encoded
    frames. A rate above that of a video, or null, encodes every frame. Ready features need null."""

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


class Augmentation(Section):
    """Random changes to the frames while the encoder is trained. All frames of a window get the same change."""

    shift: Fraction01
    """The largest shift, as a share of the height and of the width. The frame is filled up by repeating its edge."""
    contrast: Fraction01
    """The largest change of contrast: frames are multiplied by a number from 1 - contrast to 1 + contrast."""
    brightness: Annotated[float, Field(ge=0)]
    """The largest number that is added or taken away, in units of the encoder's input."""
    mirror: bool
    """true mirrors half of the windows. Leave it false where classes say left and right."""


class Encoder(Section):
    """The CNN that turns a frame into a feature."""

    name: str
    """The network: given (the data set holds ready features), efficientnet_lite0, efficientnet_lite1,
    efficientnet_lite2, small_cnn, the name of any classification network of torchvision, or timm/ and the name of any
    network of timm. docs/users/encoders.md tells them apart."""
    weights: str | None
    """The weights to start from: imagenet or pretrained (both are those that the network's authors published), or the
    path of a weights file. null starts from random weights."""
    grid: Grid
    """The last feature map is averaged to grid x grid cells."""
    last_stage: str | None = None
    """The last stage of the network that is computed, such as blocks.10 of efficientnet_lite0 or layer3 of resnet18,
    whose output becomes the feature map. Earlier stages have finer maps: they show small things and short ways, and
    cost less time. null computes all stages. A wrong name lists those of the network."""
    training: Literal["frozen", "frame_classifier", "end_to_end"]
    """frozen: the encoder is not trained. frame_classifier: it is first trained to classify single frames, and then
    frozen. end_to_end: it is trained together with the recurrent network."""
    batch_norm: Literal["frozen", "group_norm", "trained"]
    """What happens to batch normalization while the encoder is trained: it is frozen, replaced by group
    normalization, or trained."""
    batch_size: BatchSize
    """How many frames are encoded in one batch."""
    learning_rate: Annotated[float, Field(gt=0)]
    """The learning rate of the encoder's weights, where they are trained."""
    train_from: str | None = None
    """The first stage of the encoder that is trained, such as layer4 of resnet18. The stages before it stay as they
    are, their batch normalization too. null trains all stages. A wrong name lists those of the network."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """How much slower earlier stages learn: each stage has layer_decay times the learning rate of the next one, and the
    last one has `learning_rate`. 1: all learn equally fast."""
    augmentation: Augmentation
    """How frames are changed at random, where the encoder is trained."""
    classifier: Training
    """How a frame_classifier is trained. An encoder that is trained end_to_end follows the section `training`."""

    @model_validator(mode="after")
    def _given_is_frozen(self) -> Self:
        encodes = self.training != "frozen" or self.weights is not None or self.grid != 1 or self.last_stage is not None
        if self.name == "given" and encodes:
            raise ValueError(
                "encoder `given` encodes nothing: training must be frozen, weights null, grid 1 and last_stage null"
            )
        return self

    @model_validator(mode="after")
    def _single_frames_have_no_history(self) -> Self:
        if self.classifier.burn_in_frames:
            raise ValueError(
                f"classifier.burn_in_frames: got {self.classifier.burn_in_frames}, expected 0, as it names each frame"
                " by itself"
            )
        return self

    @model_validator(mode="after")
    def _stages_of_what_is_trained(self) -> Self:
        if self.training == "frozen" and (self.train_from is not None or self.layer_decay != 1):
            raise ValueError(
                f"a frozen encoder has no stage that is trained: got train_from {self.train_from} and layer_decay"
                f" {self.layer_decay}: choose training frame_classifier or end_to_end, or leave them out"
            )
        return self


class LabellerSettings(Section):
    """The recurrent network and its head."""

    cell: Literal["none", "tanh", "relu", "gru", "lstm"]
    """The kind of recurrent cell. none: no recurrent network, each frame is classified by itself."""
    hidden_size: Size
    """The number of hidden units of each layer, in each direction."""
    num_layers: NumLayers = 1
    """The number of recurrent layers."""
    bidirectional: bool = False
    """Whether the network reads the video in both directions. Live labelling needs false."""
    look_ahead: ContextFrames = 0
    """How many more frames a network that reads forward only has read when it labels a frame. Live labels come so many
    frames later. It needs `bidirectional` false."""
    dropout: Fraction01 = 0.0
    """The share of hidden values that training drops."""
    head: Literal["many_to_many", "many_to_one"] = "many_to_many"
    """many_to_many: a label for each frame. many_to_one: one label for the whole video."""
    inputs: Literal["features", "deltas", "both"] = "features"
    """What the network reads: the features, their change over the last `delta_frames` frames, or both."""
    delta_frames: NumFrames | DeltaSpans = 4
    """The number of frames over which a change of the features is taken. Several numbers in ascending order, such as
    `[1, 2, 4, 8]`, take several changes: short ones show what is fast, long ones show what is slow."""
    map_filters: MapFilters | None = None
    """The number of filters (3x3 convolutions) that read the map of the encoder, the same ones at every place, so that
    a movement is learnt once and not for each place. They need an `encoder.grid` of 2 or more, best 6 or more. null: a
    linear layer reads the map, with weights of its own for each cell."""
    min_segment_frames: SegmentFrames | Literal["auto"] = 1
    """Predicted segments that are shorter are merged into a neighbour. 1 merges none. auto takes the length with the
    best F1@50 on the validation split, or, without a validation split, 0.4 of the median training segment; where
    classes overlap, each class by itself, and also where it has too few bouts there. Training writes what it found into
    the checkpoint."""
    decoding: SegmentDecoding = "merge"
    """How probabilities become segments. merge: as `min_segment_frames` says. viterbi, where classes exclude each
    other: the best sequence of segments, by the probabilities of the frames, and by how long the segments of each class
    last and which class follows which in the training labels. auto takes the one with the better F1@50 on the
    validation split, or, without a validation split, merge. Live labelling always merges."""
    normalize: Literal["frame", "video"] = "frame"
    """How features are brought to one scale. frame: each frame by itself. video: each feature over its video, which
    takes out what all frames of a video share. With video, train on whole videos (`training.window_frames` null)."""
    pool_frames: NumFrames | Literal["auto"] = 1
    """The recurrent network reads means of so many frames. auto takes 0.2 of the median training segment, and training
    writes the number into the checkpoint."""
    # Checkpoints from before there was a choice do not name it.
    recurrent_init: Literal["uniform", "orthogonal", "identity"] = "uniform"
    """The start of the recurrent weights W_hh. identity is meant for the cell relu."""

    @property
    def delta_spans(self) -> tuple[int, ...]:
        """The spans over which changes are taken, in frames; none where only the features are read."""
        if self.inputs == "features":
            return ()
        return (self.delta_frames,) if isinstance(self.delta_frames, int) else self.delta_frames

    @property
    def num_parts(self) -> int:
        """How many things the first layer has weights for: the features, and each change."""
        return (self.inputs != "deltas") + len(self.delta_spans)

    @model_validator(mode="after")
    def _ascending_spans(self) -> Self:
        spans = self.delta_frames
        if not isinstance(spans, int) and list(spans) != sorted(set(spans)):
            raise ValueError(f"delta_frames: got {list(spans)}, expected different numbers in ascending order")
        return self

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
    def _whole_videos_are_not_decoded(self) -> Self:
        if self.head == "many_to_one" and self.decoding != "merge":
            raise ValueError(
                f"with head many_to_one a segment is a whole video, which follows no other: got decoding"
                f" {self.decoding}, expected merge"
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

    @model_validator(mode="after")
    def _a_memory_for_the_look_ahead(self) -> Self:
        if not self.look_ahead:
            return self
        wrong = [
            *(["bidirectional true, which reads all later frames anyway"] if self.bidirectional else []),
            *(["cell none, which remembers no earlier frame"] if self.cell == "none" else []),
            *(["head many_to_one, whose one label reads all frames anyway"] if self.head == "many_to_one" else []),
        ]
        if wrong:
            raise ValueError(f"look_ahead {self.look_ahead}: got {' and '.join(wrong)}; set look_ahead to 0")
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


class Tracking(Section):
    """What becomes of trained models in MLflow."""

    register_labeller: RegisteredName | None = None
    """The name under which MLflow's registry gets each trained labeller as a version. The alias `champion` of this name
    moves to a version whose `training.monitor` on the validation split is better than that of the champion. null:
    models are not registered."""
    register_captioner: RegisteredName | None = None
    """The same for captioners, which `captioner.training.monitor` compares."""


class ImageEncoder(Section):
    """The frozen CNN whose feature map the captioner looks at."""

    name: str
    """The network: one of those of `encoder.name`, but not given."""
    weights: str | None
    """The weights: imagenet or pretrained, or the path of a weights file. null takes random weights."""
    grid: Grid
    """The map is averaged to grid x grid regions."""
    stride: Stride | None
    """Which feature map is used. null takes the last one. 16 takes the last map whose cells are 16 pixels apart, for
    small things."""
    batch_size: BatchSize
    """How many images are encoded in one batch."""


class Captions(Section):
    """A set of captioned images, how it is split and how it is encoded. Its layout is in docs/users/data_format.md."""

    name: str
    """The name of the data set, which MLflow shows."""
    root: Path
    """The folder of the data set."""
    val_fraction: Fraction01
    """The share of the groups that becomes the validation split. A data set with splits/train.txt and without
    splits/val.txt takes it from its training split. It does not count where splits/val.txt names a split."""
    test_fraction: Fraction01
    """The share of the groups that becomes the test split, where the data set has no folder splits/."""
    skip_broken: bool
    """true leaves out each image that has a problem and prints the problem. false stops at any problem."""
    follow_links: bool = False
    """Whether text files (captions, groups, splits) are read that are links out of the data set. Links of images are
    always followed."""
    min_word_count: Positive
    """Words that occur less often in the training captions are unknown to the captioner."""
    mirror: bool
    """true also trains on each training image mirrored. Leave it false where captions say left and right."""
    pixels: Pixels
    """How images become the encoder's input."""
    encoder: ImageEncoder
    """The CNN that encodes the images."""


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


class Params(Section):
    """All of params.yaml."""

    seed: int
    """The seed of all random numbers of training and of the split into training, validation and test."""
    search: Annotated[str, Field(pattern=r"^[\w.\-]+$")] | None
    """The name of the search or cross-validation that this run is part of. Its runs are children of one run in
    MLflow. null: no search."""
    num_samples: Positive
    """How many held-out videos are labelled as samples at the end, and how many images are shown with captions."""
    scenes: Scenes
    """The embedded data set."""
    dataset: Dataset
    """Your videos or features, with their labels."""
    encoder: Encoder
    """The CNN that encodes frames."""
    labeller: LabellerSettings
    """The recurrent network that labels frames."""
    training: Training
    """How the labeller is trained."""
    distillation: Distillation = Distillation()
    """What else the labeller learns from."""
    tracking: Tracking = Tracking()
    """What becomes of trained models in MLflow."""
    captions: Captions
    """Your captioned images."""
    captioner: CaptionerSettings
    """The network that writes captions."""

    @model_validator(mode="after")
    def _a_map_for_the_filters(self) -> Self:
        if self.labeller.map_filters and self.encoder.grid < 2:
            raise ValueError(
                f"labeller.map_filters {self.labeller.map_filters}: expected a map to read, got encoder.grid"
                f" {self.encoder.grid}: set it to 2 or more, or map_filters to null"
            )
        return self

    @model_validator(mode="after")
    def _segments_to_score(self) -> Self:
        if self.training.threshold_score == "segment_f1" and self.labeller.head == "many_to_one":
            raise ValueError(
                "training.threshold_score segment_f1 scores segments, and with labeller.head many_to_one a segment is a"
                " whole video: choose f1"
            )
        return self

    @model_validator(mode="after")
    def _a_teacher_of_frames(self) -> Self:
        if self.distillation.teacher is not None and self.labeller.head == "many_to_one":
            raise ValueError("distillation.teacher says what each frame is: expected labeller.head many_to_many")
        return self

    @model_validator(mode="after")
    def _a_state_to_burn_in(self) -> Self:
        if self.training.burn_in_frames and (self.labeller.cell == "none" or self.labeller.head == "many_to_one"):
            raise ValueError(
                f"training.burn_in_frames {self.training.burn_in_frames} gives a recurrent network that labels frames a"
                f" history: got labeller.cell {self.labeller.cell} and labeller.head {self.labeller.head}; set it to 0"
            )
        return self

    @model_validator(mode="after")
    def _a_state_to_carry(self) -> Self:
        if self.training.windows == "consecutive" and self.labeller.bidirectional and self.labeller.cell != "none":
            raise ValueError(
                "training.windows consecutive carries the state from window to window, which a bidirectional network"
                " cannot: choose labeller=rnn, gru or lstm, or set labeller.bidirectional to false"
            )
        return self


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Read and check params.yaml; raise InputError with every problem, one per line."""
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
