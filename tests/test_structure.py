"""The shape of the project: imports run one way, files stay short, optional packages are imported late."""

import argparse
import ast
import itertools
import re
import subprocess
import sys

import pytest

from tests.support.helpers import ROOT
from utils.errors import finite

OURS = ("utils", "data", "models", "demo", "experiments", "train", "eval")
# Who may import whom; scripts may import everything below them, and no script is imported.
ALLOWED = {"utils": {"utils"}, "data": {"data", "utils"}, "models": {"models", "utils"}}
SCRIPTS_MAY = {"data", "models", "utils", "demo"}
OWN_PARTS = {"demo", "experiments"}
# The benchmark times the training step of train.py.
ALSO = {"experiments/bench/bench.py": {"train"}}
PREPROCESSING_SCRIPTS = ROOT / "data" / "preprocessing"
LATE = {"torchvision", "wandb", "matplotlib"}


def python_files():
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


def imported(tree, top_level_only=False):
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


FILES = [path for path in python_files() if "tests" not in path.relative_to(ROOT).parts]


def test_there_is_something_to_check():
    assert len(FILES) > 20
    assert {"train.py", "eval.py"} <= {path.name for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_one_way(path):
    package = path.relative_to(ROOT).parts[0]
    script = package not in ALLOWED or path.parent == PREPROCESSING_SCRIPTS
    allowed = SCRIPTS_MAY | OWN_PARTS & {package} if script else ALLOWED[package]
    allowed = allowed | ALSO.get(str(path.relative_to(ROOT)), set())
    tree = ast.parse(path.read_text())
    wrong = {name for name in imported(tree) if name in OURS} - allowed
    assert not wrong, f"{path.name} imports {wrong}"
    assert not LATE & set(imported(tree, top_level_only=True)), "import it where it is used"


@pytest.mark.parametrize("path", python_files(), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short(path):
    assert len(path.read_text().splitlines()) <= 350


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_are_short_and_public_ones_documented(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 60, f"{node.name} is long"
    assert ast.get_docstring(ast.parse(path.read_text())), "a module says what it holds"


def test_scripts_import_without_the_optional_packages():
    blocked = "; ".join(f"sys.modules[{name!r}] = None" for name in sorted(LATE))
    code = f"import sys; {blocked}; import train, eval"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# --- what a file is, where a home is, and whether there is something

# The names' endings that are asked for: to leave something out, or to write what the user names, never to read it.
ENDINGS_ASKED = {"utils/input_folders.py", "models/export.py"}
# Objects whose length may be unknown or 0 although they are there.
WITH_LENGTH = {"video", "capture", "dataset", "loader", "sampler", "reader", "writer"}


def asks_for_endings(node):
    """``path.suffix in (..)``, ``path.suffix == ".json"``, ``name.endswith((..))``."""
    if isinstance(node, ast.Compare):
        return any(isinstance(part, ast.Attribute) and part.attr in ("suffix", "suffixes") for part in ast.walk(node))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "endswith":
        return bool(node.args) and isinstance(node.args[0], ast.Tuple)
    return False


def home_folders(node):
    return isinstance(node, ast.Attribute) and node.attr in ("home", "expanduser")


def truths(node):
    """What is taken for true or false as a whole, without a comparison."""
    if isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
        yield from operands(node.test)


def operands(test):
    if isinstance(test, ast.BoolOp):
        for value in test.values:
            yield from operands(value)
    elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        yield from operands(test.operand)
    else:
        yield test


def files_with(found):
    return {str(path.relative_to(ROOT)) for path in FILES if any(map(found, ast.walk(ast.parse(path.read_text()))))}


def test_what_a_file_is_no_list_of_endings_decides():
    assert files_with(asks_for_endings) == ENDINGS_ASKED


def test_one_helper_knows_of_home_folders():
    assert files_with(home_folders) == {"utils/cache.py"}


def test_numbers_of_the_command_line_are_finite():
    """float() takes nan, which slips through every comparison and ends in a traceback far away."""
    assert [path.name for path in FILES if re.search(r"\btype=float", path.read_text())] == []
    for text in ("nan", "inf", "-inf"):
        with pytest.raises(argparse.ArgumentTypeError, match="not a finite number"):
            finite(text)
    assert finite("1e3") == 1000


def test_objects_with_a_length_are_compared_with_none():
    """``if self.video`` was False for a video whose length nobody knew."""
    wrong = {
        f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(asked)}"
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text()))
        for asked in truths(node)
        if getattr(asked, "attr", getattr(asked, "id", "")).strip("_") in WITH_LENGTH
    }
    assert not wrong


def test_the_tests_that_the_table_of_inputs_names_exist():
    text = (ROOT / "docs" / "inputs.md").read_text()
    named = re.findall(r"`(?:(test_\w+\.py))?(?:::)?(test_\w+)`", text)
    defined = {
        node.name
        for path in python_files()
        if path.name.startswith("test_")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    assert len(named) >= 25
    assert not {name for _, name in named} - defined
    assert not [file for file, _ in named if file and not list((ROOT / "tests").rglob(file))]


# --- the method apart from what makes it fast

# The only file directly in models/ that knows of models/fast, and the files that show the method.
SWAPS = "build.py"
METHOD = (
    "candidates.py",
    "condition_embedding.py",
    "denoiser.py",
    "diffusion.py",
    "heatmap_sampler.py",
    "reference.py",
    "samplers.py",
    "schedules.py",
)
MODELS = sorted((ROOT / "models").glob("*.py"))


def modules_of(tree):
    """Every module that a file imports, with the names taken from it: models.fast, models.fast.linear, .."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = "." * node.level + (node.module or "")
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def test_one_file_puts_the_fast_parts_in():
    found = {
        path.name
        for path in MODELS
        if any(name.lstrip(".").startswith(("models.fast", "fast")) for name in modules_of(ast.parse(path.read_text())))
    }
    assert found == {SWAPS}


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.name)
def test_models_do_not_speak_of_machinery(path):
    found = re.findall(r"mkl-?dnn|onednn|\bpack(?:s|ed|ing)?\b|cuda[ _-]?graph", path.read_text(), re.IGNORECASE)
    assert not found


@pytest.mark.parametrize("name", METHOD)
def test_the_method_does_not_ask_for_types(name):
    tree = ast.parse((ROOT / "models" / name).read_text())
    asked = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & {"isinstance", "type", "hasattr"}
    assert not asked


def test_there_are_few_calls_between_main_and_the_loss():
    """main > run > train > fit > training_step > loss: each calls the next, and all but the last are in train.py."""
    functions = {
        node.name: node for node in ast.parse((ROOT / "train.py").read_text()).body if isinstance(node, ast.FunctionDef)
    }
    chain = ["main", "run", "train", "fit", "training_step", "loss"]
    for caller, callee in itertools.pairwise(chain):
        inside = ast.walk(functions[caller])
        named = {getattr(node, "id", getattr(node, "attr", None)) for node in inside}
        assert callee in named, f"{caller} does not name {callee}"
    assert len(chain) - 1 <= 5
