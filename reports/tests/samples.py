"""Small hand-made result files for the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ENGINES = [
    {"name": "reference", "kind": "twin", "description": "the oracle", "checked_against": "",
     "available": True, "reason": ""},
    {"name": "kernel-nft", "kind": "kernel", "description": "the kernel", "checked_against": "",
     "available": False, "reason": "no right"},
]


def result(kind: str, cases: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """A valid result of `kind` with `cases`; `changes` replace top-level keys."""
    data = {
        "schema": "nfarena-result", "version": 1, "kind": kind, "complete": True,
        "command": ["nfarena", "bench", "--what", kind], "engines": ENGINES, "cases": cases,
        "skipped": [],
        "environment": {
            "commit": "c0ffee", "dirty": False, "compiler": "GNU 12.2.0", "build_type": "Release",
            "kernel": "Linux 6.18", "machine": {"cpu": None, "cores": 2, "caches": []},
            "versions": {"nft": "1.0.6"},
        },
    }
    data.update(changes)
    return data


def timed(workload: str, engine: str, rules: int, samples: list[float], **counters: float):
    """One timed case."""
    return {"workload": workload, "engine": engine, "rules": rules, "samples_ns": samples,
            "counters": counters, "error": ""}


def judged(case: str, differences: int = 0, state: str = "ran") -> dict[str, Any]:
    """One ruleset that both engines saw."""
    run = {"packets_kind": "aimed", "reason": "", "indeterminate": 1, "counters_compared": 3}
    return {
        "case": case, "description": "d", "origin": "o", "family": "ipv4", "rules": 5,
        "packets": 10, "rules_hit": 4, "error": "", "failed_expectations": [],
        "differences": ["case: a and b differ | <b>"] * differences,
        "runs": [
            {**run, "engine": "reference", "state": "ran", "compared": 0, "differences": 0},
            {**run, "engine": "kernel-nft", "state": state, "compared": 9,
             "differences": differences},
        ],
    }


def write(folder: Path, *results: dict[str, Any]) -> None:
    """Writes each result under its kind's file name."""
    for data in results:
        (folder / f"{data['kind']}.json").write_text(json.dumps(data), encoding="utf-8")
