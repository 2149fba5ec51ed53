"""Write docs/users/settings.md, the page of all settings: `python docs/make_settings.py`, in the repository's root.

The meanings are the docstrings in pipeline/config/; the defaults are those that Hydra composes from configs/.
"""

import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import hydra
import yaml
from omegaconf import OmegaConf
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from pipeline.config.params import Params

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "users" / "settings.md"
PLAIN = {bool: "true or false", int: "integer", float: "number", str: "text", Path: "path", type(None): "null"}
BOUNDS = {
    annotated_types.Ge: (">=", "ge"),
    annotated_types.Gt: (">", "gt"),
    annotated_types.Le: ("<=", "le"),
    annotated_types.Lt: ("<", "lt"),
}
PAGE_NAME, LINK = re.compile(r"docs/users/(\w+\.md)"), r"[\1](\1)"
HEAD = """# Settings

<!-- Made by docs/make_settings.py from pipeline/config/ and configs/: do not edit this page. -->

`params.yaml` holds all settings of the training pipeline. Hydra composes it from the files in
`configs/`. `-S` chooses a file or sets a value:

```
dvc exp run -S labeller=lstm -S training.epochs=40
```

[Training on your own videos](train.md) explains the steps around it, and shows common choices. An
unknown name, a wrong type or an impossible value ends the command with a message that names the
setting.

The column "default" has the values that hold where you choose nothing: those for the embedded data
set. The files in `configs/` set other values for other data sets.
"""


def render() -> str:
    """Return the text of the whole page."""
    with hydra.initialize_config_dir(str(ROOT / "configs"), version_base=None):
        values = OmegaConf.to_container(hydra.compose("config"))
    assert isinstance(values, dict)
    text = "These settings belong to no section."
    return HEAD + "".join(_section("", Params, values, text))


def _section(name: str, section: type[BaseModel], values: dict[Any, Any], text: str) -> Iterator[str]:
    """Yield the heading of a section, its table and then the sections within it."""
    fields = section.model_fields.items()
    parts = {key: kind for key, field in fields if (kind := _model(field)) is not None}
    title = f"`{name}`" if name else "At the top"
    yield f"\n## {title}\n\n{_wrapped(PAGE_NAME.sub(LINK, text))}\n"
    if rows := [(key, field) for key, field in fields if key not in parts]:
        yield "\n| name | values | default | meaning |\n| --- | --- | --- | --- |\n"
        for key, field in rows:
            yield f"| `{_join(name, key)}` | {_values(field)} | `{_shown(values[key])}` | {_meaning(field)} |\n"
    for key, kind in parts.items():
        about = section.model_fields[key].description if name else kind.__doc__
        yield from _section(_join(name, key), kind, values[key], about or "")


def _wrapped(text: str, width: int = 100) -> str:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return "\n".join(lines)


def _join(name: str, key: str) -> str:
    return f"{name}.{key}" if name else key


def _model(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _meaning(field: FieldInfo) -> str:
    return " ".join((field.description or "").split()).replace("|", "\\|")


def _shown(value: object) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()


def _values(field: FieldInfo) -> str:
    return _describe(field.annotation) + _bounds(field.metadata)


def _describe(kind: Any) -> str:
    """Describe the values that a type allows, in words."""
    if kind in PLAIN:
        return PLAIN[kind]
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        inner, *metadata = arguments
        bounds = [part for item in metadata for part in (item.metadata if isinstance(item, FieldInfo) else [item])]
        return _describe(inner) + _bounds(bounds)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, types.UnionType):
        return ", or ".join(_describe(argument) for argument in arguments)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return f"list ({_describe(arguments[0])} each)"
        described = [_describe(argument) for argument in arguments]
        assert len(set(described)) == 1, f"no words for {kind}"
        return f"list of {len(described)} ({described[0]} each)"
    raise TypeError(f"no words for {kind}")


def _bounds(metadata: list[Any]) -> str:
    found = [
        f"{BOUNDS[type(item)][0]} {getattr(item, BOUNDS[type(item)][1])}" for item in metadata if type(item) in BOUNDS
    ]
    return f" {' and '.join(found)}" if found else ""


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(render(), encoding="utf-8")
