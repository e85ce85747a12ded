"""What was run: the recipe, the versions, and commands to copy. Pure."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from fit.choices import REDUCTIONS, REGRESSION
from fit.command_words import load_words, noted_stores, store_words
from fit.experiment_record import Choices
from fit.head_info import Block, HeadInfo
from fit.options import FitOptions
from fit.page.content import Snippet
from store.config_file import write_config
from store.files.names import printable
from store.suggestions import join_words, suggested_line

_WIDE = 88


def recipe_facts(info: HeadInfo) -> dict[str, str]:
    """What the features depend on, by its name in words."""
    facts: dict[str, object] = _block_facts(info.blocks[0])
    if len(info.blocks) > 1:
        facts = {
            f"{name} ({number})": value
            for number, block in enumerate(info.blocks, start=1)
            for name, value in {**_block_facts(block), "scaled by": f"{block.scale:.4g}"}.items()
        }
    facts |= {
        "head": info.head,
        **{f"{info.head}: {name}": value for name, value in info.parameters.items()},
        "class weight": info.class_weight,
        **_decision_facts(info),
        "seed": info.seed,
        "images": info.data or "not noted",
        "store": ", ".join(dict.fromkeys(block.store for block in info.blocks)) or "not noted",
    }
    return {name: printable(str(value)) for name, value in facts.items()}


def _block_facts(block: Block) -> dict[str, object]:
    recipe = block.recipe
    return {
        "backbone": recipe.backbone,
        "weights": f"{block.weights} ({recipe.weights[:12]}…)",
        "layer": block.output.layer,
        "pooling": recipe.pooling,
        "features": f"{' × '.join(map(str, block.output.shape))}, {block.output.dtype}",
        "reduced by": block.reduction if block.output.spatial else "nothing: they are vectors",
        "image size": " × ".join(map(str, recipe.image_size)),
        "resize": recipe.resize,
        "crop": recipe.crop,
        "background": recipe.background,
        "precision": recipe.precision,
        "fingerprint": recipe.fingerprint,
    }


def _decision_facts(info: HeadInfo) -> dict[str, object]:
    """How the head decides, where it does not predict the most probable class."""
    decision = info.decision
    facts: dict[str, object] = {"threshold": decision.rule} if decision.rule else {}
    names = [decision.positive] if decision.positive else info.classes
    if decision.thresholds:
        facts |= {f"predicted from: {name}": f"{at:.3g}" for name, at in zip(names, decision.thresholds, strict=True)}
    return facts | ({"no answer below": decision.abstain} if decision.abstain else {})


def version_facts(info: HeadInfo) -> dict[str, str]:
    """The versions of the libraries that a head was fitted with."""
    return {name: printable(version) for name, version in info.versions.items()}


def command_blocks(
    info: HeadInfo, folder: Path, choices: Choices | None, run_options: Mapping[str, object] | None
) -> list[Snippet]:
    """Commands and settings to copy.

    Args:
        info: the head's.
        folder: where it is.
        choices: the options that decided the images of its fit; None where it did not note them.
        run_options: the options of the `extract run` that made the store; None where it is not at hand.
    """
    place, blocks = str(folder), info.blocks
    stores, named = noted_stores(info), load_words(info.head)
    spatial = [block for block in blocks if block.output.spatial and block.reduction in REDUCTIONS]
    settings = [word for name, value in info.parameters.items() for word in ("--set", f"{name}={value}")]
    options = ["--reduce", spatial[0].reduction] if spatial else []
    options += _choice_words(choices)
    options += ["--task", REGRESSION] if info.task.regression else []
    options += ["--class-weight", info.class_weight] if info.class_weight != "none" else []
    decision = info.decision
    for option, value in (
        ("--threshold", decision.rule),
        ("--positive", decision.positive),
        ("--abstain", decision.abstain),
    ):
        options += [option, f"{value}"] if value else []
    outputs = dict.fromkeys(block.output.name for block in blocks)
    fit = [
        *store_words(stores),
        *("--head", info.head),
        *(word for output in outputs for word in ("--output", output)),
        *options,
        *("--seed", f"{info.seed}"),
    ]
    use = [
        suggested_line("fit", "predict", place, "photo.jpg", *named),
        suggested_line("fit", "evaluate", place, *store_words(["OTHER_STORE"] * len(stores)), *named),
        suggested_line("fit", "report", place),
    ]
    shown = [Snippet("Use the head", "\n".join(use))]
    again = _on_lines("fit", ["head", *fit, *settings, "--out", "heads/again"])
    shown.append(Snippet("Fit a head with the same parameters", again))
    if run_options is not None:
        shown.append(Snippet("Extract such features: features.toml", write_config(dict(run_options), "extract run")))
        shown.append(Snippet("and", suggested_line("extract", "run", "--config", "features.toml", "--out", "features")))
    for recipe in dict.fromkeys(block.recipe for block in blocks):
        title = "The recipe" if len(blocks) == 1 else f"The recipe of {recipe.backbone}"
        shown.append(Snippet(title, json.dumps(recipe.to_dict(), indent=1)))
    return [Snippet(part.title, _shown(part.text)) for part in shown]


def _choice_words(choices: Choices | None) -> list[str]:
    """The options that decided which images a head learned from, where they are not the default."""
    names = () if choices is None else ("labels", "exclude_from", "val", "test", "stop", "group_by", "near_twins")
    given = {name: getattr(choices, name) for name in names}
    return [
        word
        for name, value in given.items()
        if value != getattr(FitOptions, name)
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]


def _on_lines(program: str, words: Sequence[str]) -> str:
    """A command, with each option on a line of its own where one line would be long."""
    line = suggested_line(program, *words)
    if len(line) <= _WIDE:
        return line
    starts = [at for at, word in enumerate(words) if word.startswith("--")]
    parts = [words[start:end] for start, end in zip([0, *starts], [*starts, len(words)], strict=True)]
    first, *options = parts
    return " \\\n    ".join([suggested_line(program, *first), *map(join_words, options)])


def _shown(text: str) -> str:
    """Its lines, with nothing in them that cannot be seen."""
    return "\n".join(printable(line) for line in text.split("\n"))
