#!/usr/bin/python3
"""Result files in, one page out."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from load import ResultError, load_folder  # noqa: E402
from page import render  # noqa: E402

# A folder beside the page where it is made; hidden, so that nobody opens half a page.
SCRATCH_PREFIX = ".report-"


def main(arguments: list[str] | None = None) -> int:
    """Returns 0; 1 when the results cannot be used, 3 when the page cannot be written."""
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
        # What a killed run left behind.
        for stale in out.glob(f"{SCRATCH_PREFIX}*"):
            shutil.rmtree(stale, ignore_errors=True)
        # All or nothing: a page that is half new and half old would lie.
        with tempfile.TemporaryDirectory(dir=out, prefix=SCRATCH_PREFIX) as scratch:
            render(results, Path(scratch))
            for path in sorted(Path(scratch).iterdir()):
                shutil.move(path, out / path.name)
        print(f"{out / 'report.html'}", flush=True)
    except ResultError as error:
        print(f"nfarena report: error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        where = error.filename or out
        print(f"nfarena report: error: {where}: {error.strerror}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        # The scratch folder is gone by now; end as the signal would have ended this.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.raise_signal(signal.SIGINT)
