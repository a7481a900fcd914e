"""llm-foundry's own training of examples/llmfoundry.yaml, with what a test says in its place."""

from pathlib import Path

from composer import Callback, Logger, State
from composer.utils import dist
from llmfoundry import registry
from llmfoundry.command_utils import train_from_yaml

from options import options, record

YAML = Path(__file__).parents[3] / "examples/llmfoundry.yaml"


class Recorder(Callback):
    """Notes what each batch read."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)

    def batch_start(self, state: State, logger: Logger) -> None:
        record(self._path, int(state.timestamp.batch), dist.get_global_rank(), state.batch["input_ids"])


def main() -> None:
    arguments = options(__doc__).parse_args()
    registry.callbacks.register("recorder", func=Recorder)
    said = [
        f"train_loader.run_file={arguments.run_file}",
        f"train_loader.num_workers={arguments.workers}",
        f"tokenizer.kwargs.corpus={arguments.run_file.parent / 'corpus'}",
        f"callbacks.recorder.path={arguments.record}",
        f"max_duration={arguments.batches}ba",
        f"save_interval={arguments.checkpoint_every}ba",
        f"save_folder={arguments.folder}",
        "python_log_level=warning",
    ]
    train_from_yaml(str(YAML), said)


if __name__ == "__main__":
    main()
