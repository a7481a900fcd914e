"""What is asked for an item: the requests of its round, or what the programs of its slots read."""

from itertools import accumulate

from streamdocs.corpus.reader import Corpus
from streamdocs.graph.walks import Walk
from streamdocs.recipes import Request
from streamdocs.recipes.programs.chunks import head
from streamdocs.streams import GenerationScope


def requests(scope: GenerationScope, document: int, round: int) -> list[tuple[Request, int]]:
    """What a round asks for a document, in the order of sending, with the seed of each request's first generation."""
    text, places = _text_and_places(scope, document, round)
    seed = scope.key(document, round).seed
    made = scope.recipe.requests(text, places, round)
    return list(zip(made, accumulate((request.n for request in made[:-1]), initial=seed), strict=True))


def sources_of(scope: GenerationScope, document: int, round: int) -> list[dict[str, str]]:
    """What the programs of a round read of a document, by slot."""
    if scope.recipe.graph is None:
        return scope.recipe.sources(*_text_and_places(scope, document, round))
    return [_fields(scope.corpus, each.walk, scope.recipe.graph.chars) for each in scope.walks(document, round)]


def _fields(corpus: Corpus, walk: Walk, chars: int) -> dict[str, str]:
    """What prompts can say of a walk: its nodes, and the beginnings of the two documents that are nearest to it."""
    first, second, *_ = (*(head(corpus.text(document), chars) for document in walk.documents), "", "")
    return {"walk": "\n".join([*walk.topics, *walk.concepts]), "first": first, "second": second}


def _text_and_places(scope: GenerationScope, document: int, round: int) -> tuple[str, list[int]]:
    text = scope.text(document, round)
    return text, scope.cut_places(text, round) if "before" in scope.recipe.fields else []
