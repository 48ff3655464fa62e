from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import tomllib
import zipfile
from typing import TYPE_CHECKING

import pytest
from packaging.pylock import Pylock

from forkhouse.audit.look import audit_wheel
from forkhouse.core.errors import AuditError, ClosureError, HashMismatchError, StorageError
from forkhouse.core.journal import Journal
from forkhouse.documents.lockfile import External
from forkhouse.documents.pins import pinned_wheel
from forkhouse.wheelhouse.exchange import exchange
from forkhouse.wheelhouse.publish import recover
from forkhouse.wheelhouse.verifying import verify
from tests.wheelhouse.conftest import built_wheel

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from forkhouse.audit.look import AuditTerms
    from forkhouse.audit.report import AuditReport
    from tests.wheelhouse.conftest import Draft

OURS = "demo_rocm-1.0+rocm.1-py3-none-any.whl"
HELPER = "helper-3.0-py3-none-any.whl"


def test_a_wheelhouse_holds_the_wheels_and_what_other_tools_read(draft: Draft) -> None:
    house = draft.publish()
    assert house.changed
    assert [wheel.file for wheel in house.wheels] == [OURS, HELPER]
    content = draft.content()
    assert content[OURS] == draft.built[0].path.read_bytes()
    subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"], cwd=draft.folder, check=True
    )
    assert verify(draft.folder) == len(content) - 1
    pylock = Pylock.from_dict(tomllib.loads(content["pylock.toml"].decode()))
    assert {str(package.name): str(package.version) for package in pylock.packages} == {
        "demo-rocm": "1.0+rocm.1",
        "helper": "3.0",
    }
    assert "requirements.txt" in content
    assert "simple/helper/index.html" in content


def test_the_manifest_says_where_each_wheel_is_from(draft: Draft) -> None:
    helper = draft.third_party[0]
    external = External(
        package="helper",
        version="3.0",
        file=HELPER,
        sha256=helper.sha256,
        why="A resolver takes another.",
    )
    draft.profile = draft.profile.model_copy(update={"externals": (external,)})
    draft.publish()
    ours, other = json.loads((draft.folder / "manifest.json").read_text(encoding="utf-8"))["wheels"]
    assert other == {
        "name": "helper",
        "version": "3.0",
        "file": HELPER,
        "sha256": helper.sha256,
        "origin": "index",
        "audit": "passed, excused by the lock",
        "why": "A resolver takes another.",
        "size": (draft.folder / HELPER).stat().st_size,
        "required-by": ["demo-rocm"],
    }
    assert ours == {
        "name": "demo-rocm",
        "version": "1.0+rocm.1",
        "file": OURS,
        "sha256": draft.built[0].sha256,
        "origin": "built",
        "audit": "passed, as ours",
        "recipe": "demo",
        "upstream": "demo",
        "source": {
            "kind": "wheel",
            "package": "demo",
            "file": "demo-1.0-py3-none-any.whl",
            "sha256": "0" * 64,
        },
        "passed-over": ["git x: did not answer"],
        "tree": "1" * 40,
        "patched-tree": "3" * 40,
        "patches": ["0001-a.patch"],
        "patches-for-other-forms": ["0002-b.edit.yaml"],
        "components": [],
        "built-against": {},
        "tools": {"gcc": "gcc 12"},
        "omits": {},
        "kernels": [],
        "torch-symbols": [],
        "size": (draft.folder / OURS).stat().st_size,
        "required-by": ["the profile"],
    }
    manifest = json.loads((draft.folder / "manifest.json").read_text(encoding="utf-8"))
    assert (manifest["profile"], manifest["install"]) == ("cpu", ["demo-rocm"])


def test_two_runs_give_the_same_bytes(draft: Draft, tmp_path: Path) -> None:
    draft.publish()
    first = draft.content()
    draft.folder, draft.journal = tmp_path / "other/cpu", Journal(tmp_path / "other-journal")
    draft.publish()
    assert draft.content() == first


def test_what_is_up_to_date_is_left_alone(draft: Draft) -> None:
    draft.publish()
    before = draft.folder.stat().st_ino
    assert not draft.publish().changed
    assert draft.folder.stat().st_ino == before


