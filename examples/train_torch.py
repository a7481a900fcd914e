"""Train a small model in a plain PyTorch loop on web text and megadocs, as a run file says.

    streamdocs-server run.yaml &
    python examples/train_torch.py run.yaml --batches 400 --checkpoint checkpoint.pt

Run it again after it was stopped: it goes on from its checkpoint. On several ranks: torchrun --nproc_per_node 2 ….
With --stateful it reads by torchdata's StatefulDataLoader, whose checkpoints are for as many workers as there were.
"""

import argparse
import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from streaming import StreamingDataLoader
from torch.nn.parallel import DistributedDataParallel

from model import LanguageModel, token_losses
from options import options, record
from streamdocs import StreamingMegadocDataset
from streamdocs.measure import evaluate, held_out

FINISHED = "all batches are done: give more by --batches, or another --checkpoint to begin anew"


def save(state: dict[str, object], path: Path) -> None:
    """Replace a checkpoint, which stays whole if this is killed."""
    unfinished = path.with_name(f"{path.name}.tmp")
    torch.save(state, unfinished)
    os.replace(unfinished, path)


def train_on(
    batch: dict[str, torch.Tensor], model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[torch.Tensor, torch.Tensor]:
    """One step: the loss of each token, and their mean."""
    losses = token_losses(model(batch["input_ids"], batch.get("sequence_id")), batch["labels"])
    loss = losses.sum() / (batch["labels"][:, 1:] != -100).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return losses.detach(), loss.detach()


def told_held_out(model: torch.nn.Module, dataset: StreamingMegadocDataset) -> str:
    """The loss on what the corpus holds out, in nats a token; "" where it holds nothing out."""
    found = evaluate(model, held_out(dataset.corpus, dataset.run.mixture.max_seq_len))
    return "\n".join(f"held out, {name}: {loss.mean:.3f}" for name, loss in found.items())


def make_loader(dataset: StreamingMegadocDataset, arguments: argparse.Namespace) -> Any:
    """A loader that knows what was read of it."""
    kind = StreamingDataLoader
    if arguments.stateful:
        from torchdata.stateful_dataloader import StatefulDataLoader as kind  # noqa: PLC0415, N813  (not all have it)
    return kind(dataset, batch_size=arguments.batch_size, num_workers=arguments.workers)


def parsed() -> argparse.Namespace:
    """What was typed."""
    parser = options(__doc__, "--checkpoint", "checkpoint.pt")
    parser.add_argument("--stateful", action="store_true", help="read by torchdata's StatefulDataLoader")
    parser.add_argument(
        "--reseal", action="store_true", help="seal anew what lost its generations since the checkpoint"
    )
    return parser.parse_args()


def main() -> None:
    arguments = parsed()
    ranks, rank = int(os.environ.get("WORLD_SIZE", 1)), int(os.environ.get("RANK", 0))
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
    if ranks > 1:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    torch.manual_seed(17)

    dataset = StreamingMegadocDataset.from_run_file(
        arguments.run_file, batch_size=arguments.batch_size, reseal=arguments.reseal
    )
    loader = make_loader(dataset, arguments)
    model = LanguageModel(dataset.corpus.vocab_size).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.learning_rate)
    done = 0
    if arguments.checkpoint.exists():
        state = torch.load(arguments.checkpoint, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        loader.load_state_dict(state["loader"])
        done = state["batches"]
    trained = DistributedDataParallel(model) if ranks > 1 else model
    if rank == 0:
        print(dataset.describe() if done < arguments.batches else FINISHED, flush=True)

    while done < arguments.batches:
        for batch in loader:
            record(arguments.record, done, rank, batch["input_ids"])
            batch = {name: column.to(device) for name, column in batch.items()}  # noqa: PLW2901
            losses, loss = train_on(batch, trained, optimizer)
            if dataset.ledgers:
                dataset.report(batch, losses)
            done += 1
            if rank == 0 and done % 10 == 0:
                share = batch["synthetic"].float().mean()
                print(f"batch {done}: loss {loss.item():.3f}, synthetic {share:.2f} of the batch", flush=True)
            if rank == 0 and done % arguments.checkpoint_every == 0:
                state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
                save({**state, "loader": loader.state_dict(), "batches": done}, arguments.checkpoint)
            if done == arguments.batches:
                break
    told = told_held_out(model, dataset)
    if rank == 0 and told:
        print(told, flush=True)
    if ranks > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
