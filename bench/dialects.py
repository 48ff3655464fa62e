"""The languages of the synthetic upstream, and the patches that are made for them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping

Operation = dict[str, object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """A patch.

    What it is about, what it makes of it, and how an upstream may write the same or something else.
    """

    name: str
    language: str
    """Language of the edit."""
    old: str
    """Whole lines."""
    new: str
    operations: tuple[Operation, ...] | None
    """The edit; BLOCK stands for the block's name, NEW for its new text.

    None makes a unified diff of it.
    """
    reformatted: str = ""
    """The same code in another layout."""
    new_reformatted: str = ""
    """What the edit makes of that, where it is not `new`."""
    reworded: str = ""
    """The same purpose, reached in the upstream's own way."""
    signature: str = ""
    """The same call after its interface changed."""
    new_signature: str | None = None
    """What the edit makes of that, where it goes on to apply."""
    symbol: str = "BLOCK"
    """What `renamed` renames: an identifier of `old`, or the block itself."""
    whole: bool = False
    """The edit puts the whole block anew."""
    by_name: bool = False
    """The edit finds the block by its name, so that a copy of another name does not confuse it."""
    removal: bool = False
    """The edit takes something out and brings nothing.

    Where that is gone for whatever reason, its effect is there.
    """

    def fill(self, name: str, new: str) -> list[Operation]:
        """Return the operations for one block."""
        return [
            _filled(operation, {"BLOCK": name, "NEW": new})  # type: ignore[misc]  # it stays one
            for operation in self.operations or ()
        ]

    def rename(self, text: str, block: str) -> str:
        """Return a block's text with the recipe's symbol renamed."""
        symbol = block if self.symbol == "BLOCK" else self.symbol
        return re.sub(rf"(?<!\w){re.escape(symbol)}(?!\w)", f"{symbol}_anew", text)


def _filled(value: object, words: Mapping[str, str]) -> object:
    if isinstance(value, str):
        for word, text in words.items():
            # Bound now.
            value = re.sub(rf"\b{word}\b", lambda _, text=text: text, value)  # type: ignore[misc]
        return value
    if isinstance(value, dict):
        return {key: _filled(inner, words) for key, inner in value.items()}
    return value


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialect:
    """How a language writes a block: `head`, four lines, the middle, four lines, `tail`.

    NAME and K and N are put in.
    """

    suffix: str
    head: str
    line: str
    tail: str
    recipes: tuple[Recipe, ...]

    def filler(self, name: str, key: str, chance: random.Random) -> str:
        """Return one line of a block that no patch is about."""
        return self._put(self.line, name, key, chance)

    def block(self, name: str, middle: str, chance: random.Random) -> str:
        """Return a block around some lines.

        The block separates the lines from their neighbours, so that no patch context reaches those.
        """
        lines = [self.filler(name, f"s{number}", chance) for number in range(8)]
        return (
            self._put(self.head, name, "", chance)
            + "".join((*lines[:4], middle, *lines[4:]))
            + self._put(self.tail, name, "s7", chance)
        )

    @staticmethod
    def _put(template: str, name: str, key: str, chance: random.Random) -> str:
        return (
            template.replace("NAME", name)
            .replace("K", key)
            .replace("N", str(chance.randrange(10, 10_000)))
        )


def _textual(recipe: Recipe) -> Recipe:
    """Return the same patch as a unified diff."""
    return Recipe(
        name=f"{recipe.name}-as-text",
        language="text",
        old=recipe.old,
        new=recipe.new,
        operations=None,
        reformatted=recipe.reformatted,
        reworded=recipe.reworded,
        signature=recipe.signature,
        symbol=recipe.symbol,
        removal=recipe.removal,
    )


