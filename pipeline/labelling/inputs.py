"""The videos of a call: files and folders, addresses of stores, and lists of all of these."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from pathlib import Path, PurePosixPath

from pipeline.errors import InputError
from pipeline.files import VIDEO_SUFFIXES, InputFile, choose_by_suffix, find_files
from pipeline.labelling.model import Model
from pipeline.labelling.reading import FEATURE_SUFFIX
from pipeline.labelling.stored_outputs import FINISHED, PARTLY
from pipeline.stores.address import Address, as_place
from pipeline.stores.objects import StoredFile, list_folder, read_object

LIST_SUFFIX = ".txt"
MIN_LISTED = 100  # objects of one folder, from which on a listing takes fewer requests than to ask for each of them


def find_inputs(
    paths: Sequence[Path], model: Model, *, on_note: Callable[[str], None] = lambda note: None
) -> list[Path]:
    """Find the files to label, each once.

    Args:
        paths: Files, and folders. Of a folder, the files that the model could read are found, sorted, but not the
            overlays that an earlier call wrote.
        model: The labeller.
        on_note: It is called with one sentence for each folder with files that are passed over, which may be videos.

    Raises:
        InputError: A folder holds no such file.
    """
    if model.sees_videos:
        return find_files(paths, VIDEO_SUFFIXES, kind="video", on_note=on_note)
    return find_files(paths, {FEATURE_SUFFIX}, kind=f"{FEATURE_SUFFIX} file, which is what the model was trained on")


def find_everywhere(
    inputs: Sequence[Path | Address], model: Model, *, on_note: Callable[[str], None] = lambda note: None
) -> list[InputFile]:
    """Find the files to label as `find_inputs` does, also in stores and by lists.

    Args:
        inputs: Files and folders, on this machine or in a store, and lists of them: text files (.txt) with one in each
            line.
        model: The labeller.
        on_note: See `find_inputs`.

    Raises:
        InputError: A folder holds no such file, or a list is empty or no text.
        OSError: A store could not be asked.
    """
    found: dict[Address, StoredFile] = {}
    paths: list[Path] = []
    for place in _listed(inputs):
        if isinstance(place, Path):
            paths.append(place)
            continue
        for file in _find_objects(place, model, on_note):
            if file.listed or file.address not in found:
                found[file.address] = file
    stored = _describe_many(list(found.values()))
    return [*(find_inputs(paths, model, on_note=on_note) if paths else []), *stored]


def _listed(inputs: Sequence[Path | Address]) -> Iterator[Path | Address]:
    """Yield the inputs, with the lines of a list in its place."""
    for place in inputs:
        path = place if isinstance(place, Path) else place.path
        if path.suffix.lower() != LIST_SUFFIX or (isinstance(place, Path) and not place.is_file()):
            yield place
            continue
        try:
            content = place.read_bytes() if isinstance(place, Path) else read_object(place)
            lines = [line.strip() for line in StringIO(content.decode("utf-8-sig"), newline=None)]
        except UnicodeDecodeError:
            raise InputError(f"{place}: is not text in UTF-8, expected one path or address in each line") from None
        if not any(lines):
            raise InputError(f"{place}: is empty, expected one path or address in each line")
        yield from (as_place(line) for line in lines if line)


def _find_objects(place: Address, model: Model, on_note: Callable[[str], None]) -> list[StoredFile]:
    if not model.sees_videos:
        raise InputError(f"{place}: the model was trained on ready features, which are read from files only")
    if place.path.suffix.lower() in VIDEO_SUFFIXES and place == place.folder:
        return [StoredFile(place)]
    names = {name: status for name, status in list_folder(place).items() if not name.endswith((FINISHED, PARTLY))}
    if not names and not place.place.endswith("/"):
        return [StoredFile(place)]  # an object without a suffix, or nothing: reported when it is read
    chosen = choose_by_suffix(place, map(PurePosixPath, names), VIDEO_SUFFIXES, kind="video", on_note=on_note)
    return [StoredFile(place / path.name, names[path.name]) for path in chosen]


def _describe_many(files: Sequence[StoredFile]) -> list[StoredFile]:
    """Describe objects that were named one by one, by the listings of folders from which many were named."""
    folders = Counter(_folder(file) for file in files if file.listed is None)
    listings = {folder: list_folder(folder) for folder, count in folders.items() if count >= MIN_LISTED}
    return [
        file if file.listed else StoredFile(file.address, listings.get(_folder(file), {}).get(file.name))
        for file in files
    ]


def _folder(file: StoredFile) -> Address:
    return file.address._replace(place=file.address.place.rpartition("/")[0])
