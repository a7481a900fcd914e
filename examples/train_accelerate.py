"""Train a small Llama with Hugging Face accelerate on web text and megadocs, as a run file says.

    streamdocs-server run.yaml &
    accelerate launch --num_processes 2 examples/train_accelerate.py run.yaml --batches 400 --folder checkpoints

Run it again after it was stopped, even by SIGKILL: it goes on from its newest checkpoint.
"""

import shutil
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from streaming import StreamingDataLoader
from transformers import LlamaConfig, LlamaForCausalLM

from options import options, record
from streamdocs import StreamingMegadocDataset
from streamdocs.integrations.mixed import token_losses, what_was_mixed
from streamdocs.integrations.packed import model_inputs


def checkpoints(folder: Path) -> list[Path]:
    """Those that are whole, the newest last."""
    return sorted(folder.glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))


def save(accelerator: Accelerator, folder: Path, done: int) -> None:
    """Write a checkpoint, which has its name once it is whole; and delete all but the newest two."""
    unfinished = folder / f"unfinished-{done}"
    accelerator.save_state(str(unfinished))
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        shutil.rmtree(folder / f"step-{done}", ignore_errors=True)
        unfinished.rename(folder / f"step-{done}")
        for old in checkpoints(folder)[:-2]:
            shutil.rmtree(old)


def main() -> None:
    arguments = options(__doc__).parse_args()
    torch.manual_seed(17)
    accelerator = Accelerator(cpu=not torch.cuda.is_available())

    # Each process reads its own part: the loader is not given to accelerate, which would deal it out once more.
    dataset = StreamingMegadocDataset.from_run_file(
        arguments.run_file,
        batch_size=arguments.batch_size,
        rank=accelerator.process_index,
        ranks=accelerator.num_processes,
    )
    loader = StreamingDataLoader(dataset, batch_size=arguments.batch_size, num_workers=arguments.workers)
    sizes = {"hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=dataset.corpus.vocab_size, **sizes))
    optimizer = torch.optim.AdamW(model.parameters(), lr=arguments.learning_rate)
    model, optimizer = accelerator.prepare(model, optimizer)
    accelerator.register_for_checkpointing(loader)

    done = 0
    if found := checkpoints(arguments.folder):
        accelerator.load_state(str(found[-1]))
        done = int(found[-1].name.removeprefix("step-"))
    accelerator.print(dataset.describe())
    while done < arguments.batches:
        for each in loader:
            record(arguments.record, done, accelerator.process_index, each["input_ids"])
            batch = send_to_device(each, accelerator.device)
            output = model(**model_inputs(batch, model))
            accelerator.backward(output.loss)
            optimizer.step()
            optimizer.zero_grad()
            done += 1
            if done % 10 == 0:
                losses = token_losses(output.logits.detach(), batch["labels"])
                accelerator.print(f"batch {done}: {what_was_mixed(dataset, batch, losses)}")
                if dataset.ledgers:
                    dataset.report(batch, losses, every=10)
            if done % arguments.checkpoint_every == 0:
                save(accelerator, arguments.folder, done)
            if done == arguments.batches:
                break
    accelerator.end_training()


if __name__ == "__main__":
    main()
