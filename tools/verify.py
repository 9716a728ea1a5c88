"""`make verify`: does the code give what is in Git?

In a clean clone of HEAD, `dvc repro --dry --allow-missing` must find nothing to run, and LeNet, retrained, must give
the committed figures: the same bytes on the kind of machine that made them, else an accuracy within the tolerance.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOLERANCE = 0.015  # of accuracy, between kinds of machine: about three standard errors of 6,000 validation pictures
FIGURES, TIMING = Path("metrics/train/lenet.json"), Path("metrics/timing/lenet.json")


def run(*command: str, cwd: Path) -> str:
    """Run a command and give its output; it must succeed."""
    raw = os.environ.get("CNNLAB_DATA_DIR", str(ROOT / "data/raw/fashion_mnist"))
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, "CNNLAB_DATA_DIR": raw}, text=True, stdout=subprocess.PIPE, check=False
    )
    if done.returncode:
        sys.exit(f"`{' '.join(command)}` failed in a clean clone:\n{done.stdout}")
    return done.stdout


def main() -> None:
    """Say what was verified; exit code 1 and the difference where it fails."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "clone"
        run("git", "clone", "--quiet", str(ROOT), str(clone), cwd=ROOT)
        dry = run("dvc", "repro", "--dry", "--allow-missing", cwd=clone)
        stale = [line for line in dry.splitlines() if line.startswith("Running stage")]
        if stale:
            sys.exit("the committed lock is not true; these stages would run:\n" + "\n".join(stale))
        print("The lock file is up to date: a clean clone has nothing to run.")
        committed = {path: json.loads((clone / path).read_text()) for path in (FIGURES, TIMING)}
        run("dvc", "repro", "--single-item", "--force", "check", "download", cwd=clone)
        run("dvc", "repro", "--single-item", "--force", "train@lenet", cwd=clone)
        compare(committed, {path: json.loads((clone / path).read_text()) for path in (FIGURES, TIMING)})


def compare(committed: dict[Path, dict], fresh: dict[Path, dict]) -> None:
    """The same figures on the same kind of machine, else the same accuracy within the tolerance."""
    if committed[FIGURES] == fresh[FIGURES]:
        print("LeNet trained again gives the committed figures, digit by digit.")
        return
    here, there = fresh[TIMING]["device"], committed[TIMING]["device"]
    gaps = {
        name: abs(committed[FIGURES][name] - fresh[FIGURES][name]) for name in ("train_accuracy", "validation_accuracy")
    }
    if here == there or max(gaps.values()) > TOLERANCE:
        sys.exit(f"LeNet, retrained, differs: {committed[FIGURES]} committed on {there}, {fresh[FIGURES]} on {here}")
    print(f"LeNet trained again on {here} is within {TOLERANCE} of what {there} gave: {gaps}.")


if __name__ == "__main__":
    main()