@pytest.mark.parametrize("name", [HELPER, "SHA256SUMS", "simple/helper/index.html"])
@pytest.mark.parametrize("damage", ["lost", "changed", "strange"])
def test_a_wheelhouse_that_somebody_touched_is_written_again(
    draft: Draft, name: str, damage: str
) -> None:
    draft.publish()
    before = draft.content()
    path = draft.folder / name
    if damage == "strange":
        path.with_name("strange").touch()
    else:
        path.unlink()
    if damage == "changed":
        path.write_bytes(b"changed")
    assert draft.publish().changed
    assert draft.content() == before


def test_wheels_of_others_are_looked_into_once(
    draft: Draft, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def look(path: Path, terms: AuditTerms, *, ours: bool) -> AuditReport:
        seen.append(path.name)
        return audit_wheel(path, terms, ours=ours)

    monkeypatch.setattr("forkhouse.wheelhouse.publish.audit_wheel", look)
    draft.publish()
    (draft.folder / "SHA256SUMS").unlink()
    assert draft.publish().changed
    assert seen == [OURS, HELPER, OURS]


def spoilt_audit(draft: Draft, make_wheel: Callable[..., Path]) -> None:
    path = make_wheel(
        "demo-rocm",
        "1.0+rocm.1",
        metadata=("Requires-Dist: helper", "Requires-Dist: nvidia-nccl-cu12"),
    )
    draft.built = [built_wheel(path)]


def spoilt_record(draft: Draft, make_wheel: Callable[..., Path]) -> None:
    path = make_wheel(
        "demo-rocm",
        "1.0+rocm.1",
        metadata=("Requires-Dist: helper",),
        record="demo_rocm/__init__.py,sha256=AA,1\n",
    )
    draft.built = [built_wheel(path)]


def spoilt_closure(draft: Draft, make_wheel: Callable[..., Path]) -> None:
    path = make_wheel(
        "demo-rocm", "1.0+rocm.1", metadata=("Requires-Dist: helper", "Requires-Dist: other>=2")
    )
    draft.built = [built_wheel(path)]


def spoilt_hash(draft: Draft, _: Callable[..., Path]) -> None:
    draft.third_party = [pinned_wheel(HELPER, "0" * 64)]


def spoilt_names(draft: Draft, _: Callable[..., Path]) -> None:
    draft.third_party.append(pinned_wheel("demo_rocm-2.0-py3-none-any.whl", "0" * 64))


def spoilt_external(draft: Draft, _: Callable[..., Path]) -> None:
    external = External(package="helper", version="3.0", file=HELPER, sha256="0" * 64, why="x")
    draft.profile = draft.profile.model_copy(update={"externals": (external,)})


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (
            spoilt_audit,
            AuditError,
            r"(?s)demo_rocm-.*was refused:.*requires the CUDA package nvidia-nccl-cu12",
        ),
        (spoilt_record, AuditError, r"demo_rocm/__init__\.py is not as RECORD says"),
        (spoilt_closure, ClosureError, r"other>=2 \(wanted by demo-rocm\) is not there"),
        (spoilt_hash, HashMismatchError, rf"{HELPER}: its sha256 is"),
        (spoilt_names, ClosureError, "Built here and pinned from an index at once: demo-rocm"),
        (
            spoilt_external,
            ClosureError,
            "The lock names helper as external, but the profile's pylock file pins other files",
        ),
    ],
)
def test_what_must_not_enter_leaves_the_wheelhouse_as_it_was(
    draft: Draft,
    make_wheel: Callable[..., Path],
    spoil: Callable[[Draft, Callable[..., Path]], None],
    error: type[Exception],
    message: str,
) -> None:
    draft.publish()
    before = draft.content()
    spoil(draft, make_wheel)
    with pytest.raises(error, match=message):
        draft.publish()
    assert draft.content() == before


def test_a_cuda_wheel_enters_only_when_the_lock_names_it(
    draft: Draft, make_wheel: Callable[..., Path], publish: Callable[..., str]
) -> None:
    path = make_wheel("nixl-cu12")
    pin = pinned_wheel(path.name, publish(path))
    draft.third_party.append(pin)
    draft.profile = draft.profile.model_copy(update={"install": ("demo-rocm", "nixl-cu12")})
    with pytest.raises(AuditError, match="is the CUDA package nixl-cu12"):
        draft.publish()
    external = External(
        package=pin.name, version=pin.version, file=pin.file, sha256=pin.sha256, why="x"
    )
    draft.profile = draft.profile.model_copy(update={"externals": (external,)})
    assert draft.publish().changed


