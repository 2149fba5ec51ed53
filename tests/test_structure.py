"""The house keeps its rules: imports go downwards, dvc.yaml lists what stages import, configs and params.yaml agree."""

import subprocess
import sys
import time

import pytest
import yaml
from hydra import compose, initialize_config_dir
from import_graph import MODULES, PACKAGE, ROOT, dvc_deps_of, imports_of
from omegaconf import OmegaConf

from pipeline.config import Params, load_params

BOTTOM = {"errors", "files"}
MAY_IMPORT = {
    "errors": set(),
    "files": {"errors"},
    "rnn": set(),
    "video": BOTTOM,
    "labels": BOTTOM,
    "models": {"labels", "rnn", *BOTTOM},
    "metrics": {"labels", *BOTTOM},
    "config": {"errors"},
    "datasets": {"video", "labels", *BOTTOM},
    "encode": {"models", "runtime", "video", *BOTTOM},
    "checkpoint": {"config", "models", "video", *BOTTOM},
    "runtime": {"checkpoint", "cuda_runtime", "rnn", *BOTTOM},
    "cuda_runtime": {"batches", "checkpoint", "rnn", *BOTTOM},
    "batches": set(),
    "training": {
        "caption_checkpoint",
        "checkpoint",
        "config",
        "datasets",
        "encode",
        "labels",
        "metrics",
        "models",
        "runtime",
        "video",
        *BOTTOM,
    },
    "caption_checkpoint": {"checkpoint", "config", "labels", "models", "video", *BOTTOM},
    "predict": {"checkpoint", "datasets", "encode", "labels", "models", "runtime", "training", "video", *BOTTOM},
    "label_report": {"labels", "predict", "video", *BOTTOM},
    "label_files": {"label_report", "labels", "predict", "training", "video", *BOTTOM},
    "caption": {"caption_checkpoint", "encode", "label_files", "labels", "predict", "runtime", "video", *BOTTOM},
    "label_command": {"label_files", "labels", "live_command", "predict", *BOTTOM},
    "caption_command": {"caption", "labels", *BOTTOM},
    "live": {"labels", "models", "predict", "video", *BOTTOM},
    "live_command": {"live", "predict", "video", *BOTTOM},
    "review": {"labels", "predict", "video", *BOTTOM},
    "review_command": {"label_files", "predict", "review", *BOTTOM},
    "compare": {"training", *BOTTOM},
    "pyfunc": {"caption", "checkpoint", "predict", *BOTTOM},
}
ABOVE = {"stages", "summary", "cli"}
ONLY_THERE = {
    "mlflow": {"pipeline.training.tracking"},
    "decord": {"pipeline.video.decord_reader"},
    "openvino": {"pipeline.runtime"},
    "dvc": set(),
    "hydra": set(),
}


def part_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "pipeline"


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_go_downwards(module):
    if part_of(module) in {"pipeline", *ABOVE}:
        allowed = {part_of(name) for name in MODULES} - ({"cli", "summary"} if part_of(module) == "stages" else set())
    else:
        allowed = MAY_IMPORT[part_of(module)] | {part_of(module)}
    found = {part_of(name) for name in imports_of(module) if name.startswith("pipeline.")}
    assert found <= allowed


@pytest.mark.parametrize("library", ONLY_THERE)
def test_a_library_is_known_in_one_place(library):
    users = {m for m in MODULES if any(name.split(".")[0] == library for name in imports_of(m))}
    assert users == ONLY_THERE[library]


def stages() -> dict[str, dict]:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


@pytest.mark.parametrize("stage", stages())
def test_a_stage_lists_what_it_imports(stage):
    listed = {dep for dep in stages()[stage]["deps"] if dep.startswith("pipeline/")}
    assert listed == dvc_deps_of(f"pipeline.stages.{stage}")
    assert stages()[stage]["cmd"] == f"python -m pipeline.stages.{stage}"


def test_every_stage_file_is_a_stage():
    files = {path.stem for path in (PACKAGE / "stages").glob("*.py")} - {"__init__", "paths"}
    assert files == set(stages())


def composed(*overrides: str) -> dict:
    with initialize_config_dir(str(ROOT / "configs"), version_base=None):
        return OmegaConf.to_container(compose("config", list(overrides)), resolve=True)


def test_params_yaml_is_what_configs_compose():
    assert yaml.safe_load((ROOT / "params.yaml").read_text()) == composed()


@pytest.mark.parametrize("group", ["dataset", "encoder", "labeller", "training", "captions", "captioner"])
def test_every_config_of_a_group_is_valid(group):
    for path in (ROOT / "configs" / group).glob("*.yaml"):
        Params.model_validate(composed(f"{group}={path.stem}"))


def test_every_param_of_dvc_yaml_exists():
    params = load_params(ROOT / "params.yaml").model_dump(mode="json")
    for stage in stages().values():
        for name in stage["params"]:
            value = params
            for key in name.split("."):
                value = value[key]


def test_help_answers_in_under_half_a_second_without_torch():
    command = [sys.executable, "-X", "importtime", "-m", "pipeline.cli", "label", "--help"]
    start = time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert "--overlay" in result.stdout
    assert not any(name in result.stderr for name in ("torch", "numpy", "mlflow", "cv2"))
    assert time.perf_counter() - start < 10  # a hang; how fast it is, is measured in benchmarks
