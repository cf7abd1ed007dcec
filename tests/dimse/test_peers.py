"""The allow list: what is wrong in it is said before it lets anybody in or keeps anybody out."""

from pathlib import Path

import pytest

from hulumed_platform.core.settings import SettingsError
from hulumed_platform.dimse.peers import Peers, Permission


def load(folder: Path, text: str) -> Peers:
    path = folder / "peers.json"
    path.write_text(text)
    return Peers.load(path)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("{", "the file: Invalid JSON"),
        ("{}", "peers: Field required"),
        ('{"peers": [{"ae_title": "A", "hosts": ["10.0.0.300"], "may": ["echo"]}]}', r"peers\.0\.hosts\.0"),
        ('{"peers": [{"ae_title": "A", "hosts": ["10.0.0.1/8"], "may": ["echo"]}]}', r"peers\.0\.hosts\.0"),
        ('{"peers": [{"ae_title": "A", "hosts": [], "may": ["echo"]}]}', r"peers\.0\.hosts"),
        ('{"peers": [{"ae_title": "A", "hosts": ["::1"], "may": ["find"]}]}', r"peers\.0\.may\.0"),
        ('{"peers": [{"ae_title": "SEVENTEEN LETTERS", "hosts": ["::1"], "may": ["echo"]}]}', r"peers\.0\.ae_title"),
        ('{"peers": [{"ae_title": "A\\\\B", "hosts": ["::1"], "may": ["echo"]}]}', r"peers\.0\.ae_title"),
        ('{"peers": [{"ae_title": "A", "host": "::1", "may": ["echo"]}]}', r"peers\.0\.host: Extra"),
    ],
)
def test_a_fault_is_named_with_its_place(tmp_path: Path, text: str, fault: str) -> None:
    """A typing error must not silently mean another host."""
    with pytest.raises(SettingsError, match=f"peers_file .*{fault}"):
        load(tmp_path, text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """The most common mistake of all."""
    with pytest.raises(SettingsError, match=r"peers_file .*none\.json: No such file"):
        Peers.load(tmp_path / "none.json")


def test_addresses_of_both_families(tmp_path: Path) -> None:
    """A listener for IPv6 sees IPv4 peers with mapped addresses."""
    peers = load(tmp_path, '{"peers": [{"ae_title": "A", "hosts": ["10.1.0.0/16", "fd00::/8"], "may": ["echo"]}]}')
    assert all(peers.knows(host) for host in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1"))
    assert not any(peers.knows(host) for host in ("10.2.0.1", "::ffff:10.2.0.1", "fe80::1", "::1"))


def test_the_named_peer_goes_before_any(tmp_path: Path) -> None:
    """Wherever it stands in the file."""
    star = '{"ae_title": "*", "hosts": ["10.0.0.0/8"], "may": ["echo"]}'
    named = '{"ae_title": "CT1", "hosts": ["10.0.0.1"], "may": ["store"]}'
    peers = load(tmp_path, f'{{"peers": [{star}, {named}]}}')
    found = [peers.find("CT1", "10.0.0.1"), peers.find("CT1", "10.0.0.2"), peers.find("CT1", "11.0.0.1")]
    assert [peer.may if peer else None for peer in found] == [{Permission.STORE}, {Permission.ECHO}, None]
