"""Weights from the Hub: asked for and fetched, by processes of their own, from a stand-in of it on this machine."""

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from encoders.stand_in import FIRST, SECOND, Hub, served

from retrieval import artifacts
from retrieval.encoders import hub as client
from retrieval.encoders.specs import WeightsSource

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = "https://huggingface.co/owner/name"
NAME = "pytorch_model.bin"

Ask = Callable[..., dict[str, Any]]


class Process:
    """A process that is asked about weights, and what it has said on both channels."""

    def __init__(self, home: Path, endpoint: str, **environ: str) -> None:
        self.said = home / "said.txt"
        keep = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "RETRIEVAL_"))}
        own = {"HOME": str(home), "HF_ENDPOINT": endpoint, "NO_PROXY": "127.0.0.1,localhost"}
        path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests")])
        with self.said.open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, str(Path(__file__).with_name("hub_process.py"))],
                env=keep | own | {"PYTHONPATH": path} | environ,
                cwd=home,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                text=True,
            )

    def begin(self, question: dict[str, Any]) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        self.begin(question)
        assert self._process.stdout
        line = self._process.stdout.readline()
        with self.said.open("a") as said:
            said.write(line)
        return json.loads(line)

    def kill(self) -> None:
        """As the system does it when memory runs out: at once, without a word (SIGKILL)."""
        self._process.kill()
        self._process.communicate(timeout=30)

    def close(self) -> None:
        self._process.communicate(timeout=30)


@pytest.fixture(scope="module")
def behind() -> Iterator[Hub]:
    with served(Hub()) as hub:
        yield hub


@pytest.fixture
def hub(behind: Hub) -> Hub:
    """The stand-in with one repository of one file at two commits, behaving well."""
    fresh = Hub(files={FIRST: {NAME: b"first" * 1000}, SECOND: {NAME: b"second" * 1000}}, port=behind.port)
    vars(behind).update(vars(fresh))
    return behind


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def process(behind: Hub, home: Path) -> Iterator[Process]:
    process = Process(home, behind.url)
    yield process
    process.close()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def question(cache: Path, do: str = "fetch", *, token: str = "", gated: bool = False, **more: Any) -> dict[str, Any]:
    roots = {"cache": str(cache), **{name: str(more.pop(name)) for name in ("weights", "hub") if name in more}}
    source = {"filename": NAME, "repo": "owner/name", "revision": FIRST, **more}
    return {"do": do, "source": source, "roots": roots, "token": token, "gated": gated}


@pytest.fixture
def ask(process: Process, hub: Hub, cache: Path) -> Ask:
    """Ask the process about the weights in the repository; the words of the source as keywords."""

    def put(do: str = "fetch", **more: Any) -> dict[str, Any]:
        return process.ask(question(cache, do, **more))

    return put


def left(cache: Path) -> list[str]:
    """Names of files with content under a cache, without locks and marks."""
    idle = (".lock", "CACHEDIR.TAG", ".gitignore")
    return sorted(path.name for path in cache.rglob("*") if path.is_file() and not path.name.endswith(idle))


def in_the_hubs_layout(path: Path) -> Path:
    """The file moved to where huggingface_hub keeps the bytes, and a link in its place; where they are."""
    blob = path.parents[2] / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
    blob.parent.mkdir()
    path.rename(blob)
    path.symlink_to(Path("..", "..", "blobs", blob.name))
    return blob


# --- what goes well


def test_weights_are_fetched_once_at_the_pinned_commit(ask: Ask, hub: Hub, cache: Path):
    hub.main = SECOND
    found = ask()
    assert Path(found["path"]).read_bytes() == hub.files[FIRST][NAME]
    assert Path(found["path"]).is_relative_to(cache) and found["state"] == "ready"
    assert found["seen"][0] == [0, 5000] and found["seen"][-1] == [5000, 5000]
    assert client.revision_of(Path(found["path"])) == FIRST
    before = len(hub.asked)
    assert ask()["path"] == found["path"]
    assert len(hub.asked) == before


def test_without_a_pinned_commit_the_newest_is_taken_and_recorded(ask: Ask, hub: Hub):
    hub.main = SECOND
    found = ask(revision="")
    assert Path(found["path"]).read_bytes() == hub.files[SECOND][NAME]
    assert client.revision_of(Path(found["path"])) == SECOND
    hub.main = FIRST
    assert ask(revision="")["path"] == found["path"]  # what is at hand stays what is used


