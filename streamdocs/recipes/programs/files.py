"""Programs in files: YAML with the fields of a program, and the names of the files with its prompts."""

import os
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from streamdocs._base.paths import expand_path
from streamdocs._base.untrusted import faults, load_yaml
from streamdocs.errors import ConfigError, reason
from streamdocs.recipes.programs.program import Program
from streamdocs.recipes.programs.styles import style
from streamdocs.recipes.prompts import PACKAGED, load_prompt


def find_program(name: str, folder: Path = Path()) -> Program:
    """The program of a file, taken from ``folder``, or the packaged one of a name where there is no such file.

    Raises:
        ConfigError: There is neither, or as ``load_program``.
    """
    path = folder / expand_path(name)
    return _load(path) if os.path.isfile(path) else style(name)


def load_program(path: str | os.PathLike[str]) -> Program:
    """Read a program, which is called as its file unless that says a name.

    The ``prompt`` of a step is a file, taken from the folder of the program's, or the name of a packaged prompt.

    Raises:
        ConfigError: It or a prompt cannot be read, or a field is unknown, missing or wrong; the message names each.
    """
    return _load(Path(expand_path(os.fspath(path))))


def _load(path: Path) -> Program:
    try:
        fields = load_yaml(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ConfigError(f"program {path} cannot be read: {reason(error)}") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("steps"), list):
        raise ConfigError(f"program {path} does not hold `steps:`, a list of steps with a name and a prompt each")
    try:
        steps = [_with_prompt(step, path.parent) for step in fields["steps"]]
        return TypeAdapter(Program).validate_python({"name": path.stem, **fields, "steps": steps})
    except ValidationError as error:
        raise ConfigError(f"program {path}: {faults(error, kind=Program)}") from error
    except ConfigError as error:
        raise ConfigError(f"program {path}: {error}") from error


def _with_prompt(step: Any, folder: Path) -> Any:
    """The fields of a step with the text of its prompt; what is wrong with them is told where they are checked."""
    if not isinstance(step, dict) or not isinstance(step.get("prompt"), str):
        return step
    name = expand_path(step["prompt"])
    packaged = name in PACKAGED and not (folder / name).exists()
    if isinstance(step.get("tags"), str):
        step = {**step, "tags": [step["tags"]]}
    return {**step, "prompt": load_prompt(name if packaged else folder / name)}
