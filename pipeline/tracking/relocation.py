"""A tracking store whose folder was renamed, moved or copied: the places of its artifacts are corrected.

MLflow keeps the absolute place of each artifact in its database, and has no call that changes it.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pipeline.errors import InputError

DATABASE, ARTIFACTS = "mlflow.db", "mlartifacts"
PLACES = (  # tables and columns of MLflow's database
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def relocate(root: Path, location: str) -> None:
    """Correct the places in a store, if its folder was moved or copied to where it is now.

    Nothing is done where the artifacts are where the store says, in a place that this project did not choose, or where
    only the database was moved.

    Args:
        root: The folder of the store.
        location: Where the store says that the artifacts of its experiment are, as a URI.

    Raises:
        InputError: The database cannot be written.
    """
    place = root / ARTIFACTS
    old_root = location.removesuffix(f"/{ARTIFACTS}")
    if location in (place.as_uri(), old_root) or not location.startswith("file:///"):
        return
    if not place.exists() and Path(unquote(urlsplit(location).path)).exists():
        return
    database, old = root / DATABASE, f"{old_root}/"
    try:
        with closing(sqlite3.connect(database)) as connection, connection:
            for table, column in PLACES:
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?",
                    (f"{root.as_uri()}/", len(old) + 1, len(old), old),
                )
    except sqlite3.OperationalError as error:
        raise InputError(
            f"{database}: says that its artifacts are at {location}, expected {place.as_uri()}: the folder was moved,"
            f" and the database cannot be corrected ({error})"
        ) from None
