"""The command of `fit` for a learning curve: parse, call, print."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from fit.app import ParameterOptions, StorePlaces, app
from fit.curve.options import CurveOptions
from fit.heads.table import folder_name
from fit.options import FitOptions
from store.command_line import Console, command
from store.command_options import Without
from store.options import Option
from store.tables import columns, paragraph


@dataclass(frozen=True)
class CurveOutput:
    """Options about the output of a curve."""

    out: Annotated[
        Path | None, Option("A folder for curve.csv and curve.png.", ("--out", "-o"), default="curves/<head>")
    ] = None
    force: Annotated[bool, Option("Replace a curve that is there.")] = False


@command(
    app,
    "curve",
    StorePlaces,
    CurveOptions,
    CurveOutput,
    Without(FitOptions, ("evaluate_test", "cv", "repeats", "by", "tensorboard", "threshold", "positive", "abstain")),
    ParameterOptions,
)
def curve(
    store: StorePlaces,
    options: CurveOptions,
    output: CurveOutput,
    fit_options: FitOptions,
    parameters: ParameterOptions,
    console: Console,
) -> None:
    """Fit a head on more and more of the training images: would more labels help? Evaluated on validation."""
    from fit.curve.run import fit_curve
    from fit.curve.text import describe_curve, format_curve
    from fit.curve.write import CSV, PICTURE, require_curve_place, write_curve

    asked = replace(fit_options, parameters=parameters.given())
    folder = output.out or Path("curves") / folder_name(asked.head)
    require_curve_place(folder, output.force)
    found = fit_curve(store.open(), asked, options, console.reporter)
    write_curve(found, folder)
    console.result({"curve": str(folder), **found.to_dict()})
    console.output(*columns(format_curve(found)))
    console.summary("", *(line for text in describe_curve(found) for line in paragraph(text)))
    console.summary(f"the curve is in {folder / CSV}, {folder / PICTURE}")
