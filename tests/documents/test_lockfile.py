from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forkhouse.core.errors import DocumentError
from forkhouse.documents.lockfile import (
    ArchiveSource,
    Component,
    DebianSource,
    External,
    GitSource,
    Lock,
    PinnedFile,
    Profile,
    SdistSource,
    Upstream,
    WheelSource,
    describe,
)
from forkhouse.documents.reading import dump, parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
SHA256 = "ab" * 32

TEXT = f"""\
format: 1
python: '>=3.11,<3.12'
rocm: '>=5.2.3,<8'
gpu-targets: [gfx90a]
upstreams:
  demo:
    version: 1.10
    licence: MIT
    why: An example.
    sources:
      - kind: git
        url: https://host.invalid/owner/demo
        tag: v1.10
        commit: {COMMIT}
      - kind: wheel
        package: demo
        file: demo-1.10-py3-none-any.whl
        sha256: {SHA256}
        paths:
          src/: ''
profiles:
  cpu:
    recipes: [demo]
    install: ['demo[all]>=1']
"""


def test_reads_a_lock() -> None:
    lock = parse(Lock, TEXT, name="upstream.lock")
    demo = lock.upstreams["demo"]
    assert demo.version == "1.10"
    assert [source.kind for source in demo.sources] == ["git", "wheel"]
    assert demo.sources[1].paths == {"src/": ""}
    assert lock.profiles["cpu"].install == ("demo[all]>=1",)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "    licence: MIT\n",
            "    licence: MIT\n    colour: red\n",
            "upstream.lock:9: upstreams.demo.colour: Extra inputs are not permitted",
        ),
        ("    licence: MIT\n", "", "upstream.lock:6: upstreams.demo.licence: Field required"),
        (
            COMMIT,
            COMMIT[:12],
            (
                "upstream.lock:14: upstreams.demo.sources[0].commit: expected a full git object id "
                f"of 40 lower-case hex digits (got '{COMMIT[:12]}')"
            ),
        ),
        (
            SHA256,
            SHA256.upper(),
            (
                "upstream.lock:18: upstreams.demo.sources[1].sha256: expected a sha256 of 64 "
                "lower-case hex digits"
            ),
        ),
        (
            "url: https:",
            "url: http:",
            (
                "upstream.lock:12: upstreams.demo.sources[0].url: expected an https:// or file:// "
                "address"
            ),
        ),
        (
            "url: https:",
            "url: ext:sh -c",
            (
                "upstream.lock:12: upstreams.demo.sources[0].url: expected an https:// or file:// "
                "address"
            ),
        ),
        (
            "version: 1.10\n",
            "version: one\n",
            "upstream.lock:7: upstreams.demo.version: Invalid version: 'one'",
        ),
        ("'>=5.2.3,<8'", "5.2.3", "upstream.lock:3: rocm: Invalid specifier"),
        ("kind: git\n", "kind: svn\n", "upstream.lock:11: upstreams.demo.sources[0]: "),
        (
            "file: demo-",
            "file: ../demo-",
            (
                "upstream.lock:17: upstreams.demo.sources[1].file: expected a file name without a "
                "folder"
            ),
        ),
        ("file: demo-1.10-py3-none-any", "file: other-1.10-py3-none-any", "is not a wheel of demo"),
        (
            "file: demo-1.10-py3-none-any",
            "file: demo-py3",
            "upstream.lock:15: upstreams.demo.sources[1]: Invalid wheel filename",
        ),
        (
            "kind: wheel\n        package: demo\n        file: demo-1.10-py3-none-any.whl",
            "kind: sdist\n        package: demo\n        file: other-1.10.tar.gz",
            (
                "upstream.lock:15: upstreams.demo.sources[1]: file 'other-1.10.tar.gz' is not an "
                "sdist of demo"
            ),
        ),
        (
            "  demo:\n",
            "  Demo App:\n",
            "upstream.lock:6: upstreams.Demo App: expected lower-case words joined by '-'",
        ),
        ("['demo[all]>=1']", "['demo[']", "upstream.lock:24: profiles.cpu.install[0]: "),
        ("format: 1\n", "format: 2\n", "upstream.lock:1: format: Input should be 1"),
        (
            "profiles:\n",
            "  demo:\n    version: '1'\nprofiles:\n",
            "upstream.lock:21: key 'demo' is given twice",
        ),
        (
            "    licence: MIT\n",
            "    licence: MIT\n    licence: BSD\n",
            "upstream.lock:9: key 'licence' is given twice",
        ),
    ],
)
def test_a_bad_lock_is_refused_with_line_and_key_path(old: str, new: str, message: str) -> None:
    assert old in TEXT
    with pytest.raises(DocumentError, match=re.escape(message)):
        parse(Lock, TEXT.replace(old, new, 1), name="upstream.lock")


