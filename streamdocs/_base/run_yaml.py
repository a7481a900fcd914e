"""Reading YAML: whatever a file holds, its fields come in bounded time and memory, or a ValueError."""

from typing import Any

import yaml

MOST_BYTES = 1 << 18
MOST_VALUES = 10_000


class _Loader(yaml.SafeLoader):
    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        # Merged mappings of merged mappings grow as a power of what was written.
        super().flatten_mapping(node)
        if len(node.value) > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES:,} values are merged")


def load_yaml(data: bytes) -> Any:
    """The value that some YAML says, made of plain types alone.

    Raises:
        ValueError: It is none, or more than any run file.
    """
    if len(data) > MOST_BYTES:
        raise ValueError(f"larger than {MOST_BYTES:,} bytes")
    try:
        value = yaml.load(data.decode(), _Loader)
    except Exception as error:  # from the parser, and of any kind from int(), datetime and their like on what is tagged
        raise ValueError(f"not YAML: {error}" if str(error) else f"not YAML: {error!r}") from error
    # An alias stands for all that it names, so that a few lines can say billions of values.
    waiting, values = [value], 0
    while waiting:
        each = waiting.pop()
        values += 1
        if values > MOST_VALUES:
            raise ValueError(f"more than {MOST_VALUES:,} values")
        if isinstance(each, dict):
            waiting += [*each.keys(), *each.values()]
        elif isinstance(each, list | tuple | set):
            waiting += each
    return value
