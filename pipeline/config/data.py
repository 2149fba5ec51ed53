"""Settings of data sets: where they are, how they are split, and how their pixels are read."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.config.encoder import ImageEncoder
from pipeline.config.section import Edge, Fraction01, FrameRate, Positive, Section, Side


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
