"""Make a tiny random-weight Llama with a byte-level BPE tokenizer and a chat template, to serve in tests.

usage: .venv-sglang/bin/python server/sglang/tiny_model.py OUT_DIR [--seed 0] [--context 2048]

No network; some ten seconds. Its text is noise: it shows that the machinery works, and nothing about rephrases.
"""

import argparse
import sysconfig
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

_VOCABULARY = 2048
_HEAD = 32
_CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_tokenizer(context: int) -> PreTrainedTokenizerFast:
    """A tokenizer trained on sources of the standard library, which every machine has."""
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:100]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=["<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train([str(source) for source in sources], trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        model_max_length=context,
    )
    wrapped.chat_template = _CHAT_TEMPLATE
    return wrapped


def make_model(vocabulary: int, context: int) -> LlamaForCausalLM:
    """Two layers; weights wide enough that sampling is not uniform."""
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=4 * _HEAD,
        intermediate_size=12 * _HEAD,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=_HEAD,
        max_position_embeddings=context,
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=2,
        initializer_range=0.2,
    )
    return LlamaForCausalLM(config)


def main() -> None:
    """Write tokenizer, configuration and weights into one folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--context", type=int, default=2048, help="tokens that prompt and answer may have together")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    tokenizer = make_tokenizer(arguments.context)
    tokenizer.save_pretrained(arguments.out)
    make_model(len(tokenizer), arguments.context).save_pretrained(arguments.out)


if __name__ == "__main__":
    main()
