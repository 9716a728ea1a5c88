"""Check every setting, and tell DVC which of the user's pictures to watch: `python stages/check.py`.

The first stage of all: a wrong setting ends the run here, before DVC deletes what another stage has made.
"""

import os
import time
from contextlib import suppress

from cnnlab.core import artifacts, params
from cnnlab.core.errors import run_command
from cnnlab.data.catalogue import check_settings
from cnnlab.data.own import check_pictures, lay
from cnnlab.models.options import check_all


def main() -> None:
    """Check params.yaml and write data/sources/DATASET and data/sources/vae."""
    # `dvc exp run -S` may write the file twice within a second. Git then takes a value of the same length for
    # unchanged, and `git checkout params.yaml` would not take it back; a time of another second makes it look again.
    earlier = time.time() - 60
    with suppress(OSError):  # a missing file is said by params.load in a sentence; another's may not be touched
        os.utime("params.yaml", (earlier, earlier))
    settings = params.load()
    check_settings(settings)
    check_all(settings)
    folders = check_pictures(settings)
    lay(artifacts.source_path(settings.dataset), folders[settings.dataset])
    lay(artifacts.source_path("vae"), folders[settings.vae.dataset])
    watched = sorted({str(folder) for folder in folders.values() if folder})
    own = f"DVC watches {' and '.join(watched)}" if watched else "the data sets are published ones"
    print(f"params.yaml is valid: budget {settings.budget}, recipe {settings.recipe}; {own}.")


if __name__ == "__main__":
    run_command(main)
