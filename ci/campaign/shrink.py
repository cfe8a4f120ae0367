"""The smallest part of a list that still fails: delta debugging (ddmin)."""

from __future__ import annotations

from collections.abc import Callable


def shrink(items: list[str], fails: Callable[[list[str]], bool]) -> list[str]:
    """Removes what can be removed, in halves, quarters and so on down to one.

    `fails(items)` must hold; it holds for the result, of which no single item
    can be left out.
    """
    size = max(1, len(items) // 2)
    while True:
        removed = False
        start = 0
        while start < len(items):
            shorter = items[:start] + items[start + size :]
            if shorter and fails(shorter):
                items = shorter
                removed = True
            else:
                start += size
        if size > 1:
            size //= 2
        elif not removed:
            return items
