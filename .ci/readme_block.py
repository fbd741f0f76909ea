"""Print the n-th code block of a reStructuredText file: what runs is what the reader is told to run."""

import sys
import textwrap
from pathlib import Path


def code_blocks(text: str) -> list[str]:
    """Return the content of every ``code-block`` directive, in order, without its indentation."""
    blocks: list[list[str]] = []
    inside = False
    for line in text.splitlines():
        if line.startswith(".. code-block::"):
            blocks.append([])
            inside = True
        elif inside and line.strip() and not line.startswith(" "):
            inside = False
        elif inside:
            blocks[-1].append(line)
    return [textwrap.dedent("\n".join(block)).strip("\n") for block in blocks]


if __name__ == "__main__":
    path, number = Path(sys.argv[1]), int(sys.argv[2])
    print(code_blocks(path.read_text(encoding="utf-8"))[number - 1])