def test_a_full_disk_leaves_the_wheelhouse_as_it_was(
    draft: Draft, make_wheel: Callable[..., Path], publish: Callable[..., str], small_disk: Path
) -> None:
    draft.folder = small_disk / "wheels/cpu"
    draft.publish()
    before = draft.content()
    big = make_wheel("helper", "3.0", {"helper.bin": os.urandom(400_000)})
    draft.third_party = [pinned_wheel(big.name, publish(big))]
    with pytest.raises(
        StorageError,
        match=r"Writing the wheelhouse: No space left on device.*The wheelhouse is as it was",
    ):
        draft.publish()
    assert draft.content() == before
    verify(draft.folder)


def test_a_wheelhouse_that_was_moved_aside_is_put_back(draft: Draft) -> None:
    draft.publish()
    before = draft.content()
    aside = draft.folder.with_name(".cpu.old")
    draft.folder.rename(aside)
    recover(draft.folder)
    assert draft.content() == before
    assert not aside.exists()
    aside.mkdir()
    recover(draft.folder)
    assert draft.content() == before
    assert not aside.exists()


def test_verify_tells_what_is_wrong(draft: Draft) -> None:
    with pytest.raises(
        ClosureError,
        match=r"is no wheelhouse: it has no SHA256SUMS\. `nox -s build-wheels` makes one",
    ):
        verify(draft.folder)
    draft.publish()
    content = (draft.folder / HELPER).read_bytes()
    (draft.folder / HELPER).unlink()
    (draft.folder / "simple/stranger.whl").touch()
    with pytest.raises(
        ClosureError,
        match=rf"cpu is not as SHA256SUMS says: {HELPER} is missing; simple/stranger\.whl does not "
        rf"belong there",
    ):
        verify(draft.folder)
    (draft.folder / "simple/stranger.whl").unlink()
    (draft.folder / HELPER).write_bytes(content[:-1] + b"\xff")
    with pytest.raises(
        HashMismatchError, match=rf"{HELPER} in the wheelhouse cpu was changed or damaged"
    ):
        verify(draft.folder)


def test_every_file_that_was_changed_is_named(draft: Draft) -> None:
    draft.publish()
    for name in (HELPER, "manifest.json"):
        path = draft.folder / name
        status, content = path.stat(), path.read_bytes()
        path.unlink()
        path.write_bytes(content[:-1] + b"\xff")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(
        HashMismatchError,
        match=rf"{HELPER}, manifest\.json in the wheelhouse cpu were changed or damaged",
    ):
        verify(draft.folder)
    for number in range(100):
        (draft.folder / f"{number:03}\nname").touch()
    with pytest.raises(
        ClosureError,
        match=r"says: 000\\nname does not belong there; .* and 80 more\. Copy it again",
    ):
        verify(draft.folder)


def test_a_wheel_that_was_changed_under_its_size_and_time_is_found(draft: Draft) -> None:
    draft.publish()
    before = draft.content()
    wheel = draft.folder / HELPER
    status, content = wheel.stat(), wheel.read_bytes()
    wheel.unlink()  # the cache has it by a hard link
    wheel.write_bytes(content[:-1] + b"\xff")
    os.utime(wheel, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert draft.publish().changed
    assert draft.content() == before


def test_a_wheel_that_changed_since_it_was_built_is_not_published(
    draft: Draft, make_wheel: Callable[..., Path]
) -> None:
    draft.publish()
    before = draft.content()
    (draft.folder / "SHA256SUMS").unlink()
    make_wheel(
        "demo-rocm",
        "1.0+rocm.1",
        {"demo.py": b"import another\n"},
        metadata=("Requires-Dist: helper>=2",),
    )
    with pytest.raises(
        HashMismatchError,
        match=rf"{OURS.replace('+', '.')} is no longer what it was when it was built",
    ):
        draft.publish()
    assert draft.content() == {
        name: content for name, content in before.items() if name != "SHA256SUMS"
    }


def into_link(path: Path) -> None:
    path.symlink_to(path.with_name("SHA256SUMS"))


def into_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.open(path.parent, os.O_RDONLY)  # the names of sockets are short
        listener.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "is a FIFO"),
        (into_link, "is a link"),
        (into_socket, "is a socket"),
        (os.mkdir, ""),
    ],
)
@pytest.mark.parametrize("place", [HELPER, "stranger", "simple/stranger"])
def test_what_is_no_file_is_seen_and_holds_nobody(
    draft: Draft, make: Callable[[Path], None], kind: str, place: str
) -> None:
    draft.publish()
    before = draft.content()
    path = draft.folder / place
    path.unlink(missing_ok=True)
    make(path)
    expected = kind or (
        "is a folder" if place == HELPER else f"the folder {place} does not belong there"
    )
    with pytest.raises(ClosureError, match=expected):
        verify(draft.folder)
    assert draft.publish().changed
    assert draft.content() == before
    verify(draft.folder)