def test_the_configuration_file_comes_along_from_the_same_commit(ask: Ask, hub: Hub):
    for commit, files in hub.files.items():
        files["config.json"] = json.dumps({"commit": commit}).encode()
    found = Path(ask(config="config.json")["path"])
    assert json.loads(found.with_name("config.json").read_text()) == {"commit": FIRST}


def test_a_configuration_file_that_is_not_there_is_no_error(ask: Ask):
    assert Path(ask(config="config.json")["path"]).is_file()


def test_a_file_in_a_folder_of_the_repository_keeps_its_place(ask: Ask, hub: Hub):
    hub.files[FIRST] = {f"sub/{NAME}": b"nested" * 1000}
    found = Path(ask(filename=f"sub/{NAME}")["path"])
    assert found.read_bytes() == b"nested" * 1000 and not found.is_symlink()
    assert (found.parent.name, client.revision_of(found)) == ("sub", FIRST)


def test_a_cut_connection_is_taken_up_where_it_broke(ask: Ask, hub: Hub):
    hub.files[FIRST][NAME] = os.urandom(300_000)
    hub.cuts = [200_000]
    found = ask()
    assert Path(found["path"]).read_bytes() == hub.files[FIRST][NAME]
    assert [one.range for one in hub.transfers()] == [None, "bytes=200000-"]


def test_what_came_before_it_broke_off_for_good_is_kept(ask: Ask, hub: Hub, cache: Path):
    hub.cuts = [2000, 0]
    said = ask()
    assert f"{NAME} of Tiny (at most 5.0 kB) could not be fetched" in said["error"]
    assert "the connection to 127.0.0.1 broke" in said["error"]
    assert "2.0 kB are kept and it goes on from there" in said["remedy"] and PAGE in said["remedy"]
    assert ask("locate")["path"] == "None"
    found = Path(ask()["path"])
    assert found.read_bytes() == hub.files[FIRST][NAME] and hub.transfers()[-1].range == "bytes=2000-"
    assert left(cache) == [NAME]


@pytest.fixture
def killed(hub: Hub, home: Path, cache: Path) -> Iterator[Path]:
    """What a process has left of the file at the first commit that was killed while it came."""
    hub.files[FIRST][NAME], hub.stalls = os.urandom(3_000_000), 2_000_000
    process = Process(home, hub.url)
    try:
        process.begin(question(cache))
        assert reached(lambda: sum(part.stat().st_size for part in cache.rglob("*.part")) > 1_000_000)
    finally:
        process.kill()
        hub.goes_on.set()
        hub.stalls = None
    (part,) = cache.rglob("*.part")
    yield part


def reached(state: Callable[[], bool]) -> bool:
    """Whether a state is reached in half a minute."""
    for _ in range(600):
        if state():
            return True
        time.sleep(0.05)
    return False


def test_after_a_kill_only_the_rest_is_asked_for(ask: Ask, hub: Hub, cache: Path, killed: Path):
    at_hand = killed.stat().st_size
    assert 1_000_000 < at_hand <= 2_000_000 and ask("locate")["path"] == "None"
    found = ask()
    assert Path(found["path"]).read_bytes() == hub.files[FIRST][NAME]
    assert [one.range for one in hub.transfers()] == [None, f"bytes={at_hand}-"]
    assert found["seen"][0] == [at_hand, 3_000_000] and found["seen"][-1] == [3_000_000, 3_000_000]
    assert left(cache) == [NAME]


def test_what_a_person_left_goes_on_as_well(ask: Ask, hub: Hub, cache: Path):
    hub.files[FIRST][NAME] = os.urandom(5_000_000)
    assert 0 < ask("leave")["share"] < 1
    (part,) = cache.rglob("*.part")
    at_hand = part.stat().st_size
    assert at_hand > 0 and ask("locate")["path"] == "None"
    assert Path(ask()["path"]).read_bytes() == hub.files[FIRST][NAME]
    assert hub.transfers()[-1].range == f"bytes={at_hand}-"


def test_what_was_killed_after_the_last_byte_is_not_asked_for_again(ask: Ask, hub: Hub, killed: Path):
    killed.write_bytes(hub.files[FIRST][NAME])
    assert Path(ask()["path"]).read_bytes() == hub.files[FIRST][NAME]
    assert len(hub.transfers()) == 1


