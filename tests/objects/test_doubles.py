"""The doubles do to clients what they say, and nothing else."""

import io
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from objects.faults import FaultyProxy
from objects.s3 import BUCKET, S3, client_of, one_by_one


@pytest.fixture(scope="module")
def s3():
    with S3() as server:
        yield server


@pytest.fixture
def proxy(s3):
    with FaultyProxy(s3.url) as server:
        yield server


def create(client, key: str, body: bytes = b"x") -> str:
    """Create an object unless it is there; how that ended."""
    try:
        client.put_object(Bucket=BUCKET, Key=key, Body=body, IfNoneMatch="*")
    except ClientError as error:
        return error.response["Error"]["Code"]
    except BotoCoreError as error:
        return type(error).__name__
    return "created"


def create_at_once(url: str, key: str, times: int) -> list[str]:
    clients = [client_of(url) for _ in range(times)]
    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(lambda number: create(clients[number], key, b"%d" % number), range(times)))


def test_of_many_that_create_one_object_one_does(s3, proxy):
    for url in (s3.url, proxy.url):
        for turn in range(4):
            ended = create_at_once(url, f"once-{url[-5:]}-{turn}", 16)
            assert Counter(ended) == {"created": 1, "PreconditionFailed": 15}
            there = client_of(url).get_object(Bucket=BUCKET, Key=f"once-{url[-5:]}-{turn}")["Body"].read()
            assert there == b"%d" % ended.index("created")


def test_requests_are_answered_as_if_each_were_alone():
    there: list[str] = []

    def app(environment, _):
        found = list(there)
        time.sleep(0.002)  # in which another would put it
        if not found:
            there.append(environment["who"])
        return [b"taken" if found else b"yours"]

    answer = one_by_one(app)

    def ask(who: int) -> bytes:
        return b"".join(answer({"who": who, "wsgi.input": io.BytesIO()}, None))

    with ThreadPoolExecutor(8) as pool:
        assert Counter(pool.map(ask, range(8))) == {b"yours": 1, b"taken": 7}


def test_a_store_that_knows_no_conditions_overwrites():
    with S3(overwrites=True) as server:
        assert [create(client_of(server.url), "key", body) for body in (b"1", b"2")] == ["created", "created"]
        assert client_of(server.url).get_object(Bucket=BUCKET, Key="key")["Body"].read() == b"2"


def test_the_proxy_changes_nothing_and_counts(proxy):
    client, body = client_of(proxy.url), bytes(range(256)) * 5000
    key = "a folder/with ü & ?"
    assert create(client, key, body) == "created"
    assert client.get_object(Bucket=BUCKET, Key=key)["Body"].read() == body
    assert client.get_object(Bucket=BUCKET, Key=key, Range="bytes=3-9")["Body"].read() == body[3:10]
    assert client.head_object(Bucket=BUCKET, Key=key)["ContentLength"] == len(body)
    assert [each["Key"] for each in client.list_objects_v2(Bucket=BUCKET, Prefix="a f")["Contents"]] == [key]
    client.delete_object(Bucket=BUCKET, Key=key)
    with pytest.raises(ClientError, match="NoSuchKey"):
        client.get_object(Bucket=BUCKET, Key=key)
    counts = {
        **{("PUT", "200"): 1, ("GET", "200"): 1, ("GET", "206"): 1, ("GET", "404"): 1},
        **{("HEAD", "200"): 1, ("LIST", "200"): 1, ("DELETE", "204"): 1},
    }
    assert proxy.counts() == counts


@pytest.mark.parametrize(
    ("kind", "seen", "carried_out"),
    [
        ("slow down", "SlowDown", False),
        ("internal error", "InternalError", False),
        ("reset", "ConnectionClosedError", False),
        ("time-out", "ReadTimeoutError", False),
        ("answer lost", "ConnectionClosedError", True),
    ],
)
def test_what_goes_wrong_is_what_was_asked_for(s3, proxy, kind, seen, carried_out):
    client = client_of(proxy.url, read_timeout=0.3)
    proxy.fail(1.0, (kind,), hangs=0.6)
    assert create(client, kind) == seen
    proxy.be_well()
    time.sleep(0.5 if kind == "time-out" else 0)
    assert proxy.counts()[("PUT", kind)] == 1
    assert create(client, kind) == ("PreconditionFailed" if carried_out else "created")


def test_a_share_of_requests_fails_for_a_while(proxy):
    client = client_of(proxy.url)
    proxy.fail(0.3, ("slow down", "reset", "answer lost"), seconds=60)
    ended = Counter(create(client, f"share-{number}") for number in range(200))
    assert 120 <= ended["created"] <= 160 and 5 <= proxy.counts()[("PUT", "answer lost")] <= 40
    proxy.fail(0.3, ("answer lost",))  # of what changes nothing, nothing is lost
    for _ in range(20):
        client.list_objects_v2(Bucket=BUCKET)
    assert proxy.counts()[("LIST", "200")] == 20


def test_it_is_gone_until_it_is_back_and_slow_when_told(proxy):
    client = client_of(proxy.url)
    proxy.be_gone(seconds=0.5)
    gone_at = time.monotonic()
    assert create(client, "gone") == "ConnectionClosedError"
    while create(client, "gone") != "created":
        assert time.monotonic() < gone_at + 10
        time.sleep(0.05)
    assert time.monotonic() - gone_at > 0.4
    proxy.delay(0.2)
    began = time.monotonic()
    client.list_objects_v2(Bucket=BUCKET)
    assert 0.2 <= time.monotonic() - began < 5
