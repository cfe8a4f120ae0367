#!/usr/bin/python3
"""Reads CTest's JUnit file, lists what was skipped and why, prints the counts.

Exit status: 1 when a test failed, when no test ran, or, with --no-skip, when one
was skipped.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter

# What GoogleTest prints before the reason of GTEST_SKIP().
SKIP_REASON = re.compile(r"Skipped\n(?P<reason>.*?)\n", re.DOTALL)


def reason_of(case: ElementTree.Element) -> str:
    """The reason a test gave for skipping itself, or what CTest says."""
    output = case.findtext("system-out") or ""
    found = SKIP_REASON.search(output)
    if found and found["reason"].strip():
        return found["reason"].strip()
    skipped = case.find("skipped")
    return (skipped.get("message") if skipped is not None else None) or "no reason given"


def main(arguments: list[str]) -> int:
    """Prints the summary of one results file."""
    path = arguments[0]
    no_skip = "--no-skip" in arguments[1:]
    try:
        cases = list(ElementTree.parse(path).getroot().iter("testcase"))
    except (OSError, ElementTree.ParseError) as error:
        print(f"{path}: {error}", file=sys.stderr)
        return 1
    failed = [c for c in cases if c.find("failure") is not None or c.get("status") == "fail"]
    skipped = [c for c in cases if c not in failed and c.find("skipped") is not None]
    passed = len(cases) - len(failed) - len(skipped)
    for reason, count in sorted(Counter(map(reason_of, skipped)).items()):
        print(f"skipped {count}: {reason}")
    for case in failed:
        print(f"failed: {case.get('name')}")
    print(f"{passed} passed, {len(failed)} failed, {len(skipped)} skipped")
    return int(bool(failed) or passed == 0 or (no_skip and bool(skipped)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