@pytest.mark.parametrize("commit", [FIRST, SECOND])
def test_another_file_on_the_hub_starts_over(ask: Ask, hub: Hub, cache: Path, killed: Path, commit: str):
    hub.files[commit][NAME] = os.urandom(3_000_000)
    assert Path(ask(revision=commit)["path"]).read_bytes() == hub.files[commit][NAME]
    assert [one.range for one in hub.transfers()] == [None, None]
    assert left(cache) == [NAME]


def test_the_same_file_at_another_commit_goes_on(ask: Ask, hub: Hub, killed: Path):
    hub.files[SECOND][NAME] = hub.files[FIRST][NAME]
    at_hand = killed.stat().st_size
    assert client.revision_of(Path(ask(revision=SECOND)["path"])) == SECOND
    assert hub.transfers()[-1].range == f"bytes={at_hand}-"


def test_the_users_own_cache_is_used_and_not_written(ask: Ask, hub: Hub, cache: Path, tmp_path: Path):
    users = tmp_path / "users"
    in_the_hubs_layout(Path(ask()["path"]))
    (cache / "hub").rename(users)
    before, asked = sorted(users.rglob("*")), len(hub.asked)
    assert Path(ask(hub=users)["path"]).is_relative_to(users)
    assert (sorted(users.rglob("*")), len(hub.asked)) == (before, asked)
    assert not cache.exists() or left(cache) == []


def test_a_folder_of_the_hubs_layout_can_be_put_in_place_by_hand(ask: Ask, cache: Path, tmp_path: Path, hub: Hub):
    in_the_hubs_layout(Path(ask()["path"]))
    own = tmp_path / "weights" / "tiny"
    own.parent.mkdir()
    shutil.copytree(cache / "hub" / "models--owner--name", own / "models--owner--name", symlinks=True)
    shutil.rmtree(cache)
    asked = len(hub.asked)
    found = Path(ask(weights=tmp_path / "weights")["path"])
    assert found.is_relative_to(own) and client.revision_of(found) == FIRST
    assert len(hub.asked) == asked


# --- logins


def test_a_token_goes_to_the_hub_and_nowhere_else(ask: Ask, hub: Hub, cache: Path, process: Process, home: Path):
    hub.gated = True
    assert ask("locate")["path"] == "None"
    found = ask(token="hf_granted", gated=True)
    assert found["state"] == "ready"
    assert {one.token for one in hub.asked if one.host == "127.0.0.1"} == {"hf_granted"}
    assert [one.token for one in hub.transfers()] == [None]
    written = [path for folder in (cache, home) for path in folder.rglob("*") if path.is_file()]
    assert [path for path in written if b"hf_granted" in path.read_bytes()] == []
    assert b"hf_granted" not in process.said.read_bytes()


def test_a_stored_login_is_read(ask: Ask, hub: Hub, home: Path):
    hub.gated = True
    stored = home / ".cache" / "huggingface" / "token"
    stored.parent.mkdir(parents=True, exist_ok=True)
    stored.write_text("hf_granted")
    try:
        assert ask(gated=True)["state"] == "ready"
    finally:
        stored.unlink()


# --- what goes wrong: each its own sentence, with the page, and nothing left behind


def _gated(hub: Hub) -> None:
    hub.gated = True


def _of_nobody(hub: Hub) -> None:
    hub.known = ()


def _no_commit(hub: Hub) -> None:
    del hub.files[FIRST]


def _no_file(hub: Hub) -> None:
    hub.files[FIRST] = {}


def _moved(hub: Hub) -> None:
    hub.repo = "owner/another"


def _down(hub: Hub) -> None:
    hub.status = 503


def _forbidden(hub: Hub) -> None:
    hub.status = 403


def _portal(hub: Hub) -> None:
    hub.portal = True


def _short(hub: Hub) -> None:
    hub.sent = hub.files[FIRST][NAME][:-7]


def _other(hub: Hub) -> None:
    hub.sent = bytes(reversed(hub.files[FIRST][NAME]))


def _huge(hub: Hub) -> None:
    hub.claimed = 10**17


