"""The publisher's config file beside the weights rules over what a spec has from memory, by the spec's own Rules.

A spec says which entries settle which of its facts. Where the file is at hand, what it says takes the place of what the
literal has, in pixels, features and fingerprints; where it contradicts what is not open, nothing is loaded. Without the
file, the literal stands as it is.
"""

import functools
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from retrieval.encoders import weights
from retrieval.encoders.specs import EncoderSpec, Pixels, Rule
from retrieval.errors import BadInput
from retrieval.roots import Roots

Facts = tuple[tuple[str, Any], ...]

_LARGEST = 4 << 20  # bytes: config files have a few thousand
# As the publishers' files number PIL's filters, or name them.
_KERNELS = {2: "pil_bilinear", 3: "pil_bicubic", "bilinear": "pil_bilinear", "bicubic": "pil_bicubic"}
_FITS = {"shortest": "shortest", "squash": "squash"}


def at_hand(spec: EncoderSpec, roots: Roots) -> EncoderSpec:
    """The spec as the config file beside its weights rules; the spec itself where there is no such file.

    BadInput where the file is damaged, or contradicts what is not open.
    """
    file = locate(spec, roots)
    return spec if file is None else settled(spec, _content(file))


def locate(spec: EncoderSpec, roots: Roots) -> Path | None:
    """The config file beside the weights; None where there is none, or the spec has no rules for one."""
    if not spec.rules or spec.weights is None or not spec.weights.config:
        return None
    found = weights.locate(spec, roots)
    file = found.parent / spec.weights.config if found else None
    return file if file is not None and file.is_file() else None


def settled(spec: EncoderSpec, config: Mapping[str, Any]) -> EncoderSpec:
    """The spec as a config file of this content rules; BadInput where it contradicts the spec or makes no sense."""
    facts: dict[str, Any] = {}
    for rule in spec.rules:
        said = _entry(config, rule)
        if said is None:
            continue
        name = rule.target or rule.key
        means = _facts(spec, rule, said) if rule.target else {name: said}
        if rule.must and name in means and means[name] not in rule.must:
            raise _contradicted(spec, rule, said)
        facts |= means if rule.target or rule.settles else {}
    return applied(spec, tuple(facts.items()))


def applied(spec: EncoderSpec, facts: Facts) -> EncoderSpec:
    """The spec with settled facts in their places; the sentences that they settle are no longer unverified."""
    if not facts:
        return spec
    said = dict(facts)
    changes = _of("pixels.", said)
    arguments: Mapping[str, Any] = spec.arguments
    for name, value in _of("arguments.", said).items():
        arguments = _with(arguments, name.split("."), value)
    return replace(
        spec,
        pixels=_changed(spec.pixels, spec.pixels, changes),
        slices=_changed(spec.slices, spec.pixels, changes),
        arguments=arguments,
        unverified=tuple(sentence for sentence in spec.unverified if not _is_settled(sentence, spec.rules, said)),
        settled=facts,
    )


def as_record(spec: EncoderSpec) -> dict[str, Any]:
    """What was settled by which file, for the provenance of what is made with the spec."""
    return {"file": spec.weights.config if spec.weights else "", "facts": dict(spec.settled)}


def from_record(record: Any) -> Facts:
    """The facts of such a record as it is read back; none where it is none."""
    facts = record.get("facts") if isinstance(record, Mapping) else None
    return tuple((target, _as_kept(value)) for target, value in facts.items()) if isinstance(facts, Mapping) else ()


