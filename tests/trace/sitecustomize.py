"""Records what a stage opens and which settings it reads, for tests/test_pipeline.py.

Python imports this module when it starts, if this folder is on PYTHONPATH. If CNNLAB_TRACE names a folder and the
process runs a script of stages/, it writes one JSON file there at its end.
"""

import atexit
import json
import os
import sys
from pathlib import Path
from typing import Any

opened: set[str] = set()
settings_read: set[str] = set()
tables_read: set[str] = set()  # models, baselines and ablations: their names, without what stands below them


def record_files() -> None:
    """Note every file that Python opens, as an absolute path."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            opened.add(str(Path(os.fsdecode(arguments[0])).absolute()))

    sys.addaudithook(hook)


def record_settings() -> None:
    """Note every setting that is read from what `params.load` returns, by its dotted path."""
    from cnnlab.core import params, schema

    paths: dict[int, tuple[schema.Block, str]] = {}  # holds the blocks, so that no other object gets their ids
    read, load, dump = schema.Block.__getattribute__, params.load, schema.Block.model_dump

    def enter(value: Any, path: str) -> None:
        if isinstance(value, schema.Block):
            paths[id(value)] = (value, path)
            for name in type(value).model_fields:
                enter(read(value, name), f"{path}{name}.")
        elif isinstance(value, dict):
            for name, item in value.items():
                enter(item, f"{path}{name}.")

    def recording_read(block: schema.Block, name: str) -> Any:
        value = read(block, name)
        if id(block) in paths and name in type(block).model_fields and not isinstance(value, schema.Block):
            table = isinstance(value, dict) and any(isinstance(item, schema.Block) for item in value.values())
            (tables_read if table else settings_read).add(paths[id(block)][1] + name)
        return value

    def recording_dump(block: schema.Block, **options: Any) -> dict[str, Any]:
        if id(block) in paths:
            settings_read.add(paths[id(block)][1].removesuffix("."))
        return dump(block, **options)

    def recording_load(*arguments: Any) -> params.Params:
        settings = load(*arguments)
        enter(settings, "")
        return settings

    schema.Block.__getattribute__ = recording_read
    setattr(schema.Block, "model_dump", recording_dump)  # noqa: B010
    params.load = recording_load


def write(folder: str) -> None:
    """One file for this process: its command, what it opened and the settings it read."""
    record = {"opened": opened, "settings": settings_read, "tables": tables_read}
    text = json.dumps({"command": sys.orig_argv[1:]} | {name: sorted(found) for name, found in record.items()})
    Path(folder, f"{os.getpid()}.json").write_text(text)


if (target := os.environ.get("CNNLAB_TRACE")) and any(word.startswith("stages/") for word in sys.orig_argv):
    record_files()
    record_settings()
    atexit.register(write, target)
