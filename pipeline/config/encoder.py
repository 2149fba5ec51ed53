"""Settings of the CNNs that encode frames and images."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from pipeline.config.section import BatchSize, Fraction01, Grid, Positive, Section, Stride
from pipeline.config.training import Training


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


class WordTraining(Section):
    """How a word_classifier is trained. Its loss on the validation split decides which epoch is kept."""

    epochs: Positive = 4
    """The number of epochs."""
    batch_size: Positive = 16
    """The number of images in each training step."""
    learning_rate: Annotated[float, Field(gt=0)] = 0.0002
    """The highest learning rate of the encoder's weights. It rises in the first epoch and then falls along a cosine."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    """The weight decay of the optimizer."""
    dropout: Fraction01 = 0.3
    """The share that training drops of the channels of each region, in which the words are looked for."""
    num_words: Positive = 800
    """How many words are learnt: the most frequent ones, without those that more than half of the images have."""

    warmup_epochs: ClassVar[int] = 1
    schedule: ClassVar[Literal["cosine"]] = "cosine"
    patience: ClassVar[None] = None
    monitor: ClassVar[Literal["loss"]] = "loss"


class ImageEncoder(Section):
    """The CNN whose feature map the captioner looks at."""

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
    training: Literal["frozen", "word_classifier"] = "frozen"
    """frozen: the encoder is not trained. word_classifier: it is first trained to find the words that people use for an
    image, and then frozen."""
    train_from: str | None = None
    """The first stage of the encoder that is trained, such as blocks.10 of efficientnet_lite2. The stages before it
    stay as they are. null trains all stages. A wrong name lists those of the network."""
    classifier: WordTraining = WordTraining()
    """How a word_classifier is trained."""

    @model_validator(mode="after")
    def _stages_of_what_is_trained(self) -> Self:
        if self.training == "frozen" and self.train_from is not None:
            raise ValueError(
                f"a frozen encoder has no stage that is trained: got train_from {self.train_from}: choose training"
                " word_classifier, or leave it out"
            )
        return self