def _as_kept(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _content(path: Path) -> Mapping[str, Any]:
    stat = path.stat()
    return _read(path, stat.st_size, stat.st_mtime_ns)


@functools.lru_cache(maxsize=256)
def _read(path: Path, size: int, mtime_ns: int) -> Mapping[str, Any]:
    """The object in a JSON file, remembered while its size and time stay the same."""
    try:
        if size > _LARGEST:
            raise ValueError(f"it has {size} bytes")
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("it holds no names")
        return content
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(
            f"The config file {path.name} in {path.parent} cannot be read ({type(error).__name__}: {error}).",
            remedy="It may be truncated: fetch it again; or delete it, and what it settles stays unverified.",
        ) from error


def _entry(config: Mapping[str, Any], rule: Rule) -> Any:
    """What the file says under a dotted key; what its absence says, where what would hold it is there."""
    *outer, last = rule.key.split(".")
    holder = _present(config, outer)
    found = holder.get(last) if isinstance(holder, Mapping) else None
    return rule.absent if found is None and isinstance(holder, Mapping) else found


def _facts(spec: EncoderSpec, rule: Rule, said: Any) -> dict[str, Any]:
    """What an entry says about its target, and about what goes with it, by target; BadInput where it makes no sense."""
    room, _, name = rule.target.partition(".")
    try:
        if room == "pixels":
            return {f"pixels.{field}": value for field, value in PIXELS[name](said).items()}
        return {rule.target: _argument(said, _present(spec.arguments, name.split(".")))}
    except (KeyError, TypeError, ValueError) as error:
        raise _senseless(spec, rule, said) from error


def _size(said: Any) -> dict[str, Any]:
    """transformers: the shortest edge, or height and width to squash to; timm and open_clip: a number, or two."""
    if isinstance(said, Mapping) and "shortest_edge" in said:
        return {"size": _side(said["shortest_edge"]), "fit": "shortest"}
    squashed = {"fit": "squash"} if isinstance(said, Mapping) else {}
    return {"size": _side(said), **squashed}


def _crop(said: Any) -> dict[str, Any]:
    """A side, or whether there is a crop: `do_center_crop`; that there is one says nothing about its side."""
    if isinstance(said, bool):
        return {} if said else {"crop": None}
    return {"crop": _side(said)}


def _side(said: Any) -> int:
    """The side of a square, given as a number, as two equal ones, or as height and width."""
    sides = [said["height"], said["width"]] if isinstance(said, Mapping) else said
    sides = list(sides) if isinstance(sides, list | tuple) else [sides]
    if any(type(side) is not int or not 1 <= side <= 4096 for side in sides) or len(set(sides)) != 1:
        raise ValueError(f"{said!r} is the side of no square")
    return sides[0]


def _three(said: Any, *, above: float = -math.inf) -> tuple[float, ...]:
    values = tuple(float(value) for value in said if type(value) in (int, float))
    if len(values) != 3 or len(said) != 3 or not all(math.isfinite(value) and value > above for value in values):
        raise ValueError(f"{said!r} is not one number for each channel")
    return values


# What a Rule may target of the pixels, and how an entry is read for it.
PIXELS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "mean": lambda said: {"mean": _three(said)},
    "std": lambda said: {"std": _three(said, above=0.0)},
    "size": _size,
    "crop": _crop,
    "interpolation": lambda said: {"interpolation": _KERNELS[said]},
    "fit": lambda said: {"fit": _FITS[said]},
}


def _argument(said: Any, present: Any) -> Any:
    """A value for an argument; of the kind of the one that it replaces, where there is one."""
    kind = (int, float) if type(present) in (int, float) else type(present) if present is not None else None
    plain = type(said) in (bool, int, float, str) and not (isinstance(said, float) and not math.isfinite(said))
    if not plain or (kind is not None and (not isinstance(said, kind) or isinstance(said, bool) != (kind is bool))):
        raise ValueError(f"{said!r} cannot take the place of {present!r}")
    return said


def _present(arguments: Any, path: list[str]) -> Any:
    for name in path:
        arguments = arguments.get(name) if isinstance(arguments, Mapping) else None
    return arguments


def _with(arguments: Any, path: list[str], value: Any) -> dict[str, Any]:
    """Arguments with the value at a path in its place; nothing that is given is changed."""
    inner = arguments if isinstance(arguments, Mapping) else {}
    first, *rest = path
    return {**inner, first: _with(inner.get(first), rest, value) if rest else value}


def _of(room: str, said: Mapping[str, Any]) -> dict[str, Any]:
    return {target.removeprefix(room): value for target, value in said.items() if target.startswith(room)}


def _changed(pixels: Pixels | None, literal: Pixels | None, changes: Mapping[str, Any]) -> Pixels | None:
    """Pixels with the changes; for slices, only where the literal has the same for them as for pictures."""
    if pixels is None:
        return None
    own = {name: value for name, value in changes.items() if literal is None or _same(pixels, literal, name)}
    return replace(pixels, **own)


def _same(pixels: Pixels, literal: Pixels, name: str) -> bool:
    return getattr(pixels, name) == getattr(literal, name)


def _is_settled(sentence: str, rules: tuple[Rule, ...], said: Mapping[str, Any]) -> bool:
    settling = [rule for rule in rules if rule.settles and rule.settles in sentence]
    return bool(settling) and all((rule.target or rule.key) in said for rule in settling)


def _contradicted(spec: EncoderSpec, rule: Rule, said: Any) -> BadInput:
    return BadInput(
        f"{_file(spec)} says that {rule.key} is {said!r}; the encoder that is written here has "
        f"{' or '.join(map(repr, rule.must))}, so file and encoder do not belong together.",
        remedy="Put the publisher's own weights and config file of this encoder there.",
    )


def _senseless(spec: EncoderSpec, rule: Rule, said: Any) -> BadInput:
    return BadInput(
        f"{_file(spec)} says that {rule.key} is {said!r}, which cannot be.",
        remedy="It may be damaged: fetch it again; or delete it, and what it settles stays unverified.",
    )


def _file(spec: EncoderSpec) -> str:
    return f"The file {spec.weights.config if spec.weights else ''} beside the weights of {spec.title}"
