"""Paths as people write them."""

import os
from string import Template

from streamdocs.errors import ConfigError


def expand_path(path: str) -> str:
    """A path with its ``~`` and ``$VARIABLES`` replaced; ``$$`` is a dollar.

    Raises:
        ConfigError: A variable is not set, or there is no such user.
    """
    # Of a URL no more than its scheme is told: a secret may be in it.
    told = f"{path.partition('://')[0]}://…" if "://" in path else path
    try:
        # One that is empty makes another path as one that is missing would.
        expanded = Template(path).substitute({name: value for name, value in os.environ.items() if value})
    except KeyError as error:
        raise ConfigError(f"{told}: the variable {error.args[0]} is not set") from error
    except ValueError as error:
        raise ConfigError(f"{told}: $ stands before the name of a variable; a dollar itself is $$") from error
    found = os.path.expanduser(expanded) if path.startswith("~") else expanded
    if found.startswith("~") and path.startswith("~"):
        raise ConfigError(f"{path}: there is no user {found.partition('/')[0]}; a folder of that name is ./{found}")
    return found
