"""Reads and validates result files.

A file that is broken, cut off, of another program or of a newer schema is refused by
name, with what is wrong and where.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema

SCHEMA_VERSION = 1
KINDS = ("correctness", "update", "classify")
_SCHEMA_PATH = Path(__file__).parent / "schema" / f"result-{SCHEMA_VERSION}.json"


class ResultError(Exception):
    """A result file that cannot be used; the text names the file and the place."""


@dataclass(frozen=True)
class ResultFile:
    """One valid result file."""

    path: Path
    kind: str
    data: dict[str, Any]

    @property
    def complete(self) -> bool:
        """Whether the run came to its end."""
        return bool(self.data["complete"])


@dataclass(frozen=True)
class Results:
    """What a folder holds: at most one file a kind, and what is missing."""

    files: dict[str, ResultFile] = field(default_factory=dict)

    @property
    def missing(self) -> list[str]:
        """Kinds that have no file."""
        return [kind for kind in KINDS if kind not in self.files]

    def cases(self, kind: str) -> list[dict[str, Any]]:
        """The cases of one kind; empty when its file is missing."""
        return self.files[kind].data["cases"] if kind in self.files else []

    def any(self) -> ResultFile:
        """Some file, for what all of them share."""
        return next(iter(self.files.values()))


def _refuse_constant(name: str) -> None:
    """json takes NaN and Infinity, which no JSON has; a figure of them would be none."""
    raise ValueError(f"{name} is no number")


def load_file(path: Path) -> ResultFile:
    """Reads one file.

    Raises ResultError: not readable, not JSON (with line and column), not an nfarena
    result, newer version, or not as the schema says (with the path of the value).
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except OSError as error:
        raise ResultError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ResultError(f"{path}: not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise ResultError(
            f"{path}:{error.lineno}:{error.colno}: not JSON, or cut off: {error.msg}"
        ) from error
    except (ValueError, RecursionError) as error:  # NaN; a number or a nesting out of bounds
        raise ResultError(f"{path}: not JSON of a result: {error}") from error
    if not isinstance(data, dict) or data.get("schema") != "nfarena-result":
        raise ResultError(f"{path}: not an nfarena result file")
    version = data.get("version")
    if version != SCHEMA_VERSION:
        raise ResultError(
            f"{path}: schema version {version}, this program reads {SCHEMA_VERSION}"
        )
    schema = json.loads(_SCHEMA_PATH.read_text(encoding="utf-8"))
    error = jsonschema.exceptions.best_match(jsonschema.Draft7Validator(schema).iter_errors(data))
    if error is not None:
        where = "/".join(str(part) for part in error.absolute_path) or "(top)"
        raise ResultError(f"{path}: {where}: {error.message}")
    return ResultFile(path=path, kind=data["kind"], data=data)


def load_folder(folder: Path) -> Results:
    """Reads correctness.json, update.json and classify.json, those that exist.

    Raises ResultError when there is none, or one is not valid.
    """
    files = {}
    for kind in KINDS:
        path = folder / f"{kind}.json"
        if path.exists():
            result = load_file(path)
            if result.kind != kind:
                raise ResultError(f"{path}: holds a result of kind {result.kind}")
            files[kind] = result
    if not files:
        raise ResultError(f"{folder}: no result file ({', '.join(k + '.json' for k in KINDS)})")
    return Results(files=files)
