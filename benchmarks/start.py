"""How long it takes until devloop is there: importing it, its help, a command that only reads.

python -m benchmarks.start [--runs 20]
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.outside import LINE, show

ROOT = Path(__file__).resolve().parents[1]
DEVLOOP = str(Path(sys.executable).with_name("devloop"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    runs = parser.parse_args().runs
    print(LINE.format(name="", median="median", p95="p95", goal="goal", note=""))
    bare = taken([sys.executable, "-c", "pass"], runs)
    show("python -c pass", bare, unit="ms")
    show(
        "import devloop",
        [each - min(bare) for each in taken([sys.executable, "-c", "import devloop"], runs)],
        goal="50 ms",
        unit="ms",
    )
    show("devloop --help", taken([DEVLOOP, "--help"], runs), goal="150 ms", unit="ms")
    show("devloop --version", taken([DEVLOOP, "--version"], runs), unit="ms")
    show("devloop plan (quickstart)", taken([DEVLOOP, "plan"], runs), unit="ms")


def taken(command: list[str], runs: int) -> list[float]:
    """Return the milliseconds of each run."""
    found = []
    for _ in range(runs):
        started = time.perf_counter()
        subprocess.run(command, cwd=ROOT / "examples/quickstart", check=True, capture_output=True)
        found.append((time.perf_counter() - started) * 1000)
    return found


if __name__ == "__main__":
    main()