CALL = Recipe(
    name="python-call",
    language="python",
    old='    link = open_link("cuda", size)\n',
    new="    link = open_link(device_name(), size)\n",
    operations=(
        {
            "replace": {"pattern": 'open_link("cuda", $SIZE)'},
            "with": "open_link(device_name(), $SIZE)",
        },
    ),
    reformatted='    link = open_link(\n        "cuda",\n        size,\n    )\n',
    reworded="    link = open_link(pick_device(), size)\n",
    signature='    link = open_link("cuda", size, flags)\n',
    symbol="open_link",
)
INSERTION = Recipe(
    name="python-insertion",
    language="python",
    old='    register("cuda")\n',
    new='    register("cuda")\n    register("hip")\n',
    operations=({"insert": {"after": {"pattern": 'register("cuda")'}, "text": 'register("hip")'}},),
    reformatted='    register(\n        "cuda",\n    )\n',
    new_reformatted='    register(\n        "cuda",\n    )\n    register("hip")\n',
    signature='    register("cuda", flags)\n',
    symbol="register",
)
FUNCTION = Recipe(
    name="python-function",
    language="python",
    old="    found = count_cuda_devices(size)\n",
    new="    found = count_devices(size)\n",
    operations=({"replace": {"function": "BLOCK"}, "with": "NEW"},),
    reworded="    found = count_any_devices(size)\n",
    signature="    found = count_cuda_devices(size, flags)\n",
    whole=True,
    by_name=True,
)
CPP_CALL = Recipe(
    name="cpp-call",
    language="cpp",
    old="    cudaStreamSync(stream);\n",
    new="    hipStreamSync(stream);\n",
    operations=({"replace": {"pattern": "cudaStreamSync($S)"}, "with": "hipStreamSync($S)"},),
    reformatted="    cudaStreamSync(\n        stream);\n",
    reworded="    gpuStreamSync(stream);\n",
    signature="    cudaStreamSync(stream, flags);\n",
    symbol="cudaStreamSync",
)
CPP_ANCHOR = Recipe(
    name="cpp-anchor",
    language="text",
    old="    int kind = kKindCuda;\n",
    new="    int kind = kKindAny;\n",
    operations=({"replace": {"anchor": "int kind = kKindCuda;"}, "with": "int kind = kKindAny;"},),
    reformatted="    int kind =\n        kKindCuda;\n",
    reworded="    int kind = kKindGpu;\n",
    symbol="kKindCuda",
)
CMAKE_ANCHOR = Recipe(
    name="cmake-anchor",
    language="text",
    old="find_package(CUDAToolkit REQUIRED)\n",
    new="find_package(hip REQUIRED)\n",
    operations=(
        {
            "replace": {"anchor": "find_package(CUDAToolkit REQUIRED)"},
            "with": "find_package(hip REQUIRED)",
        },
    ),
    reformatted="find_package(CUDAToolkit\n  REQUIRED)\n",
    reworded="find_package(GPUToolkit REQUIRED)\n",
    symbol="CUDAToolkit",
)
MESON_ANCHOR = Recipe(
    name="meson-anchor",
    language="text",
    old="gpu = dependency('cuda', required : true)\n",
    new="gpu = dependency('hip', required : true)\n",
    operations=(
        {
            "replace": {"anchor": "dependency('cuda', required : true)"},
            "with": "dependency('hip', required : true)",
        },
    ),
    reformatted="gpu = dependency(\n  'cuda', required : true)\n",
    symbol="cuda",
)
TOML_KEY = Recipe(
    name="toml-key",
    language="toml",
    old='backend = "cuda"\n',
    new='backend = "hip"\n',
    operations=({"set": "tool.BLOCK.backend", "value": "hip"},),
    reformatted='backend    =    "cuda"\n',
    new_reformatted='backend    =    "hip"\n',
    symbol="backend",
    by_name=True,
)
SHELL_ANCHOR = Recipe(
    name="shell-anchor",
    language="text",
    old="    export GPU_BACKEND=cuda\n",
    new="    export GPU_BACKEND=hip\n",
    operations=(
        {"replace": {"anchor": "export GPU_BACKEND=cuda"}, "with": "export GPU_BACKEND=hip"},
    ),
    reformatted="    export \\\n        GPU_BACKEND=cuda\n",
    reworded="    export GPU_BACKEND=auto\n",
    symbol="GPU_BACKEND",
)

