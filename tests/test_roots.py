"""Where things lie, as the environment says it."""

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

from retrieval.errors import BadInput
from retrieval.roots import (
    SHIPPED,
    Login,
    Roots,
    archive_login,
    largest_archive,
    queueing_allowed,
    roots_from_environment,
)

REPOSITORY = Path(__file__).resolve().parent.parent


def test_without_a_word_from_the_environment_the_users_own_folders_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    roots = roots_from_environment({})
    assert roots.data == (tmp_path / ".medmnist",)
    assert roots.weights is None
    assert roots.precomputed == REPOSITORY / "precomputed"
    assert roots.cache.is_relative_to(tmp_path) and roots.cache.name == "medical-image-retrieval"
    assert list(tmp_path.iterdir()) == []  # naming folders makes none


def test_named_folders_are_taken_as_named(tmp_path: Path):
    environ = {
        "RETRIEVAL_DATA": str(tmp_path / "data"),
        "RETRIEVAL_WEIGHTS": str(tmp_path / "weights"),
        "RETRIEVAL_PRECOMPUTED": str(tmp_path / "precomputed"),
        "RETRIEVAL_CACHE": str(tmp_path / "cache"),
        "HF_HUB_CACHE": str(tmp_path / "hub"),
    }
    roots = roots_from_environment(environ)
    assert roots == Roots(
        data=(tmp_path / "data", Path.home() / ".medmnist"),
        weights=tmp_path / "weights",
        precomputed=tmp_path / "precomputed",
        cache=tmp_path / "cache",
        hub=tmp_path / "hub",
    )


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"XDG_CACHE_HOME": "/xdg"},
        {"HF_HOME": "~/hf", "XDG_CACHE_HOME": "/xdg"},
        {"HF_HOME": "$HOME/hf"},
        {"HUGGINGFACE_HUB_CACHE": "/old", "HF_HOME": "/hf"},
        {"HF_HUB_CACHE": "~/new", "HUGGINGFACE_HUB_CACHE": "/old"},
    ],
    ids=lambda environ: "+".join(environ) or "nothing",
)
def test_the_hubs_cache_is_where_its_own_library_has_it(environ: dict[str, str], monkeypatch, tmp_path: Path):
    for name in ("XDG_CACHE_HOME", "HF_HOME", "HUGGINGFACE_HUB_CACHE", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": str(tmp_path), **environ}.items():
        monkeypatch.setenv(name, value)
    program = "from huggingface_hub.constants import HF_HUB_CACHE; print(HF_HUB_CACHE)"
    theirs = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    assert roots_from_environment().hub == Path(theirs)


def test_several_data_folders_are_searched_in_their_order_and_the_home_after_them():
    several = os.pathsep.join(["/one", "/two words", "", "/three"])
    roots = roots_from_environment({"RETRIEVAL_DATA": several})
    assert roots.data == (Path("/one"), Path("/two words"), Path("/three"), Path.home() / ".medmnist")


def test_a_tilde_is_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HOME", str(tmp_path))
    environ = {"RETRIEVAL_DATA": f"~/a{os.pathsep}~/b", "RETRIEVAL_CACHE": "~/c", "RETRIEVAL_WEIGHTS": "~"}
    roots = roots_from_environment(environ)
    assert roots.data == (tmp_path / "a", tmp_path / "b", tmp_path / ".medmnist")
    assert (roots.cache, roots.weights) == (tmp_path / "c", tmp_path)


def test_a_relative_folder_is_fixed_when_it_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    roots = roots_from_environment({"RETRIEVAL_DATA": "data", "RETRIEVAL_CACHE": "./cache"})
    monkeypatch.chdir("/")
    assert roots.data[0] == tmp_path / "data"
    assert roots.cache == tmp_path / "cache"


@pytest.mark.parametrize("name", ["DATA", "WEIGHTS", "PRECOMPUTED", "CACHE"])
def test_an_empty_word_is_no_word(name: str):
    assert roots_from_environment({f"RETRIEVAL_{name}": ""}) == roots_from_environment({})


def test_what_was_computed_here_is_found_before_what_is_shipped(empty_roots: Roots):
    assert empty_roots.lookup == (empty_roots.cache, empty_roots.precomputed)


def test_no_root_depends_on_the_working_directory(tmp_path: Path):
    program = "from retrieval.roots import roots_from_environment; print(roots_from_environment())"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RETRIEVAL_")}
    environ |= {"PYTHONPATH": str(REPOSITORY), "HOME": str(tmp_path / "home")}
    said = set()
    for folder in (tmp_path / "here", tmp_path / "there"):
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=folder, env=environ, capture_output=True, text=True, check=True
        )
        said.add(done.stdout)
        assert list(folder.iterdir()) == []
    assert len(said) == 1
    assert str(SHIPPED) in said.pop()
    assert not (tmp_path / "home").exists()


def test_roots_are_a_value():
    assert hash(roots_from_environment({})) == hash(roots_from_environment({}))


def test_a_login_for_archives_is_a_token_or_a_user_with_a_password():
    assert archive_login({}) is None
    assert archive_login({"RETRIEVAL_DICOMWEB_TOKEN": "abc.def"}) == Login("Bearer abc.def")
    both = {"RETRIEVAL_DICOMWEB_USER": "Ada", "RETRIEVAL_DICOMWEB_PASSWORD": "pass: w\u00f6rd"}
    assert archive_login(both) == Login("Basic " + base64.b64encode("Ada:pass: w\u00f6rd".encode()).decode())


@pytest.mark.parametrize(
    "environ",
    [
        {"USER": "secret"},
        {"PASSWORD": "secret"},
        {"USER": "secret", "PASSWORD": "secret", "TOKEN": "secret"},
        {"USER": "secret:secret", "PASSWORD": "secret"},
        {"TOKEN": "secret\nX-Header: secret"},
    ],
    ids=str,
)
def test_half_a_login_is_refused_without_repeating_it(environ: dict[str, str]):
    with pytest.raises(BadInput, match="set|holds") as refusal:
        archive_login({f"RETRIEVAL_DICOMWEB_{name}": value for name, value in environ.items()})
    assert "secret" not in str(refusal.value)


def test_a_login_is_not_shown():
    assert "secret" not in repr(archive_login({"RETRIEVAL_DICOMWEB_TOKEN": "secret"}))


@pytest.mark.parametrize(
    ("named", "expected"), [({}, 500), ({"RETRIEVAL_ZIP_MB": "20"}, 20), ({"RETRIEVAL_ZIP_MB": "many"}, 500)]
)
def test_a_zip_may_be_as_large_as_is_named(named: dict[str, str], expected: int):
    assert largest_archive(named) == expected * 10**6


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, True),
        ({"RETRIEVAL_JOBS": "off"}, False),
        ({"SPACE_ID": "someone/space"}, False),
        ({"SPACE_ID": "someone/space", "RETRIEVAL_JOBS": "on"}, True),
        ({"RETRIEVAL_JOBS": "disabled"}, False),
        ({"SPACE_ID": "someone/space", "RETRIEVAL_JOBS": "none"}, False),
    ],
    ids=str,
)
def test_visitors_may_queue_but_on_a_public_server(environ: dict[str, str], expected: bool):
    assert queueing_allowed(environ) is expected
