"""Which outputs of an ONNX model --layer names.

    last_hidden_state         an output: a vector, or a feature map
    last_hidden_state.mean    of a sequence of tokens: cls, mean or patches (see `extract.backbones.families`)
    cls, mean, patches, pooled  short for these, in models whose family is known

A recipe has the long names, so that the same model gives the same recipe from a folder and from its file.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from extract.backbones.families import CUTS, POOLED, TOKENS, TokenOutputs
from extract.backbones.onnx_file import Port
from extract.backbones.table import nearest
from extract.backbones.tokens import TokenGrid, find_grid
from store.errors import UsageError


@dataclass(frozen=True)
class Cut:
    """An output of a model, by its name in the file, and what is taken of it; empty for all."""

    output: str
    part: str = ""

    @property
    def layer(self) -> str:
        """As recipes name it."""
        return f"{self.output}.{self.part}" if self.part else self.output

    def require_possible(self, shape: Sequence[int]) -> None:
        """Raise UsageError unless this can be taken of an output of that shape, its batch included."""
        if self.part and len(shape) != 3:
            raise UsageError(
                f"the output {self.output} has the shape {tuple(shape)}: {self.part} is for sequences of tokens"
            )
        if not self.part and len(shape) not in (2, 4):
            parts = " or ".join(f"--layer {self.output}.{part}" for part in CUTS)
            raise UsageError(
                f"the output {self.output} has the shape {tuple(shape)}: expected a vector or a feature map; of a sequence of "
                f"tokens say {parts}"
            )

    def require_grid(self, tokens: int, prefix: int, image_size: tuple[int, int]) -> TokenGrid:
        """The grid of the patches; see `extract.backbones.tokens.find_grid`.

        Raises:
            UsageError: the tokens are not one.
        """
        grid = find_grid(tokens, prefix, image_size)
        if grid is None:
            raise UsageError(
                f"the output {self.output} has {tokens} tokens, {prefix} of them before the patches: the rest is not a grid over "
                f"{image_size[0]}x{image_size[1]} pixels; correct prefix_tokens in the file that --preprocessing names"
            )
        return grid


def parse_cut(layer: str, outputs: Sequence[str]) -> Cut | None:
    """The cut that a recipe's layer names among these outputs, whose names may have dots; None if there is no such one."""
    if layer in outputs:
        return Cut(layer)
    output, dot, part = layer.rpartition(".")
    return Cut(output, part) if dot and output in outputs and part in CUTS else None


def resolve_layers(
    asked: Sequence[str], ports: Sequence[Port], family: TokenOutputs | None, model: str
) -> tuple[str, ...]:
    """The layers that --layer names, as recipes name them; the family's default, or the only output, if it names none.

    Args:
        asked: what --layer says.
        ports: the model's outputs.
        family: what is known of them; None for a model of a family that is not known.
        model: its name, for messages.

    Raises:
        UsageError: there is no such output; or none is named, and there are several.
    """
    names = [port.name for port in ports]
    if asked:
        return tuple(_resolved(layer, ports, family, model) for layer in asked)
    if family is not None:
        default = _alias(family.family.default, names, family)
        if default is not None:
            return (default.layer,)
    if len(ports) == 1 and not _is_sequence(ports[0]):
        return (names[0],)
    sequence = next((port.name for port in ports if _is_sequence(port)), None)
    parts = ", ".join(f"{sequence}.{part}" for part in CUTS)
    raise UsageError(
        f"{model} has the outputs {_listed(ports)}: say with --layer which one"
        + (f", and of a sequence of tokens which part ({parts})" if sequence else "")
    )


def _resolved(layer: str, ports: Sequence[Port], family: TokenOutputs | None, model: str) -> str:
    names = [port.name for port in ports]
    cut = parse_cut(layer, names) or (_alias(layer, names, family) if family is not None else None)
    if cut is None:
        short = family.short if family is not None else ()
        raise UsageError(
            f"{model} has no output {layer!r}{nearest(layer, [*names, *short])}; it has {_listed(ports)}"
            + (f"; and of its family, in short, {', '.join(short)}" if short else "")
        )
    port = next(port for port in ports if port.name == cut.output)
    if cut.part == "cls" and family is not None and family.prefix_tokens == 0:
        raise UsageError(f"{model} has no class token: take mean, patches or pooled")
    if not cut.part and _is_sequence(port):
        raise UsageError(
            f"{model}: the output {port.shown} is a sequence of tokens: say which part with "
            f"{' or '.join(f'--layer {cut.output}.{part}' for part in CUTS)}"
        )
    return cut.layer


def _alias(layer: str, names: Sequence[str], family: TokenOutputs) -> Cut | None:
    """What a short name stands for; None if the model has no such output."""
    if layer == POOLED:
        return next((Cut(name) for name in family.family.pooled if name in names), None)
    if layer in CUTS and family.family.tokens and TOKENS in names:  # `cls` too, for its own message
        return Cut(TOKENS, layer)
    return None


def _is_sequence(port: Port) -> bool:
    return port.shape is not None and len(port.shape) == 3


def _listed(ports: Sequence[Port]) -> str:
    return ", ".join(port.shown for port in ports)


def needed_prefix(layers: Sequence[str], ports: Sequence[Port], known: int | None, model: str) -> int:
    """The number of tokens before those of the patches that a recipe has: 0 where no layer depends on it.

    Args:
        layers: as recipes name them.
        ports: the model's outputs.
        known: what is known of it, if it is.
        model: the model's name, for messages.

    Raises:
        UsageError: a layer depends on it, and it is not known.
    """
    cuts = [parse_cut(layer, [port.name for port in ports]) for layer in layers]
    if not any(cut is not None and cut.part in ("mean", "patches") for cut in cuts):
        return 0
    if known is None:
        raise UsageError(
            f"{model} does not say how many of its tokens come before those of the patches (a class token, registers): "
            "write their number, as in prefix_tokens = 1, into the file that --preprocessing names"
        )
    return known
