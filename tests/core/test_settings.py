"""Settings: a typo in a deployment is fatal, never a silent default; secrets stay in files."""

from pathlib import Path

import pytest
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from hulumed_platform.core.settings import RoomSettings, SettingsError, read_secret


class KitchenSettings(RoomSettings):
    """A room of the tests."""

    model_config = SettingsConfigDict(env_prefix="HULUMED_KITCHEN_")

    ovens: int = Field(default=1, ge=1)
    """Ovens."""


def test_reads_typed_values_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable with the room's prefix sets the field of that name, in the field's type."""
    monkeypatch.setenv("HULUMED_KITCHEN_OVENS", "3")
    assert KitchenSettings.from_environment().ovens == 3


def test_unknown_variable_with_the_prefix_is_fatal(monkeypatch: pytest.MonkeyPatch) -> None:
    """`OVEN` for `OVENS` would otherwise mean one oven, silently."""
    monkeypatch.setenv("HULUMED_KITCHEN_OVEN", "3")
    with pytest.raises(SettingsError, match="HULUMED_KITCHEN_OVEN: no such setting"):
        KitchenSettings.from_environment()


@pytest.mark.parametrize("value", ["", "three", "0", "1.5"])
def test_unparsable_or_out_of_range_value_is_fatal_and_not_repeated(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """The fault names the variable, not its value: that may be a secret in the wrong place."""
    monkeypatch.setenv("HULUMED_KITCHEN_OVENS", value)
    with pytest.raises(SettingsError, match="HULUMED_KITCHEN_OVENS: "):
        KitchenSettings.from_environment()


def test_all_faults_are_listed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator mends a deployment in one go, not fault by fault."""
    monkeypatch.setenv("HULUMED_KITCHEN_OVENS", "none")
    monkeypatch.setenv("HULUMED_KITCHEN_LOG_LEVEL", "LOUD")
    with pytest.raises(SettingsError, match=r"LOG_LEVEL.*OVENS|OVENS.*LOG_LEVEL"):
        KitchenSettings.from_environment()


def test_settings_survive_the_way_through_an_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor hands settings to the rooms as variables; they must come out as they went in."""
    settings = KitchenSettings(ovens=7, drain_timeout_s=1.5, otlp_endpoint="http://localhost:4317")
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    assert KitchenSettings.from_environment() == settings


def test_secret_is_the_text_of_a_file(tmp_path: Path) -> None:
    """Editors end files with a newline; it is not part of the secret."""
    (tmp_path / "key").write_text("s3cret\n")
    assert read_secret(tmp_path / "key") == "s3cret"


def test_missing_or_empty_secret_is_fatal(tmp_path: Path) -> None:
    """An empty password must not be tried against a server."""
    (tmp_path / "empty").write_text("\n")
    for name in ("absent", "empty"):
        with pytest.raises(SettingsError, match=name):
            read_secret(tmp_path / name)