def test_an_external_pinned_twice_is_refused() -> None:
    external = (
        f"{{package: torch, version: '2', file: torch-2-py3-none-any.whl, sha256: {SHA256}, why: "
        "x}"
    )
    text = f"{TEXT}    externals: [{external}, {external}]\n"
    with pytest.raises(DocumentError, match="profile cpu pins an external package twice"):
        parse(Lock, text, name="upstream.lock")


def test_an_external_whose_file_is_another_is_refused() -> None:
    external = (
        f"{{package: torch, version: '2', file: torch-3-py3-none-any.whl, sha256: {SHA256}, why: "
        "x}"
    )
    with pytest.raises(
        DocumentError,
        match=r"profiles\.cpu\.externals\[0\]: file 'torch-3-py3-none-any\.whl' is not torch 2",
    ):
        parse(Lock, f"{TEXT}    externals: [{external}]\n", name="upstream.lock")


COMPONENTS = f"""\
components:
  parts:
    version: '2.0'
    licence: MIT
    why: An example.
    sources:
      - {{kind: archive, url: 'https://host.invalid/parts.zip', file: parts.zip, sha256: {SHA256}}}
    path: subprojects/parts-2.0
"""


def with_components(text: str = COMPONENTS, names: str = "[parts]") -> str:
    return TEXT.replace("  demo:\n", f"  demo:\n    components: {names}\n", 1).replace(
        "profiles:\n", f"{text}profiles:\n", 1
    )


def test_reads_components() -> None:
    lock = parse(Lock, with_components(), name="upstream.lock")
    assert lock.upstreams["demo"].components == ("parts",)
    assert lock.components["parts"].path == "subprojects/parts-2.0"
    assert lock.components["parts"].sources[0].kind == "archive"


@pytest.mark.parametrize(
    ("text", "names", "message"),
    [
        (COMPONENTS, "[parts, others]", "upstream demo names unknown components: others"),
        (COMPONENTS.replace("  parts:", "  demo:"), "[]", "upstreams and components at once: demo"),
        *(
            (
                COMPONENTS.replace("path: subprojects/parts-2.0", f"path: '{path}'"),
                "[parts]",
                "components.parts.path: expected a relative path",
            )
            for path in ("/absolute", "../outside", "a/../../b", "", "a/", ".git/hooks")
        ),
        (
            COMPONENTS.replace("https:", "http:"),
            "[parts]",
            "components.parts.sources[0].url: expected an https:// or file:// address",
        ),
        (
            COMPONENTS.replace("parts.zip, sha", "a/parts.zip, sha"),
            "[parts]",
            "sources[0].file: expected a file name without a folder",
        ),
    ],
)
def test_bad_components_are_refused(text: str, names: str, message: str) -> None:
    with pytest.raises(DocumentError, match=re.escape(message)):
        parse(Lock, with_components(text, names), name="upstream.lock")


def test_each_kind_of_source_describes_itself() -> None:
    lock = parse(Lock, TEXT, name="upstream.lock")
    git, wheel = lock.upstreams["demo"].sources
    assert describe(git) == f"git https://host.invalid/owner/demo v1.10 {COMMIT}"
    assert describe(wheel) == "wheel demo-1.10-py3-none-any.whl"
    assert "no commit known" in describe(GitSource(kind="git", url="https://host.invalid/demo"))
    debian = DebianSource(
        kind="debian-source",
        package="demo",
        debian_version="1.10-1",
        files=(PinnedFile(file="demo.dsc", sha256=SHA256),),
    )
    assert describe(debian) == "debian-source demo 1.10-1"
    archive = ArchiveSource(
        kind="archive", url="https://host.invalid/demo.zip", file="demo.zip", sha256=SHA256
    )
    assert describe(archive) == "archive demo.zip"


