"""A loop as torchtitan's Trainer has it, on a CPU, which that knows nothing of: its dataloader, its checkpoints.

The dataloader is built by torchtitan's configuration, and its state kept by torchtitan's CheckpointManager.
"""

import os

import torch
from torch.distributed.checkpoint.stateful import Stateful
from torchtitan.components.checkpointer import CheckpointManager
from torchtitan.components.dataloader import BaseDataLoader
from torchtitan.components.loss import IGNORE_INDEX

from options import options, record
from streamdocs.integrations.torchtitan import MegadocDataLoader
from streamdocs.reading.batch import IGNORED


class Steps(Stateful):
    """As torchtitan's Trainer: its step is in the checkpoint."""

    step = 0

    def state_dict(self) -> dict[str, int]:
        return {"step": self.step}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.step = state_dict["step"]


class Optimizers(Stateful):
    """A list of one optimizer, as CheckpointManager wants it."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    def __iter__(self):
        return iter([self.optimizer])

    def state_dict(self) -> dict[str, object]:
        return {}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        pass


def main() -> None:
    parser = options(__doc__)
    arguments = parser.parse_args()
    torch.distributed.init_process_group("gloo")
    rank, ranks = torch.distributed.get_rank(), torch.distributed.get_world_size()
    config = MegadocDataLoader.Config(run_file=str(arguments.run_file), num_workers=arguments.workers)
    loader = config.build(
        dp_world_size=ranks,
        dp_rank=rank,
        tokenizer=None,
        seq_len=256,
        local_batch_size=arguments.batch_size,
        snapshot_every_n_steps=arguments.checkpoint_every,
    )
    assert isinstance(loader, BaseDataLoader) and IGNORED == IGNORE_INDEX
    model = torch.nn.Linear(1, 1)
    steps, optimizers = Steps(), Optimizers(torch.optim.SGD(model.parameters()))
    checkpointer = CheckpointManager.Config(
        enable=True, interval=arguments.checkpoint_every, keep_latest_k=2, last_save_model_only=False
    ).build(
        dataloader=loader,
        model_parts=[model],
        optimizers=optimizers,
        lr_schedulers=Optimizers(optimizers.optimizer),
        states={"train_state": steps},
        sd_adapter=None,
        base_folder=str(arguments.folder),
    )
    checkpointer.load()
    batches = iter(loader)
    while steps.step < arguments.batches:
        inputs, labels = next(batches)
        tokens, positions = inputs["input"], inputs["positions"]
        assert tokens.shape == labels.shape == positions.shape == (arguments.batch_size, 256)
        assert (positions[:, 0] == 0).all() and (positions[:, 1:] == 0).any(), "documents begin anew"
        assert (labels[:, -1] == IGNORE_INDEX).all() and torch.equal(labels[:, :-1], tokens[:, 1:])
        record(arguments.record, steps.step, rank, tokens)
        steps.step += 1
        checkpointer.save(steps.step, last_step=steps.step == arguments.batches)
    checkpointer.close()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
