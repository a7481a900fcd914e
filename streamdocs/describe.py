"""What a run will read, in numbers, before its first step."""

from streamdocs.run import Run


def describe_run(run: Run, epoch_sequences: int) -> str:
    """Sequences, tokens and passes of an epoch, and how often each generation will be read at this mix."""
    mixture = run.mixture
    synthetic = mixture.synthetic_before(epoch_sequences)
    web_tokens = (epoch_sequences - synthetic) * mixture.max_seq_len
    lines = [
        f"an epoch reads {epoch_sequences:,} sequences of {mixture.max_seq_len:,} tokens:",
        f"  web        {web_tokens:>16,} tokens, {web_tokens / run.web_tokens:.2f} passes over "
        f"{len(run.corpus.documents):,} documents of {run.web_tokens:,} tokens",
    ]
    if synthetic:
        recipe = run.recipe
        # What the generations will add up to is not known yet; the prompts ask for no more than this.
        most = len(run.corpus.documents) * recipe.generations * recipe.max_tokens
        tokens = synthetic * mixture.max_seq_len
        lines.append(
            f"  synthetic  {tokens:>16,} tokens ({float(mixture.fraction):.2%} of the sequences), {recipe.name} of "
            f"{recipe.generations} generations: each is read {tokens / most:.2f} times or more, as they are at most "
            f"{recipe.max_tokens:,} tokens long"
        )
    return "\n".join(lines)
