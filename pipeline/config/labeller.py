"""Settings of the recurrent network that labels frames."""

from typing import Literal, Self

from pydantic import model_validator

from pipeline.config.section import (
    ContextFrames,
    DeltaSpans,
    Fraction01,
    MapFilters,
    NumFrames,
    NumLayers,
    Section,
    SegmentDecoding,
    SegmentFrames,
    Size,
)


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
    the checkpoint. Live labels wait for one frame less than that, to see which segments are short."""
    decoding: SegmentDecoding = "merge"
    """How probabilities become segments. merge: as `min_segment_frames` says. viterbi, where classes exclude each
    other: the best sequence of segments, by the probabilities of the frames, and by how long the segments of each class
    last and which class follows which in the training labels. viterbi_by_kind: the same, and each class counts for
    more in a video that is like training videos where it is frequent. auto takes the one with the best F1@50 on the
    validation split, or merge: without a validation split, where classes overlap, and with head many_to_one. Live
    labels are those of the best sequence so far, `min_segment_frames` - 1 frames later, whatever the kind of video."""
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

    @property
    def always_decodes(self) -> bool:
        """Whether labels are the best sequence of segments, whatever the validation split says."""
        return self.decoding in ("viterbi", "viterbi_by_kind")

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
        if self.head == "many_to_one" and self.always_decodes:
            raise ValueError(
                f"with head many_to_one a segment is a whole video, which follows no other: got decoding"
                f" {self.decoding}, expected merge or auto"
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
