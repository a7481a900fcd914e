"""What a run has mixed until a window, for metrics."""

from streamdocs.progress import Tally, block_key
from streamdocs.run import GenerationScope
from streamdocs.schedule import Mixture
from streamdocs.sealing import Manifest
from streamdocs.store import Store


class MixtureMeter:
    """Measures what was mixed, and how much of what there was.

    Args:
        scope, mixture: Of the run.
        store: Where its generations are.
    """

    def __init__(self, scope: GenerationScope, mixture: Mixture, store: Store) -> None:
        self._scope = scope
        self._mixture = mixture
        self._store = store
        self._counted = (0, 0)

    def until(self, manifest: Manifest) -> dict[str, float]:
        """What was mixed until the end of a window: see ``StreamingMegadocDataset.mixed_until``."""
        after, order = manifest.after, self._scope.generation_order
        sequences = after.window * self._mixture.window
        wanted = order.wanted_items(after.sweep, after.cursor)
        stored = self._stored_tokens(manifest.watermark)
        return {
            "synthetic_fraction": after.synthetic_rows / sequences,
            "generations_per_document": order.generations_per_document(manifest.watermark),
            "reuse": after.generated_tokens / stored if stored else 0.0,
            "lead": float(manifest.watermark - wanted),
        }

    def _stored_tokens(self, watermark: int) -> int:
        """Tokens of the generations that existed at a watermark; counted on from the last call."""
        order = self._scope.generation_order
        blocks, tokens = self._counted if self._counted[0] <= order.block_of_item(watermark) else (0, 0)
        with self._store.read() as snapshot:
            while order.first_item(blocks) < watermark:
                packed = snapshot.get("blocks", block_key(self._scope, blocks))
                tokens += Tally.unpack(packed).tokens if packed else 0
                blocks += 1
        self._counted = (blocks, tokens)
        return tokens