def test_a_file_that_is_listed_twice_is_refused(draft: Draft) -> None:
    draft.publish()
    with (draft.folder / "SHA256SUMS").open("a", encoding="utf-8") as stream:
        stream.write(f"{'0' * 64}  {HELPER}\n")
    with pytest.raises(ClosureError, match="lists a file twice"):
        verify(draft.folder)


def test_at_every_moment_there_is_a_wheelhouse(
    draft: Draft, make_wheel: Callable[..., Path], tmp_path: Path
) -> None:
    """The process is killed as soon as anything was renamed."""
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    if not exchange(one, other):
        pytest.skip("this kernel or file system exchanges nothing")
    draft.publish()
    draft.built = [
        built_wheel(make_wheel("demo-rocm", "1.0+rocm.2", metadata=("Requires-Dist: helper>=2",)))
    ]
    draft.profile = draft.profile.model_copy(update={"install": ("demo-rocm", "helper")})
    child = os.fork()
    if child == 0:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "forkhouse.wheelhouse.publish.sync_folder",
                lambda folder: os.kill(os.getpid(), 9) if folder == draft.folder.parent else None,
            )
            draft.publish()
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    verify(draft.folder)
    assert "demo_rocm-1.0+rocm.2-py3-none-any.whl" in draft.content()
    assert draft.folder.with_name(".cpu.new").is_dir()
    draft.publish()
    assert [path.name for path in draft.folder.parent.iterdir()] == ["cpu"]


def test_where_nothing_can_be_exchanged_two_renames_do(
    draft: Draft, monkeypatch: pytest.MonkeyPatch, make_wheel: Callable[..., Path]
) -> None:
    monkeypatch.setattr("forkhouse.wheelhouse.exchange", lambda *_: False)
    draft.publish()
    draft.built = [
        built_wheel(make_wheel("demo-rocm", "1.0+rocm.2", metadata=("Requires-Dist: helper>=2",)))
    ]
    assert draft.publish().changed
    verify(draft.folder)
    assert [path.name for path in draft.folder.parent.iterdir()] == ["cpu"]
    draft.folder.rename(draft.folder.with_name(".cpu.old"))
    with pytest.raises(
        ClosureError,
        match=r"A run was cut off while it put a new one in its place; the old one is in "
        r"\.cpu\.old",
    ):
        verify(draft.folder)


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        (
            b"Version: 3.0",
            b"Version: 9.0",
            "is helper 3.0 by its file name, and helper 9.0 by its METADATA",
        ),
        (
            b"Name: helper",
            b"Name: another",
            "is helper 3.0 by its file name, and another 3.0 by its METADATA",
        ),
        (
            b"\n\nAbout",
            b"\nRequires-Dist: x @ https://files.example/x.whl\n\nAbout",
            "requires x by its address, https://files.example/x.whl",
        ),
        (b"Wheel-Version: 1.0", b"Wheel-Version: 9.0", "has the Wheel-Version 9.0"),
        (b"", b"../../x", "../../x leads out of its folder by '..'"),
    ],
)
def test_a_wheel_that_pip_would_refuse_is_refused_before_anything_is_written(
    draft: Draft, publish: Callable[..., str], tmp_path: Path, old: bytes, new: bytes, finding: str
) -> None:
    path = tmp_path / "made" / HELPER
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content.replace(old, new) if old else content)
        if not old:
            archive.writestr(new.decode(), b"x")
    draft.third_party = [pinned_wheel(HELPER, publish(path))]
    with pytest.raises(AuditError) as caught:
        draft.publish()
    assert finding in str(caught.value)
    assert not draft.folder.exists()
