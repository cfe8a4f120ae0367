#!/usr/bin/python3
"""Result files in, one page out."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from load import ResultError, load_folder  # noqa: E402
from page import render  # noqa: E402


def main(arguments: list[str] | None = None) -> int:
    """Returns 0, or 1 when the results cannot be used or the page not written."""
    parser = argparse.ArgumentParser(
        prog="nfarena report",
        description="Turns a folder of nfarena result files into report.html and report.md.",
    )
    parser.add_argument("results", type=Path, help="folder with correctness.json, ...")
    parser.add_argument("--out", type=Path, help="folder of the page (default: the same)")
    options = parser.parse_args(arguments)
    out = options.out or options.results
    try:
        results = load_folder(options.results)
        out.mkdir(parents=True, exist_ok=True)
        # All or nothing: a page that is half new and half old would lie.
        with tempfile.TemporaryDirectory(dir=out, prefix=".report-") as scratch:
            render(results, Path(scratch))
            for path in sorted(Path(scratch).iterdir()):
                shutil.move(path, out / path.name)
    except ResultError as error:
        print(f"nfarena report: error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"nfarena report: error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    print(f"{out / 'report.html'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
