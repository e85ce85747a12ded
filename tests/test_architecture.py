"""The packages and the one direction: cli -> fit -> extract -> store; small files, short functions, few parameters.

All imports are read, those inside functions too. Imports for type checking alone (`if TYPE_CHECKING:`) run nothing, so
they may close a circle, but they keep the direction and are listed here.
"""

import ast
import re
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("store", "extract", "fit")
BEHIND = {"store": {"store"}, "extract": {"extract", "store"}, "fit": {"fit", "extract", "store"}}
"""What each package may import of ours."""

DOOR = "extract.api"
"""The only module of `extract` that `fit` imports."""

FOR_PEOPLE = ("app", "commands", "text")
"""Modules that only the command line imports: the Typer apps, their commands and what they print."""

COMPUTING = {"tensorflow", "jax", "torch"}
COMPUTING_PLACES = ("extract/runtimes/",)
KERAS_PLACES = {
    "extract/runtimes/keras.py",
    "extract/runtimes/load.py",
    "extract/runtimes/model.py",
    "extract/backbones/networks/alexnet.py",
    "extract/backbones/build.py",
    "extract/backbones/networks/caffe.py",
    "extract/backbones/networks/efficientnet_lite.py",
    "extract/backbones/networks/inception_v1.py",
    "extract/backbones/networks/inception_v4.py",
    "extract/backbones/keras_file.py",
    "extract/backbones/keras_hub_encoders.py",
    "extract/backbones/keras_hub_load.py",
    "extract/backbones/load.py",
    "extract/backbones/networks/pixels.py",
    "extract/backbones/networks/squeezenet.py",
    "extract/backbones/weights_file.py",
    "extract/backbones/weights_keras.py",
    "extract/backbones/weights_package.py",
    "extract/backbones/weights_random.py",
    "extract/runtimes/backend.py",
    "extract/runtimes/convert.py",
}

LONGEST_FILE = 350
TABLES = {"extract/backbones/table.py", "fit/heads/table.py"}
"""Files that are data: one entry after another, however many there are."""

LONGEST_FUNCTION = 60
MOST_PARAMETERS = 6
MANY_PARAMETERS: dict[str, str] = {}
"""Functions with more parameters, and why that is right."""

# What is not true yet, rule by rule. These lists may only become shorter.
NOT_YET: dict[str, set[str]] = {}


@dataclass(frozen=True)
class Import:
    """One import of one of our modules: who, whom, and `top`, `inside` a function, or for `typing` alone."""

    importer: str
    imported: str
    kind: str

    def __str__(self):
        return f"{self.importer} -> {self.imported}"


def files():
    found = [path for name in ("cli.py", "stillframe.py") if (path := ROOT / name).exists()]
    return found + [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = {module_name(path): path for path in files()}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}


def file_name(module):
    return FILES[module].relative_to(ROOT).as_posix()