_hex = st.text("0123456789abcdef", min_size=64, max_size=64)
_objects = st.none() | _hex.map(lambda text: text[:40])
_names = st.from_regex(r"[a-z0-9]+(-[a-z0-9]+)*", fullmatch=True)
_versions = st.from_regex(
    r"[1-9]?[0-9](\.[1-9]?[0-9]){0,3}(rc[1-9])?(\+[a-z]{1,4}(\.[1-9])?)?", fullmatch=True
)
# PyYAML reads some of the rarer line breaks back as other ones.
_texts = st.text(st.characters(codec="utf-8", exclude_characters="\x85\u2028\u2029\ufeff"))
_common = {
    "version": st.none() | _versions,
    "paths": st.dictionaries(_texts, _texts, max_size=2),
    "tree": _objects,
    "patched_tree": _objects,
    "why": st.none() | _texts,
}
_git = st.builds(
    GitSource,
    kind=st.just("git"),
    url=st.just("https://host.invalid/a/b"),
    tag=st.none() | _texts,
    commit=_objects,
    **_common,
)


@st.composite
def _registry_sources(draw: st.DrawFn) -> SdistSource | WheelSource:
    package, version, sha256 = draw(_names), draw(_versions), draw(_hex)
    stem = f"{package.replace('-', '_')}-{version}"
    if draw(st.booleans()):
        return WheelSource(
            kind="wheel", package=package, file=f"{stem}-py3-none-any.whl", sha256=sha256
        )
    return SdistSource(kind="sdist", package=package, file=f"{stem}.tar.gz", sha256=sha256)


@st.composite
def _externals(draw: st.DrawFn) -> External:
    package, version = draw(_names), draw(_versions)
    file = f"{package.replace('-', '_')}-{version}-py3-none-any.whl"
    return External(
        package=package, version=version, file=file, sha256=draw(_hex), why=draw(_texts)
    )


_debian = st.builds(
    DebianSource,
    kind=st.just("debian-source"),
    package=_names,
    debian_version=_texts,
    files=st.lists(st.builds(PinnedFile, file=_names, sha256=_hex), min_size=1, max_size=2).map(
        tuple
    ),
    **_common,
)
_archives = st.builds(
    ArchiveSource,
    kind=st.just("archive"),
    url=st.just("https://host.invalid/a.zip"),
    file=_names,
    sha256=_hex,
    **_common,
)
_upstreams = st.builds(
    Upstream,
    version=_versions,
    licence=_texts,
    why=_texts,
    sources=st.lists(_git | _registry_sources() | _debian, min_size=1, max_size=3).map(tuple),
)
_components = st.builds(
    Component,
    version=_versions,
    licence=_texts,
    why=_texts,
    path=st.just("subprojects/a"),
    sources=st.lists(_archives | _git, min_size=1, max_size=2).map(tuple),
)
_profiles = st.builds(
    Profile,
    recipes=st.lists(_names, min_size=1, max_size=3).map(tuple),
    install=st.lists(_names, min_size=1, max_size=3).map(tuple),
    externals=st.lists(_externals(), max_size=2, unique_by=lambda external: external.package).map(
        tuple
    ),
)
_locks = st.builds(
    Lock,
    format=st.just(1),
    python=st.just(">=3.11"),
    rocm=st.just("<8"),
    gpu_targets=st.lists(_texts, max_size=2).map(tuple),
    upstreams=st.dictionaries(_names, _upstreams, max_size=2),
    components=st.dictionaries(_names.map(lambda name: f"part-{name}"), _components, max_size=2),
    profiles=st.dictionaries(_names, _profiles, max_size=2),
)


@settings(deadline=None)  # machines that test are busy
@given(_locks)
def test_a_lock_that_is_written_is_read_back(lock: Lock) -> None:
    text = dump(lock)
    assert parse(Lock, text, name="upstream.lock") == lock
    assert dump(parse(Lock, text, name="upstream.lock")) == text
