"""What all sections of params.yaml share: how strict they are, and the bounds of their values."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Fraction01 = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[int, Field(ge=1)]
MAX_STEP_FRAMES = 10_000
# The sizes of a model, and of what it computes on, have bounds far above what is useful: a checkpoint may come from a
# stranger, and a size that was changed in it must not take all memory.
Size = Annotated[int, Field(ge=1, le=65_536)]
NumLayers = Annotated[int, Field(ge=1, le=100)]
SegmentFrames = Annotated[int, Field(ge=1, le=1_000_000_000)]
SegmentDecoding = Literal["merge", "viterbi", "viterbi_by_kind", "auto"]
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
