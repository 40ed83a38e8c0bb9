"""Print words and phrases that are out: `python tests/meta/prose.py [--count] [PATH ...]`.

Without paths, all files are read. `--count` prints sums by directory.
"""

import sys
from collections import Counter

from tokenplace_harness.prose.scan import directory_of, findings, tracked_files


def main(arguments: list[str]) -> int:
    """Print findings, or their number by directory; 1 when there is one."""
    roots = [argument for argument in arguments if argument != "--count"]
    paths = [path for path in tracked_files() if not roots or path.startswith(tuple(roots))]
    found = [finding for path in paths for finding in findings(path)]
    if "--count" in arguments:
        sums = Counter(directory_of(finding.path) for finding in found)
        for directory, number in sorted(sums.items()):
            print(f"{number:5} {directory}")
    else:
        for finding in found:
            print(finding)
    print(f"{len(found)} in all", file=sys.stderr)
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
