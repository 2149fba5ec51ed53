"""All settings of params.yaml, and what its sections ask of each other."""

from pathlib import Path
from typing import Annotated, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from pipeline.config.captioner import CaptionerSettings
from pipeline.config.data import Captions, Dataset, Scenes
from pipeline.config.encoder import Encoder
from pipeline.config.labeller import LabellerSettings
from pipeline.config.section import Positive, RegisteredName, Section
from pipeline.config.training import Distillation, Training
from pipeline.errors import InputError


class Tracking(Section):
    """What becomes of trained models in MLflow."""

    register_labeller: RegisteredName | None = None
    """The name under which MLflow's registry gets each trained labeller as a version. The alias `champion` of this name
    moves to a version whose `training.monitor` on the validation split is better than that of the champion. null:
    models are not registered."""
    register_captioner: RegisteredName | None = None
    """The same for captioners, which `captioner.training.monitor` compares."""


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