def import_statements(tree, kind="top"):
    """Each import below a node with its kind."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, kind
        elif isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from import_statements(ast.Module(node.body, []), "typing")
            yield from import_statements(ast.Module(node.orelse, []), kind)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from import_statements(node, "typing" if kind == "typing" else "inside")
        else:
            yield from import_statements(node, kind)


def imported_names(module):
    """The dotted names that a module imports, with the kind; `from a import b` gives a.b if that is a module of ours."""
    for node, kind in import_statements(TREES[module]):
        if isinstance(node, ast.Import):
            yield from ((alias.name, kind) for alias in node.names)
        else:
            assert node.level == 0, f"{module}: relative import"
            children = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from ((child if child in FILES else node.module, kind) for child in sorted(children))


IMPORTS = sorted(
    {
        Import(module, name, kind)
        for module in FILES
        for name, kind in imported_names(module)
        if name in FILES and name != module
    },
    key=lambda found: (found.importer, found.imported, found.kind),
)


def graph(kinds):
    """Module -> modules that it imports; importing a.b.c runs a and a.b too."""
    edges = defaultdict(set)
    for found in IMPORTS:
        if found.kind in kinds:
            parts = found.imported.split(".")
            parents = {".".join(parts[:end]) for end in range(1, len(parts))} & set(FILES)
            running = {name for name in parents if f"{found.importer}.".startswith(f"{name}.")}
            edges[found.importer] |= {found.imported} | (parents - running)
    return edges


def circles(edges):
    """Groups of modules that import each other, directly or through others (Tarjan's components)."""
    index, low, stack, found = {}, {}, [], []

    def visit(module):
        index[module] = low[module] = len(index)
        stack.append(module)
        for target in sorted(edges[module]):
            if target not in index:
                visit(target)
            if target in stack:
                low[module] = min(low[module], low[target])
        if low[module] == index[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                found.append(" <-> ".join(sorted(group)))

    for module in FILES:
        if module not in index:
            visit(module)
    return set(found)


def functions(module):
    """Each function of a module: its dotted name, its node, whether it is a method."""

    def below(node, name, in_class):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name}.{child.name}", child, in_class
                yield from below(child, f"{name}.{child.name}", False)
            elif isinstance(child, ast.ClassDef):
                yield from below(child, f"{name}.{child.name}", True)
            else:
                yield from below(child, name, in_class)

    return below(TREES[module], module, False)


def parameters(function, method):
    spec = function.args
    names = [argument.arg for argument in (*spec.posonlyargs, *spec.args, *spec.kwonlyargs)]
    return [name for name in names if not (method and name in ("self", "cls"))]


def check(rule, found):
    """The rule holds, but for what is listed as not yet so; what has become so leaves the list."""
    expected = NOT_YET.get(rule, set())
    assert sorted(set(found) - expected) == [], rule
    assert sorted(expected - set(found)) == [], f"{rule}: this holds now, take it from NOT_YET"


def test_every_module_is_read():
    assert len(FILES) > 90
    assert {"store.plan", "extract.run", "fit.head", "cli"} <= set(FILES)
    assert any(found.kind == "inside" for found in IMPORTS)


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_packages_behind_it(package):
    for found in IMPORTS:
        if found.importer.partition(".")[0] == package:
            assert found.imported.partition(".")[0] in BEHIND[package], found


def test_fit_imports_one_module_of_extract():
    found = {
        str(found)
        for found in IMPORTS
        if found.importer.startswith("fit.") and found.imported.partition(".")[0] == "extract"
    }
    check("one door", {line for line in found if not line.endswith(f" {DOOR}")})


def test_only_the_command_line_imports_what_is_for_people():
    for found in IMPORTS:
        if found.imported.rpartition(".")[2] in FOR_PEOPLE:
            assert found.importer == "cli" or found.importer.rpartition(".")[2] in FOR_PEOPLE, found


def test_no_module_imports_the_command_line():
    for found in IMPORTS:
        assert found.imported not in ("cli", "stillframe"), found


def test_no_circle_of_imports():
    check("circles", circles(graph({"top", "inside"})))


def test_circles_through_imports_for_type_checking_are_known():
    check("typing circles", circles(graph({"top", "inside", "typing"})) - circles(graph({"top", "inside"})))


def test_only_runtimes_import_a_computing_library():
    for module in FILES:
        tops = {name.partition(".")[0] for name, _ in imported_names(module)}
        if not file_name(module).startswith(COMPUTING_PLACES):
            assert not tops & COMPUTING, module


def test_only_few_files_import_keras():
    for module in FILES:
        if "keras" in {name.partition(".")[0] for name, _ in imported_names(module)}:
            assert file_name(module) in KERAS_PLACES or module.startswith("fit."), module


def test_files_are_short():
    lengths = {file_name(module): len(path.read_text("utf-8").splitlines()) for module, path in FILES.items()}
    check("long files", {name for name, length in lengths.items() if length > LONGEST_FILE and name not in TABLES})


def test_functions_are_short():
    found = {
        name
        for module in FILES
        for name, node, _ in functions(module)
        if node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    }
    check("long functions", found)


def test_functions_take_few_parameters():
    found = {
        name
        for module in FILES
        for name, node, method in functions(module)
        if len(parameters(node, method)) > MOST_PARAMETERS
    }
    assert set(MANY_PARAMETERS) <= found
    check("many parameters", found - set(MANY_PARAMETERS))


def test_nothing_asks_an_object_what_it_can_do():
    """`hasattr` is not a protocol: a class says what it can in a field or a base class."""
    found = {
        f"{file_name(module)}: {ast.unparse(node)}"
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "hasattr"
    }
    check("hasattr", found)


PAGES = ("docs/architecture.md", "CONTRIBUTING.md")
NAMED = re.compile(r"`((?:store|extract|fit|tests|docs)/[\w/.-]*|cli\.py|stillframe\.py)`(?: \(((?:`\w+`(?:, )?)+)\))?")
"""A file on a page, and names in it: `path/file.py` (`name`, `name`)."""


def test_the_pages_name_files_and_names_that_exist():
    missing = set()
    for page in PAGES:
        found = NAMED.findall((ROOT / page).read_text(encoding="utf-8").replace("\n", " "))
        assert found, page
        for name, inside in found:
            if not (ROOT / name).exists():
                missing.add(name)
                continue
            text = (ROOT / name).read_text(encoding="utf-8") if (ROOT / name).is_file() else ""
            missing |= {f"{name}: {word}" for word in re.findall(r"\w+", inside) if not re.search(rf"\b{word}\b", text)}
    check("pages", missing)
