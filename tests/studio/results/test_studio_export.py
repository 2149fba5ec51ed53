"""What the studio exports is what `framescribe export` writes of the same labels."""

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from made_results import EXCLUSIVE, KEY, OVERLAPPING, write_results
from made_studio import Answer, Studio, serving

from pipeline.annotations.foreign.registry import FOREIGN_FORMATS
from pipeline.annotations.label_space import LabelSpace
from pipeline.errors import InputError
from pipeline.interchange.exporting import export_labels
from pipeline.interchange.videos import VideoFolder
from pipeline.studio.results.exports import disposition, file_name

FORMATS = [each for each in FOREIGN_FORMATS if each.write is not None]


@pytest.fixture(scope="module", params=[EXCLUSIVE, OVERLAPPING], ids=["exclusive", "overlapping"])
def studio(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[tuple[Studio, Path]]:
    folder = tmp_path_factory.mktemp("export")
    space: LabelSpace = request.param
    write_results(folder / "dätä set", folder / "predicted", space=space)
    with serving(folder / "dätä set") as running:
        yield running, folder / "dätä set"


def exported(studio: Studio, **body: Any) -> tuple[dict[str, Any], Answer]:
    answer = studio.post("/api/export", {"source": "given", "videos": None, **body})
    assert answer.status == 200, answer.content
    made: dict[str, Any] = answer.json
    file = studio.get(f"/api/export/{made['id']}")
    assert file.status == 200
    return made, file


def contents(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("layout", FORMATS, ids=lambda layout: layout.name)
def test_files_are_those_of_the_command(studio: tuple[Studio, Path], layout: Any, tmp_path: Path) -> None:
    running, place = studio
    folder = tmp_path / "out"
    folder.mkdir()
    out = folder if layout.is_per_video else folder / f"labels{layout.suffixes[0]}"
    try:
        expected = export_labels(layout, place, VideoFolder(place / "videos"), out)
    except InputError:
        refused = running.post("/api/export", {"source": "given", "videos": None, "format": layout.name})
        assert refused.status == 422
        assert refused.error.startswith("one.csv: cannot be written")
        assert "/tmp" not in refused.error
        return
    made, file = exported(running, format=layout.name)
    wanted = {path.name: path.read_bytes() for path in folder.iterdir()}
    found = contents(file.content) if len(wanted) > 1 else {out.name: file.content}
    assert found == wanted
    assert made["num_videos"] == expected.num_videos == 2
    assert len(made["losses"]) == len(expected.losses.describe())
    assert made["failures"] == []


def test_edits_that_are_not_saved_yet_and_labels_of_a_model_are_exported(studio: tuple[Studio, Path]) -> None:
    running, _ = studio
    video = running.ids()["two"]
    given = running.get(f"/api/videos/{video}/labels").json
    name = running.get("/api/studio").json["classes"][0]["name"]
    value = 0 if running.get("/api/studio").json["exclusive"] else 1
    edit = {"version": given["version"], "name": "relabel", "paints": [[0, 0, 45, value]]}
    assert running.post(f"/api/videos/{video}/edits", edit).status == 200
    made, file = exported(running, format="framescribe")
    files = contents(file.content)
    assert f"0,45,{name}\n" in files["labels/two.csv"].decode()
    assert {"labels/one.csv", "labels/two.csv"} < files.keys()
    of_model = contents(exported(running, format="framescribe", source=KEY)[1].content)
    assert {"labels/one.csv", "labels/two.csv", "labels/three.csv"} < of_model.keys()
    assert of_model["labels/two.csv"] != files["labels/two.csv"]
    running.post(f"/api/videos/{video}/undo", {"version": running.get(f"/api/videos/{video}/labels").json["version"]})
    assert made["name"] == "dätä_set_given_labels_framescribe.zip"
    header = file.headers["content-disposition"]
    assert header.isascii()
    encoded = re.search(r"filename\*=UTF-8''(\S+)", header)
    assert encoded is not None
    assert unquote(encoded[1]) == made["name"]


def test_one_video_is_one_file(studio: tuple[Studio, Path], tmp_path: Path) -> None:
    running, place = studio
    layout = next(each for each in FORMATS if each.is_per_video)
    made, file = exported(running, format=layout.name, videos=[running.ids()["one"]])
    out = tmp_path / "all"
    export_labels(layout, place, VideoFolder(place / "videos"), out)
    assert file.content == (out / f"one{layout.suffixes[0]}").read_bytes()
    assert made["name"].endswith(layout.suffixes[0])


def test_what_cannot_be_exported_is_said(studio: tuple[Studio, Path]) -> None:
    running, _ = studio
    ids = running.ids()
    made, _ = exported(running, format="framescribe", videos=[ids["one"], ids["three"]])
    assert made["failures"] == ["three: has no label"]
    refused = {"source": "given", "format": "framescribe", "videos": [ids["three"]]}
    assert running.post("/api/export", refused).status == 422
    assert "three: has no label" in running.post("/api/export", refused).error
    for changed in ({"format": "word"}, {"source": "nothing"}, {"videos": ["../etc"]}):
        assert running.post("/api/export", refused | changed).status == 404
    assert running.post("/api/export", refused | {"videos": "all"}).status == 400
    assert running.get("/api/export/0123").status == 404


def test_all_formats_that_can_be_written_are_offered(studio: tuple[Studio, Path]) -> None:
    offered = studio[0].get("/api/export/formats").json["formats"]
    assert [each["name"] for each in offered] == ["framescribe", *(each.name for each in FORMATS)]


@pytest.mark.parametrize(
    "name", ['a"b\r\nSet-Cookie: x=1', "../../etc/passwd", "ключ", "", "a;b\\c", "my data, 3 May", "." * 5, "x" * 500]
)
def test_names_of_files_are_safe(name: str) -> None:
    safe = file_name(name)
    assert safe
    assert len(safe) <= 120
    assert not set(safe) & set('/\\\r\n"<> ')
    header = disposition(safe)
    assert header.isascii()
    assert header.isprintable()
