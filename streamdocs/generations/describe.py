"""What a run will read, in numbers, before its first step."""

from streamdocs.generations.progress import Tally
from streamdocs.run import Run


def describe_run(run: Run, epoch_sequences: int, stored: Tally, all_stored: bool) -> str:
    """Sequences, tokens and passes of an epoch, and how often each generation will be read at this mix.

    Args:
        run: The run.
        epoch_sequences: Sequences an epoch.
        stored: Generations that exist, from whose mean length the others' is estimated.
        all_stored: Whether no others exist.
    """
    mixture, recipe = run.mixture, run.recipe
    documents = len(run.corpus.documents)
    synthetic = mixture.synthetic_before(epoch_sequences) * mixture.max_seq_len
    web = epoch_sequences * mixture.max_seq_len - synthetic
    lines = [
        f"an epoch reads {epoch_sequences:,} sequences of {mixture.max_seq_len:,} tokens:",
        f"  web {web:,} tokens: {web / run.web_tokens:.2f} passes over {documents:,} documents",
    ]
    if synthetic:
        wanted = documents * recipe.generations
        mean = stored.tokens / stored.generations if stored.generations else recipe.max_tokens
        reads = synthetic / (wanted * mean + (run.web_tokens if recipe.reads_documents else 0))
        known = "the mean so far" if stored.generations else "the most that is asked for"
        lines += [
            f"  synthetic {synthetic:,} tokens, {float(mixture.fraction):.2%}: {recipe.name} of {wanted:,} generations "
            f"({'' if all_stored else 'more than '}{stored.generations:,} exist)",
            f"  each generation is read {reads:.2f} times at {mean:,.0f} tokens ({known})",
        ]
    return "\n".join(lines)
