"""What the fixtures do where there is no broker."""

from __future__ import annotations

import pytest

from tests.brokers import plugin
from tests.brokers.rabbitmq import Installation, Unavailable


def nothing(version: str) -> Installation:
    raise Unavailable(f"No {version} here.")


def no_4_3(version: str) -> None:
    if version == "4.3":
        raise Unavailable("Debian has 4.4 now.", gone=True)


def test_it_skips_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="No chroot here"):
        plugin.refuse(Unavailable("No chroot here."))


def test_in_ci_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="No chroot here"):
        plugin.refuse(Unavailable("No chroot here."))


def test_in_ci_it_skips_what_debian_has_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.skip.Exception, match=r"has 4\.4 now"):
        plugin.refuse(Unavailable("Debian has 4.4 now.", gone=True))


@pytest.mark.parametrize("ci", ["", "true"])
def test_the_newest_version_is_the_newest_that_debian_has(monkeypatch: pytest.MonkeyPatch, ci: str) -> None:
    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(plugin, "ensure", no_4_3)
    assert plugin.newest_of_ours() == "4.0"


def test_with_none_the_reason_is_the_oldest_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr(plugin, "ensure", nothing)
    with pytest.raises(Unavailable, match=r"No 3\.10 here"):
        plugin.newest_of_ours()


def test_a_broker_of_others_is_used_and_not_steered() -> None:
    broker = plugin.External("amqp://somewhere/")
    with broker.vhost() as url:
        assert url == "amqp://somewhere/"
    with pytest.raises(pytest.skip.Exception, match=r"kill.*WARREN_AMQP_URL"):
        broker.kill()