REFUSALS = {
    "gated, no login": (_gated, "", "after a login and consent, and no login was found", "Accept the terms at"),
    "gated, not granted": (_gated, "hf_waiting", "has not been granted access", "wait until it is granted"),
    "a token of nobody": (_of_nobody, "hf_nobody", "does not accept the login", "whether the token is still valid"),
    "no such commit": (_no_commit, "", f"has no revision {FIRST}", "whether they were moved"),
    "no such file": (_no_file, "", f"has no file {NAME} at {FIRST}", "whether they were moved"),
    "no such repository": (_moved, "", "has no repository owner/name, or hides it", "whether they were moved"),
    "out of order": (_down, "", "the Hugging Face Hub answered 503", "Try again later"),
    "forbidden": (_forbidden, "hf_granted", "does not accept the login", "whether the token is still valid"),
    "truncated": (_short, "", f"What came for {NAME} of Tiny is not the file on the Hub; it was removed", "Try again"),
    "another file": (
        _other,
        "",
        f"What came for {NAME} of Tiny is not the file on the Hub; it was removed",
        "Try again",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_each_refusal_has_its_own_sentence_and_leaves_nothing(case: str, ask: Ask, hub: Hub, cache: Path):
    break_it, token, message, remedy = REFUSALS[case]
    break_it(hub)
    said = ask(token=token, gated=True)
    assert (said["kind"], message in said["error"]) == ("Unavailable", True), said
    assert remedy in said["remedy"] and PAGE in said["remedy"], said
    assert "Tiny" in said["error"]
    assert left(cache) == []
    assert ask("locate")["path"] == "None"
    everything = said["error"] + said["remedy"]
    assert token == "" or token not in everything


def test_no_two_refusals_say_the_same():
    sentences = [message for _, _, message, _ in REFUSALS.values()]
    assert len(set(sentences)) == len(sentences) - 2  # both refused logins are one, and so are both wrong contents


def test_what_is_too_large_for_the_disk_is_refused_before_it_comes(ask: Ask, hub: Hub, cache: Path):
    hub.claimed = 10**17
    said = ask()
    assert f"{NAME} of Tiny needs 100000 TB more, and {cache}" in said["error"] and "free" in said["error"]
    assert "RETRIEVAL_CACHE" in said["remedy"] and PAGE in said["remedy"]
    assert sum(path.stat().st_size for path in cache.rglob("*.part")) == 0


def test_a_configuration_file_is_compared_with_gits_digest(ask: Ask, hub: Hub):
    hub.files[FIRST]["config.json"], hub.small_sent = b'{"depth": 12}', b'{"depth": 13}'
    said = ask(config="config.json")
    assert "What came for config.json of Tiny is not the file on the Hub; it was removed" in said["error"]
    assert hub.transfers() == []


def test_something_else_that_answers_is_not_taken_for_the_hub(ask: Ask, hub: Hub, cache: Path):
    hub.portal = True
    said = ask()
    assert "is something else" in said["error"] and "HF_ENDPOINT" in said["remedy"]
    assert left(cache) == []


def test_a_commit_that_is_none_leads_to_no_other_folder(ask: Ask, hub: Hub, cache: Path):
    hub.main = "../../../elsewhere"
    hub.files[hub.main] = hub.files[FIRST]
    assert "is something else" in ask(revision="")["error"]
    assert left(cache) == [] and hub.transfers() == []


def test_a_file_that_the_spec_knows_to_be_another_is_not_fetched(ask: Ask, hub: Hub):
    said = ask(containers=["sha256:" + "0" * 64])
    assert "is not the file that Tiny is known by" in said["error"] and PAGE in said["error"]
    assert hub.transfers() == []


def test_a_cache_that_cannot_be_written_is_a_sentence(ask: Ask, cache: Path):
    cache.write_text("a file where the folder should be")
    said = ask()
    assert "cannot be written" in said["error"] and "RETRIEVAL_CACHE" in said["remedy"]


def test_two_do_not_fetch_the_same_at_once(ask: Ask, hub: Hub, cache: Path):
    with artifacts.lock(cache / "hub" / "models--owner--name.lock", what="this test"):
        said = ask()
    assert said["kind"] == "Busy" and "the download of Tiny" in said["error"]
    assert hub.transfers() == []


@pytest.mark.parametrize("way", ["HF_HUB_OFFLINE", "no network"])
def test_offline_has_its_own_sentence(way: str, hub: Hub, cache: Path, tmp_path: Path):
    offline = way == "HF_HUB_OFFLINE"
    endpoint = hub.url if offline else "http://127.0.0.1:9"  # a port that no one answers at
    process = Process(tmp_path, endpoint, **({"HF_HUB_OFFLINE": "1"} if offline else {}))
    said = process.ask(question(cache))
    process.close()
    expected = "HF_HUB_OFFLINE forbids downloads" if offline else "there is no connection to the Hugging Face Hub"
    assert expected in said["error"] and PAGE in said["remedy"] and "RETRIEVAL_WEIGHTS" in said["remedy"]
    assert hub.asked == [] and left(cache) == []


# --- files that are not what they should be


class _Malicious:
    """Makes a file appear when it is unpickled by anything that executes what it reads."""

    def __init__(self, sign: Path) -> None:
        self.sign = sign

    def __reduce__(self) -> tuple:
        return os.system, (f"touch '{self.sign}'",)


def test_code_in_a_file_from_the_hub_is_not_executed(ask: Ask, hub: Hub, tmp_path: Path):
    sign = tmp_path / "executed"
    hub.files[FIRST][NAME] = pickle.dumps({"weight": _Malicious(sign)}, protocol=2)
    pickle.loads(hub.files[FIRST][NAME])
    sign.unlink()  # it was there: whoever unpickles it runs it
    path = ask()["path"]
    said = ask("identify")
    assert said["kind"] == "BadInput"
    assert NAME in said["error"] and f"delete {path} and " in said["remedy"]
    assert not sign.exists()


@pytest.mark.parametrize("linked", [False, True])
def test_a_damaged_file_in_the_cache_is_named_with_what_to_delete(ask: Ask, hub: Hub, linked: bool):
    path = Path(ask()["path"])
    bytes_of_it = in_the_hubs_layout(path) if linked else path
    bytes_of_it.write_bytes(b"\0" * 100)
    said = ask("identify")
    assert said["kind"] == "BadInput" and f"{NAME} in {path.parent}" in said["error"]
    both = f"{path} and {bytes_of_it}, to which it points," if linked else f"{path}"
    assert f"delete {both} and fetch it again" in said["remedy"]
    client.remove(path)
    assert not bytes_of_it.exists()
    assert Path(ask()["path"]).read_bytes() == hub.files[FIRST][NAME]


def test_weights_from_the_hub_are_known_by_their_tensors_and_their_commit(ask: Ask, hub: Hub, tmp_path: Path):
    import torch

    torch.save({"weight": torch.arange(6.0)}, tmp_path / NAME)
    hub.files[FIRST][NAME] = (tmp_path / NAME).read_bytes()
    ask()
    found = ask("identify")
    assert (found["revision"], found["verified"], len(found["digest"])) == (FIRST, "False", 32)
    assert ask("identify", digest=found["digest"])["verified"] == "True"


# --- the layout of a cache


def test_of_several_commits_the_pinned_one_goes_first_and_then_the_branch(tmp_path: Path):
    folder = tmp_path / "models--owner--name"
    for commit in (FIRST, SECOND, "0" * 40):
        (folder / "snapshots" / commit).mkdir(parents=True)
        (folder / "snapshots" / commit / NAME).write_bytes(b"")
    source = WeightsSource(filename=NAME, repo="owner/name", revision=FIRST)
    free = WeightsSource(filename=NAME, repo="owner/name")
    assert client.revision_of(client.stored(tmp_path, source, (NAME,)) or tmp_path) == FIRST
    assert client.revision_of(client.stored(tmp_path, free, (NAME,)) or tmp_path) == "0" * 40
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(SECOND)
    assert client.revision_of(client.stored(tmp_path, free, (NAME,)) or tmp_path) == SECOND
    assert client.stored(tmp_path, free, ("absent",)) is None


def test_looking_for_weights_does_not_load_the_hubs_library(cache: Path, tmp_path: Path):
    process = Process(tmp_path, "http://127.0.0.1:9")
    found = process.ask(question(cache, "locate", hub=tmp_path / "hub"))
    process.close()
    assert found["path"] == "None"
    assert {"huggingface_hub", "torch", "tqdm"}.isdisjoint(found["modules"])
