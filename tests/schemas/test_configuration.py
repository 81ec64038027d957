"""Settings: who said what, and what happens when it is nonsense."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from schemas.configuration import Configuration, Misconfigured, load
from schemas.settings import Settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "canopy.toml"
    path.write_text('port = 8001\nhost = "::1"\nallowed_origins = ["https://a.example"]\n')
    return path


@pytest.fixture(autouse=True)
def lonely_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own configuration file does not take part."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def test_nothing_said_gives_the_defaults() -> None:
    configuration = load(environ={})

    assert configuration.settings == Settings()
    assert configuration.sources == {}


def test_flags_win_over_the_environment_and_that_over_the_file(file: Path) -> None:
    environ = {"CANOPY_PORT": "8002", "CANOPY_HOST": "127.0.0.2"}

    configuration = load({"port": 8003, "host": None}, environ, file)

    assert configuration.settings.port == 8003
    assert configuration.settings.host == "127.0.0.2"
    assert configuration.settings.allowed_origins == ("https://a.example",)
    assert configuration.sources == {
        "port": "--port",
        "host": "CANOPY_HOST",
        "allowed_origins": str(file),
    }


def test_the_file_may_be_named_in_the_environment(file: Path) -> None:
    assert load(environ={"CANOPY_CONFIG": str(file)}).settings.port == 8001


def test_the_usual_file_is_read_when_it_is_there(tmp_path: Path) -> None:
    usual = tmp_path / "config" / "canopy" / "canopy.toml"
    usual.parent.mkdir(parents=True)
    usual.write_text("port = 8009\n")

    assert load(environ={}).settings.port == 8009


def test_set_to_the_default_is_not_unset() -> None:
    said = load(environ={"CANOPY_PORT": "7770"})
    unsaid = load(environ={"CANOPY_PORT": ""})

    assert said.settings == unsaid.settings
    assert said.explain("port").source == "CANOPY_PORT"
    assert unsaid.explain("port").source == "default"


def test_lists_in_the_environment_are_separated_by_commas() -> None:
    environ = {"CANOPY_ALLOWED_HOSTS": "a.example, b.example,"}

    assert load(environ=environ).settings.allowed_hosts == ("a.example", "b.example")


def test_every_knob_explains_itself() -> None:
    configuration = load(environ={})
    explained = [configuration.explain(key) for key in Settings.model_fields]

    assert all(e.unit and e.description.endswith(".") for e in explained)
    assert all(e.value == e.default for e in explained)


@pytest.mark.parametrize(
    ("suffix", "unit"),
    [("_s", "seconds"), ("_bytes", "bytes"), ("_bytes_max", "bytes"), ("_ms", "milliseconds")],
)
def test_a_knob_named_by_its_unit_has_that_unit(suffix: str, unit: str) -> None:
    configuration = load(environ={})
    named = [key for key in Settings.model_fields if key.endswith(suffix)]

    assert {configuration.explain(key).unit for key in named} <= {unit}


def test_a_secret_is_never_told() -> None:
    configuration = load(environ={"CANOPY_PASSPHRASE": "correct horse"})

    assert configuration.explain("passphrase").value == "********"
    assert "horse" not in repr(configuration)


@pytest.mark.parametrize(
    ("key", "written", "shown"),
    [
        ("nats_url", "nats://ann:secret@a.example:4222", "nats://****@a.example:4222"),
        ("nats_url", "nats://secret@a.example", "nats://****@a.example"),
        ("nats_url", "ann:secret@a.example", "****@a.example"),
        ("nats_url", "nats://ann:s@secret@a.example,b", "nats://****@a.example,b"),
        ("nats_url", "nats://ann:12,secret@b", "nats://****@b"),
        ("nats_url", "nats://ann:s@secret,t:secret@b", "nats://****@b"),
        ("nats_url", "nats:ann:secret@a.example", "****@a.example"),
        ("nats_url", "nats://a:secret@a,tls://b:secret@b", "nats://****@a,tls://****@b"),
        ("nats_system_url", "nats://sys:secret@a.example", "nats://****@a.example"),
        ("otlp_endpoint", "http://ann:s/secret@a.example/x", "http://****@a.example/x"),
    ],
)
def test_who_signs_in_is_never_told(key: str, written: str, shown: str) -> None:
    """However it is written, as long as it can be used."""
    configuration = load(environ={f"CANOPY_{key.upper()}": written})

    assert configuration.explain(key).value == shown
    assert "secret" not in repr(configuration)


@pytest.mark.parametrize(
    "written",
    [
        "nats://ann:secret",
        "nats://ann:secret,x@a.example",
        "nats://ann:secret://x@a.example",
        "nats://ann:s/secret@a.example",
        "nats:/ann:secret@a.example",
        "nats://ann:s?secret@a.example",
        "nats://ann:s#secret@a.example",
        "nats://ann:[secret@a.example",
        "nats://ann:s\nsecret@a.example",
        "nats://ann:secret＠a.example",
        "nats://secret%40a.example",
        "nats://ann:x@a.example/secret",
        "nats://ann:x@a.example#secret",
        "secret://ann:x@a.example",
    ],
)
def test_nothing_of_a_url_that_cannot_be_used_is_told(written: str) -> None:
    with pytest.raises(Misconfigured, match=r"CANOPY_NATS_URL: nats_url: .* address ") as refused:
        load(environ={"CANOPY_NATS_URL": written})
    with pytest.raises(ValidationError) as unfit:
        Settings(nats_url=written)

    assert "secret" not in f"{refused.value} {unfit.value}"


def test_a_misspelt_key_is_named_with_the_one_meant(file: Path) -> None:
    file.write_text("read_wiat_s = 3\n")

    with pytest.raises(Misconfigured, match=r"canopy\.toml.*'read_wiat_s'.*'read_wait_s'"):
        load(environ={}, file=file)


def test_a_misspelt_variable_is_noticed() -> None:
    assert load(environ={"CANOPY_PROT": "1", "HOME": "/"}).strangers == ("CANOPY_PROT",)


@pytest.mark.parametrize("text", ["port = ", "\x00", 'port = "many"', "port = 70000"])
def test_a_file_of_nonsense_is_refused_with_its_path(file: Path, text: str) -> None:
    file.write_text(text)

    with pytest.raises(Misconfigured, match=r"canopy\.toml"):
        load(environ={}, file=file)


def test_a_wrong_value_is_not_repeated() -> None:
    with pytest.raises(Misconfigured) as caught:
        load(environ={"CANOPY_PORT": "hunter2"})

    assert "CANOPY_PORT: port" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no configuration file"):
        load(environ={}, file=tmp_path / "none.toml")


def test_nobody_explains_what_does_not_exist() -> None:
    configuration: Configuration = load(environ={})

    with pytest.raises(Misconfigured, match="Did you mean 'port'"):
        configuration.explain("prot")


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1  # type: ignore[misc]  # this is what must fail


def test_the_data_directory_has_a_short_name() -> None:
    environ = {"CANOPY_DATA": "/srv/canopy", "HOME": "/"}

    configuration = load(environ=environ)

    assert configuration.settings.data_directory == Path("/srv/canopy")
    assert configuration.explain("data_directory").source == "CANOPY_DATA"
    assert configuration.strangers == ()


def test_what_speaks_to_the_command_line_is_no_stranger() -> None:
    environ = {"CANOPY_URL": "http://x", "CANOPY_API_KEY": "k", "CANOPY_PASSWORD": "p", "HOME": "/"}

    assert load(environ=environ).strangers == ()
