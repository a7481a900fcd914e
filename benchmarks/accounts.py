"""What the notes of a cluster say: of commits, of requests and what they cost, and of what was asked for again."""

import sys
from collections import Counter
from pathlib import Path

import endpoint
import growth
import numpy as np
from cluster import Cluster, lines

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from objects.s3 import BUCKET, client_of

#: Seconds after which an answer is kept, and after which it is published where the store can be reached.
_KEPT, _PUBLISHED = 1.0, 10.0


def committed(cluster: Cluster) -> dict[str, float]:
    """When the commit of each block began, by its key."""
    return {
        key: began
        for node in cluster.nodes
        for key, began, _ in reversed(lines(node.folder / "commits.jsonl"))  # the first one counts
    }


def published(cluster: Cluster, seen: Path) -> dict[str, float]:
    """Seconds from a block's commit until another node saw it."""
    began = committed(cluster)
    took = [when - began[key] for key, when in lines(seen) if key in began]
    median, p99 = np.percentile(took, (50, 99)).tolist()
    return {"publish_median_s": median, "publish_p99_s": p99, "published": len(took)}


def cost(requests: Counter[tuple[str, str]], seconds: float) -> dict[str, float]:
    """Of requests in so many seconds."""
    kinds = Counter[str]()
    for (kind, _), count in requests.items():
        kinds[kind] += count
    dollars = (kinds["PUT"] + kinds["LIST"]) * growth.PUT + (kinds["GET"] + kinds["HEAD"]) * growth.GET
    return {
        "requests_per_s": sum(kinds.values()) / seconds,
        **{f"{kind.lower()}s_per_s": count / seconds for kind, count in sorted(kinds.items())},
        "dollars_requests_month": dollars / seconds * growth.MONTH,
    }


def stored(url: str) -> int:
    """Bytes of all objects of a server."""
    pages = client_of(url).get_paginator("list_objects_v2").paginate(Bucket=BUCKET)
    return sum(each["Size"] for page in pages for each in page.get("Contents", ()))


def storage(size: float) -> float:
    """Dollars a month for so many bytes."""
    return size / 1e9 * growth.GB_MONTH


def why_again(
    asked: dict[int, list[endpoint.Asked]], dead: list[tuple[float, str, bool]], bad: list[tuple[float, float]]
) -> Counter[str]:
    """Of texts that were asked for more than once, why: ``"twice"`` where nothing excuses it."""
    found = Counter[str]()
    for requests in asked.values():
        for before in requests[:-1]:
            ends = [(when, lost) for when, who, lost in dead if who == before.who and when >= before.when]
            if before.answered is None:
                found["unanswered" if ends else "twice"] += 1
            elif any(when - before.answered < _KEPT for when, _ in ends):
                found["on its way"] += 1
            elif any(lost and not _is_published(before.answered, when, bad) for when, lost in ends):
                found["lost with its cache"] += 1
            else:
                found["twice"] += 1
    return found


def _is_published(since: float, until: float, bad: list[tuple[float, float]]) -> bool:
    """Whether something that was answered was in the store by a time, as far as that could be reached."""
    well = until - since - sum(max(0.0, min(until, end) - max(since, begin)) for begin, end in bad)
    return well > _PUBLISHED