CPP_FUNCTION = Recipe(
    name="cpp-function",
    language="cpp",
    old="    int found = cudaCountDevices(stream);\n",
    new="    int found = hipCountDevices(stream);\n",
    operations=({"replace": {"function": "BLOCK"}, "with": "NEW"},),
    reworded="    int found = gpuCountDevices(stream);\n",
    whole=True,
    by_name=True,
)
RUST_CALL = Recipe(
    name="rust-call",
    language="rust",
    old="    let found = cuda::count(stream);\n",
    new="    let found = hip::count(stream);\n",
    operations=({"replace": {"call": "cuda::count"}, "with": "hip::count(stream)"},),
    reformatted="    let found = cuda::count(\n        stream,\n    );\n",
    reworded="    let found = gpu::count(stream);\n",
    symbol="cuda",
)
CMAKE_ARGUMENT = Recipe(
    name="cmake-argument",
    language="cmake",
    old="target_link_libraries(runtime PRIVATE CUDA::cudart m)\n",
    new="target_link_libraries(runtime PRIVATE hip::host m)\n",
    operations=(
        {
            "argument": {
                "of": {"call": "target_link_libraries", "argument": "runtime"},
                "replace": "CUDA::cudart",
                "with": "hip::host",
            }
        },
    ),
    reformatted="target_link_libraries(runtime\n  PRIVATE\n    CUDA::cudart\n    m)\n",
    new_reformatted="target_link_libraries(runtime\n  PRIVATE\n    hip::host\n    m)\n",
    reworded="target_link_libraries(runtime PRIVATE gpu::runtime m)\n",
    signature="target_link_libraries(runtime PRIVATE CUDA::cudart m dl)\n",
    new_signature="target_link_libraries(runtime PRIVATE hip::host m dl)\n",
    symbol="CUDA::cudart",
)
MESON_ARGUMENT = Recipe(
    name="meson-argument",
    language="meson",
    old="gpu = dependency('cuda', required : true)\n",
    new="gpu = dependency('hip', required : true)\n",
    operations=(
        {
            "argument": {
                "of": {"call": "dependency", "argument": "'cuda'"},
                "replace": "'cuda'",
                "with": "'hip'",
            }
        },
    ),
    reformatted="gpu = dependency(\n  'cuda',\n  required : true,\n)\n",
    new_reformatted="gpu = dependency(\n  'hip',\n  required : true,\n)\n",
    reworded="gpu = dependency('gpu', required : true)\n",
    signature="gpu = dependency('cuda', required : true, native : true)\n",
    new_signature="gpu = dependency('hip', required : true, native : true)\n",
    symbol="cuda",
)
REQUIREMENT = Recipe(
    name="requirement-removal",
    language="requirements",
    old="nvidia-reader>=13\n",
    new="",
    operations=({"requirement": {"remove": "nvidia-reader"}},),
    reformatted="nvidia-reader   >=   13\n",
    signature="nvidia-reader>=14,<15\n",
    new_signature="",
    symbol="nvidia-reader",
    removal=True,
)
SHELL_ASSIGNMENT = Recipe(
    name="shell-assignment",
    language="bash",
    old="    GPU_TARGET=sm_90\n",
    new="    GPU_TARGET=gfx90a\n",
    operations=({"replace": {"assignment": "GPU_TARGET"}, "with": "GPU_TARGET=gfx90a"},),
    reformatted='    GPU_TARGET="sm_90"\n',
    symbol="GPU_TARGET",
)
YAML_KEY = Recipe(
    name="yaml-key",
    language="yaml",
    old="  device: cuda\n",
    new="  device: hip\n",
    operations=({"set": "BLOCK.device", "value": "hip"},),
    reformatted="  device:   cuda\n",
    new_reformatted="  device:   hip\n",
    symbol="device",
    by_name=True,
)

DIALECTS = (
    Dialect(
        suffix=".py",
        head="def NAME(size, flags):\n",
        line="    NAME_K = prepare(size, N)\n",
        tail="    return NAME_K\n",
        recipes=(CALL, INSERTION, FUNCTION, _textual(CALL), _textual(INSERTION)),
    ),
    Dialect(
        suffix=".cpp",
        head="int NAME(int stream, int flags) {\n",
        line="    int NAME_K = prepare(stream, N);\n",
        tail="    return NAME_K;\n}\n",
        recipes=(CPP_CALL, CPP_ANCHOR, CPP_FUNCTION, _textual(CPP_CALL)),
    ),
    Dialect(
        suffix=".cmake",
        head="# NAME\n",
        line="set(NAME_K N)\n",
        tail="message(STATUS NAME_K)\n",
        recipes=(CMAKE_ANCHOR, CMAKE_ARGUMENT, _textual(CMAKE_ANCHOR)),
    ),
    Dialect(
        suffix=".build",
        head="# NAME\n",
        line="NAME_K = N\n",
        tail="message(NAME_K)\n",
        recipes=(MESON_ANCHOR, MESON_ARGUMENT),
    ),
    Dialect(
        suffix=".toml",
        head="[tool.NAME]\n",
        line="K-N = N\n",
        tail="last = N\n",
        recipes=(TOML_KEY, _textual(TOML_KEY)),
    ),
    Dialect(
        suffix=".sh",
        head="NAME() {\n",
        line='    NAME_K="N"\n',
        tail='    echo "$NAME_K"\n}\n',
        recipes=(SHELL_ANCHOR, SHELL_ASSIGNMENT, _textual(SHELL_ANCHOR)),
    ),
    Dialect(
        suffix=".rs",
        head="fn NAME(stream: i32) -> i32 {\n",
        line="    let NAME_K = prepare(stream, N);\n",
        tail="    NAME_K\n}\n",
        recipes=(RUST_CALL,),
    ),
    Dialect(
        suffix=".txt",
        head="# NAME\n",
        line="NAME-K>=N\n",
        tail="NAME-last>=N\n",
        recipes=(REQUIREMENT, _textual(REQUIREMENT)),
    ),
    Dialect(
        suffix=".yaml", head="NAME:\n", line="  K: N\n", tail="  last: N\n", recipes=(YAML_KEY,)
    ),
)
