"""What every object store promises, asked of each."""

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hulumed_platform.core.errors import ErrorCode, PlatformError
from hulumed_platform.storage.objects import ObjectStore, check_tenant, digest_of_key, object_key

ABSENT = f"sha256:{'0' * 64}"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@pytest.mark.parametrize("size_bytes", [0, 1, 70_000, (17 << 20) + 3])
def test_what_is_put_comes_back(objects: ObjectStore, tmp_path: Path, size_bytes: int) -> None:
    """Read whole, as a stream or from a path; empty, and larger than one part of an S3 upload."""
    content = (bytes(range(251)) * (size_bytes // 251 + 1))[:size_bytes]
    stored = objects.put("acme", [content[:1000], content[1000:]])
    assert (stored.digest, stored.size_bytes) == (digest_of(content), size_bytes)
    assert objects.read("acme", stored.digest) == content
    assert objects.size("acme", stored.digest) == size_bytes
    with objects.open("acme", stored.digest) as source:
        assert source.read(10) + source.read() == content
    assert objects.materialise("acme", stored.digest, tmp_path / "work").read_bytes() == content


def test_putting_twice_keeps_one(objects: ObjectStore) -> None:
    """A sender that did not hear our answer sends again."""
    first = objects.put("acme", [b"again"])
    assert objects.put("acme", [b"ag", b"ain"]) == first
    assert [listed.digest for listed in objects.list("acme")] == [first.digest]


def test_racing_puts_of_one_object_all_succeed(objects: ObjectStore) -> None:
    """The same instance from several senders at once; nobody ever sees half an object."""
    content = b"x" * 300_000
    with ThreadPoolExecutor(8) as pool:
        stored = list(pool.map(lambda _: objects.put("acme", [content]), range(16)))
    assert {each.digest for each in stored} == {digest_of(content)}
    assert objects.read("acme", stored[0].digest) == content


def test_tenants_do_not_see_each_other(objects: ObjectStore) -> None:
    """Knowing a digest is no right to the bytes."""
    stored = objects.put("acme", [b"secret"])
    assert not objects.exists("other", stored.digest)
    assert list(objects.list("other")) == []
    objects.delete("other", stored.digest)
    assert objects.exists("acme", stored.digest)


def test_over_the_limit_keeps_nothing(objects: ObjectStore) -> None:
    """The put ends as soon as the limit is passed, not after a claimed 4 GB have been read."""
    taken = []

    def endless() -> Iterator[bytes]:
        while True:
            taken.append(1)
            yield b"x" * 1000

    with pytest.raises(PlatformError, match="10000 bytes") as caught:
        objects.put("acme", endless(), max_bytes=10_000)
    assert caught.value.code is ErrorCode.TOO_LARGE
    assert len(taken) == 11
    assert list(objects.list("acme")) == []


def test_a_sender_that_breaks_off_leaves_nothing(objects: ObjectStore) -> None:
    """Its own error comes through: it is not the store that failed."""

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionResetError("the client left")

    with pytest.raises(ConnectionResetError):
        objects.put("acme", broken())
    assert list(objects.list("acme")) == []


def test_a_missing_object_is_not_found(objects: ObjectStore, tmp_path: Path) -> None:
    """Each way of asking names the digest."""
    for ask in (objects.open, objects.read, objects.size):
        with pytest.raises(PlatformError, match=ABSENT) as caught:
            ask("acme", ABSENT)
        assert caught.value.code is ErrorCode.NOT_FOUND
    with pytest.raises(PlatformError, match=ABSENT):
        objects.materialise("acme", ABSENT, tmp_path / "work")
    assert not objects.exists("acme", ABSENT)


def test_delete_is_idempotent(objects: ObjectStore) -> None:
    """A sweeper that is started again deletes again."""
    stored = objects.put("acme", [b"old"])
    objects.delete("acme", stored.digest)
    objects.delete("acme", stored.digest)
    assert not objects.exists("acme", stored.digest)


def test_list_is_ordered_and_dated(objects: ObjectStore) -> None:
    """Retention goes by the time of the last put."""
    stored = sorted(objects.put("acme", [bytes([n])]).digest for n in range(20))
    listed = list(objects.list("acme"))
    assert [each.digest for each in listed] == stored
    assert all(each.size_bytes == 1 for each in listed)
    assert all(abs(datetime.now(UTC) - each.modified_at) < timedelta(minutes=1) for each in listed)


def test_check_passes_on_a_usable_store(objects: ObjectStore) -> None:
    """Readiness."""
    objects.check()
    assert isinstance(objects, ObjectStore)


@pytest.mark.parametrize("tenant", ["", ".", "..", "a/b", "A", "a_b", "-a", "a-", "a" * 64, "a\n", "ä", ".spool"])
def test_a_tenant_cannot_leave_its_folder(objects: ObjectStore, tenant: str) -> None:
    """The name becomes part of a path and of a key."""
    for ask in (lambda: objects.put(tenant, [b"x"]), lambda: list(objects.list(tenant))):
        with pytest.raises(PlatformError, match="tenant") as caught:
            ask()
        assert caught.value.code is ErrorCode.INVALID_INPUT


@given(tenant=st.from_regex(r"[a-z0-9]{1,20}(-[a-z0-9]{1,20})?", fullmatch=True), content=st.binary(max_size=50))
def test_keys_spell_their_digest(tenant: str, content: bytes) -> None:
    """A listing finds exactly the digests that were put."""
    digest = digest_of(content)
    key = object_key(tenant, digest)
    assert key == f"{tenant}/sha256/{digest[7:9]}/{digest[7:]}"
    assert digest_of_key(key) == digest


@given(digest=st.one_of(st.text(max_size=80), st.from_regex(r"(sha256:)?[0-9a-fA-F/.]{60,66}\n?", fullmatch=True)))
def test_only_digests_become_keys(digest: str) -> None:
    """No text that a client sends as a digest names another file."""
    is_digest = len(digest) == 71 and digest.startswith("sha256:") and set(digest[7:]) <= set("0123456789abcdef")
    if is_digest:
        assert object_key("acme", digest).endswith(digest[7:])
    else:
        with pytest.raises(PlatformError, match="Malformed object digest"):
            object_key("acme", digest)


def test_a_tenant_is_a_dns_label() -> None:
    """The longest and the shortest name pass."""
    for tenant in ("a", "0", "a-b", "a" * 63):
        check_tenant(tenant)
