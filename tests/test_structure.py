"""The structure of the project: imports go downwards, dvc.yaml lists the imports of stages, and configs are valid."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra import compose, initialize_config_dir
from import_graph import (
    MODULES,
    PACKAGE,
    ROOT,
    TREE,
    circles,
    imports_of,
    levels,
    module_graph,
    room_graph,
)
from omegaconf import OmegaConf

from pipeline.config.params import Params, load_params
from pipeline.stages.dependencies import with_code_dependencies
from pipeline.stages.evaluate_labeller import PICTURES

# The rooms from the lowest to the highest, each with those that it may import. All may import `errors` and `files`.
BOTTOM = {"errors", "files"}
MAY_IMPORT = {
    "pipeline": set(),
    "errors": set(),
    "imports": set(),
    "rnn": set(),
    "scores": set(),
    "files": {"errors"},
    "config": {"errors", "scores"},
    "stores": BOTTOM,
    "text": BOTTOM,
    "video": {"pipeline", *BOTTOM},
    "models": {"config", "rnn", "text", *BOTTOM},
    "annotations": {"text", *BOTTOM},
    "postprocessing": {"annotations"},
    "metrics": {"annotations", "scores", "text", *BOTTOM},
    "drawing": {"annotations", "video", *BOTTOM},
    "datasets": {"annotations", "text", "video", *BOTTOM},
    "checkpoints": {"annotations", "config", "models", "text", "video", *BOTTOM},
    "encoding": {"checkpoints", "models", "rnn", "video", *BOTTOM},
    "tracking": {"checkpoints", "scores", "text", *BOTTOM},
    "interchange": {"annotations", "metrics", "text", "video", *BOTTOM},
    "labelling": {
        "annotations",
        "checkpoints",
        "datasets",
        "drawing",
        "encoding",
        "models",
        "postprocessing",
        "stores",
        "text",
        "tracking",
        "video",
        *BOTTOM,
    },
    "training": {
        "annotations",
        "checkpoints",
        "config",
        "datasets",
        "drawing",
        "encoding",
        "imports",
        "metrics",
        "models",
        "postprocessing",
        "scores",
        "text",
        "tracking",
        "video",
        *BOTTOM,
    },
    "captioning": {"annotations", "checkpoints", "encoding", "labelling", "text", "video", *BOTTOM},
    "fleet": {"encoding", "imports", "labelling", "stores", "text", "video", *BOTTOM},
    "studio": {
        "annotations",
        "datasets",
        "drawing",
        "interchange",
        "labelling",
        "metrics",
        "scores",
        "text",
        "video",
        *BOTTOM,
    },
    "pyfunc": {"annotations", "captioning", "checkpoints", "labelling", "stores", *BOTTOM},
    "stages": {
        "annotations",
        "captioning",
        "checkpoints",
        "config",
        "datasets",
        "drawing",
        "encoding",
        "imports",
        "labelling",
        "metrics",
        "text",
        "tracking",
        "training",
        "video",
        *BOTTOM,
    },
    "cli": {
        "annotations",
        "captioning",
        "datasets",
        "drawing",
        "fleet",
        "interchange",
        "labelling",
        "metrics",
        "scores",
        "stages",
        "stores",
        "studio",
        "text",
        "tracking",
        "video",
        *BOTTOM,
    },
}
MAX_LEVELS = 10
ONLY_THERE = {
    "mlflow": {
        f"pipeline.tracking.{name}"
        for name in ("connection", "models", "registry", "searches", "store", "unsent", "writes")
    }
    | {"pipeline.pyfunc"},
    "decord": {"pipeline.video.readers.decord"},
    "openvino": {"pipeline.encoding.openvino"},
    "ray": {"pipeline.fleet.cluster"},
    "timm": {"pipeline.models.encoders.timm_networks"},
    "dvc": set(),
    "hydra": set(),
}


def test_rooms_import_only_what_is_permitted():
    assert room_graph().keys() == MAY_IMPORT.keys()
    forbidden = {room: imported - MAY_IMPORT[room] for room, imported in room_graph().items()}
    assert not {room: names for room, names in forbidden.items() if names}


def test_every_permission_is_used():
    unused = {room: allowed - room_graph()[room] - BOTTOM for room, allowed in MAY_IMPORT.items()}
    assert not {room: names for room, names in unused.items() if names}


def test_there_are_no_circular_imports():
    assert circles(module_graph()) == []


def test_the_number_of_levels_of_imports_does_not_grow():
    rooms = room_graph()
    assert circles(rooms) == []
    height = max(levels(rooms).values())
    num_arrows = sum(map(len, rooms.values()))
    print(f"{len(rooms)} rooms, {height} levels, {num_arrows} arrows between rooms, 0 circles")
    assert height <= MAX_LEVELS


@pytest.mark.parametrize("library", ONLY_THERE)
def test_a_library_is_imported_in_one_place_only(library):
    users = {m for m in MODULES if any(name.split(".")[0] == library for name in imports_of(m))}
    assert users == ONLY_THERE[library]


def test_every_import_can_be_read_from_the_source():
    """No stage would depend on an import that `pipeline.imports` cannot read."""
    for module, path in MODULES.items():
        for by_name in ("import_module(", "__import__(", "run_module(", "run_path("):
            assert by_name not in path.read_text(), f"{module}: {by_name}...)"


def test_every_data_file_is_named_by_the_code_that_reads_it():
    counted = set().union(*map(TREE.files_of, MODULES))
    assert not set(TREE.data_files) - counted, "name each in full, as in env.get_template('page.html')"


def stages() -> dict[str, dict]:
    return yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]


def test_a_stage_lists_what_it_imports():
    text = (ROOT / "dvc.yaml").read_text()
    assert text == with_code_dependencies(text, TREE), "run: python -m pipeline.stages.dependencies"


@pytest.mark.parametrize("stage", stages())
def test_a_stage_runs_its_own_file(stage):
    assert stages()[stage]["cmd"] == f"python -m pipeline.stages.{stage}"


def test_every_stage_file_is_a_stage():
    files = {path.stem for path in (PACKAGE / "stages").glob("*.py")} - {"__init__", "paths", "dependencies"}
    assert files == set(stages())


def test_dvc_plots_are_columns_of_tables_and_a_folder_of_pictures():
    """DVC reads each file of a folder of plots as data, so such a folder must not contain tables or reports."""
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    folders = [plot for plot in plots if isinstance(plot, str)]
    assert folders == [f"results/evaluation/{PICTURES}"]
    outs = {out if isinstance(out, str) else next(iter(out)) for stage in stages().values() for out in stage["outs"]}
    for plot in plots:
        name, settings = (plot, {}) if isinstance(plot, str) else next(iter(plot.items()))
        columns = settings.get("y")
        for file in columns if isinstance(columns, dict) else [name]:
            assert outs & {file, *map(str, Path(file).parents)}, f"no stage writes {file}"


def composed(*overrides: str) -> dict:
    with initialize_config_dir(str(ROOT / "configs"), version_base=None):
        return OmegaConf.to_container(compose("config", list(overrides)), resolve=True)


def test_params_yaml_equals_the_composed_configs():
    assert yaml.safe_load((ROOT / "params.yaml").read_text()) == composed()


@pytest.mark.parametrize("group", ["dataset", "encoder", "labeller", "training", "captions", "captioner"])
def test_every_config_is_valid(group):
    for path in (ROOT / "configs" / group).glob("*.yaml"):
        values = composed(f"{group}={path.stem}")
        if values["encoder"]["grid"] == 1:  # there is no map, which the filters of the default data set read
            values["labeller"]["map_filters"] = None
        Params.model_validate(values)


def test_every_param_of_dvc_yaml_exists():
    params = load_params(ROOT / "params.yaml").model_dump(mode="json")
    for stage in stages().values():
        for name in stage["params"]:
            value = params
            for key in name.split("."):
                value = value[key]


def test_help_imports_nothing_heavy():
    command = [sys.executable, "-X", "importtime", "-m", "pipeline.cli", "label", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True, timeout=120)
    assert "--overlay" in result.stdout
    assert not any(name in result.stderr for name in ("torch", "numpy", "mlflow", "cv2"))
