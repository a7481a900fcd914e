"""Train a small Llama with Hugging Face's Trainer on web text and megadocs, as a run file says.

    streamdocs-server run.yaml &
    torchrun --nproc_per_node 2 examples/train_huggingface.py run.yaml --batches 400 --folder checkpoints

Run it again after it was stopped, even by SIGKILL: it goes on from its newest checkpoint.
"""

from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments

from options import options, record
from streamdocs import StreamingMegadocDataset
from streamdocs.integrations.huggingface import MegadocTrainer, newest_checkpoint


class Recording(MegadocTrainer):
    """Notes what each batch read."""

    def __init__(self, path: Path | None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._path = path

    def training_step(self, model: torch.nn.Module, inputs: dict[str, Any], *arguments: Any) -> torch.Tensor:
        record(self._path, self.state.global_step, self.args.process_index, inputs["input_ids"])
        return super().training_step(model, inputs, *arguments)


def find_on_cpu(storage: torch.UntypedStorage, location: str) -> torch.UntypedStorage | None:
    """Without GPUs the Trainer loads a checkpoint to the devices cpu:0, cpu:1, …, which torch does not know."""
    return storage if location.startswith("cpu:") else None


def main() -> None:
    arguments = options(__doc__).parse_args()
    torch.serialization.register_package(100, lambda _: None, find_on_cpu)
    args = TrainingArguments(
        output_dir=str(arguments.folder),
        max_steps=arguments.batches,
        per_device_train_batch_size=arguments.batch_size,
        dataloader_num_workers=arguments.workers,
        learning_rate=arguments.learning_rate,
        save_steps=arguments.checkpoint_every,
        save_total_limit=2,
        logging_steps=10,
        use_cpu=not torch.cuda.is_available(),
        report_to="none",  # or "wandb", "mlflow", "tensorboard": what was mixed is among what it logs
        disable_tqdm=True,
        seed=17,
    )
    dataset = StreamingMegadocDataset.from_run_file(
        arguments.run_file, batch_size=arguments.batch_size, rank=args.process_index, ranks=args.world_size
    )
    sizes = {"hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=dataset.corpus.vocab_size, **sizes))
    trainer = Recording(arguments.record, model=model, args=args, train_dataset=dataset)
    trainer.train(resume_from_checkpoint=newest_checkpoint(arguments.folder))


if __name__ == "__main__":
    main()
