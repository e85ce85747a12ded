"""The three programs as a user meets them: output, exit codes, odd names, odd files, odd folders."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from PIL import Image

import cli
import extract.resolve
import extract.run
from extract.backbones.processor import EXAMPLE
from extract.backbones.table import BACKBONES
from store import open_store
from tests.stub import load_stub, make_images

BIN = Path(sys.executable).parent
STUB = ("--backbone", "mobilenet_v2", "--weights", "random", "--image-size", "16")

AS_ANOTHER_USER = """
import cli, os, sys, tempfile, zoneinfo, extract.resolve, extract.run
from tests.stub import load_stub, make_images
from pathlib import Path
extract.resolve.load_runtime = load_stub
from extract import extract
with tempfile.TemporaryDirectory() as warm:  # whatever is imported late must be before root is given up
    make_images(Path(warm, "data"), 2)
    extract(Path(warm, "data"), Path(warm, "store"), backbone="mobilenet_v2", weights="random", image_size=(16, 16))
os.environ["STILLFRAME_CACHE"] = "/nowhere"
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
"""


@pytest.fixture
def command(monkeypatch, capsys):
    """Call a program in this process, with the stub network; gives (exit code, standard output, standard error)."""
    monkeypatch.setattr(extract.resolve, "load_runtime", load_stub)

    def call(program, *arguments, as_called=None):
        monkeypatch.setattr(sys, "argv", [as_called or program, *map(str, arguments)])
        code = cli.run_app(getattr(cli, f"{program}_app"), program)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def real(program, *arguments, **options):
    return subprocess.run([BIN / program, *map(str, arguments)], capture_output=True, text=True, check=False, **options)


def one_line(text):
    return text.startswith("error: ") and text.count("\n") == 1 and "Traceback" not in text


def test_an_example_can_be_copied_from_the_terminal(data, out, tmp_path):
    model = Path("tests/data/networks/convnextv2/onnx/model.onnx").resolve()
    done = real("extract", "run", data, "--out", out, "--backbone", model, env={**os.environ, "COLUMNS": "60"})
    assert done.returncode == 2
    message, example = done.stderr.split("\n\n")
    assert one_line(message + "\n")
    assert example == EXAMPLE
    as_json = real("extract", "run", data, "--out", out, "--backbone", model, "--json")
    assert json.loads(as_json.stdout)["reason"].endswith(EXAMPLE)


# The everyday way


def test_run_info_verify_failures_gc_and_repair(command, data, out):
    code, output, printed = command("extract", "run", data, "--out", out, *STUB)
    assert (code, output) == (0, "")
    assert "12 images in, 12 rows, 0 failures" in printed
    assert "images/s; seconds waited for: read" in printed
    code, output, _ = command("store", "info", out)
    assert code == 0
    assert "12: 12 rows, 0 failures, 0 not done yet" in output
    code, _, printed = command("store", "verify", out)
    assert (code, printed) == (0, "sound: 12 images = 12 rows + 0 failures + 0 not done yet, in 1 shard\n")
    assert command("store", "failures", out)[:2] == (0, "")
    assert command("store", "repair", out)[2] == "nothing is damaged\n"
    assert command("store", "gc", out)[2] == "deleted 0 files, 0 bytes\n"


def test_json_is_one_object_and_nothing_else(command, data, out):
    code, output, _ = command("extract", "run", data, "--out", out, "--json", *STUB)
    assert code == 0
    result = json.loads(output)
    assert (result["images"], result["rows"], result["computed"]) == (12, 12, 12)
    for arguments in (("info", out), ("verify", out), ("failures", out)):
        json.loads(command("store", *arguments, "--json")[1])
    json.loads(command("extract", "backbones", "--json")[1])
    json.loads(command("extract", "run", data, "--out", out, "--json", "--dry-run", *STUB)[1])


def test_quiet_says_nothing(command, data, out):
    assert command("extract", "run", data, "--out", out, "--quiet", *STUB) == (0, "", "")
    assert command("store", "verify", out, "--quiet") == (0, "", "")


def test_more_failures_than_allowed_is_exit_code_three_and_the_rest_is_stored(command, data, out):
    for path in sorted(data.rglob("*.png"))[:2]:
        path.write_bytes(b"")
    code, _, printed = command("extract", "run", data, "--out", out, *STUB)
    assert code == 3
    assert "error: 2 of 12 images failed, more than --max-bad 0.05 allows" in printed
    assert len(open_store(out)) == 10
    assert command("extract", "run", data, "--out", out, "--max-bad", "0.5", *STUB)[0] == 0


@pytest.mark.parametrize("width", [80, 60])
def test_the_backbones_table_fits_and_its_names_are_never_cut(command, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    _, output, _ = command("extract", "backbones")
    assert "inception_resnet_v2  299 x 299" in output
    assert max(map(len, output.splitlines())) <= width
    assert {line.split()[0] for line in output.splitlines() if line} >= set(BACKBONES)


@pytest.mark.parametrize("width", [80, 60])
def test_what_is_printed_fits_the_terminal(command, data, out, monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.chdir(out.parent)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    (data / "cat" / "bad.png").write_bytes(b"no image")
    command("extract", "run", "data", "--out", "store", "--max-bad", "1", *STUB)
    for arguments in (("store", "info", "store"), ("store", "failures", "store"), ("fit", "heads")):
        code, output, _ = command(*arguments)
        assert code == 0
        assert output
        assert max(len(line) for line in output.splitlines() if f"{out.parent}" not in line) <= max(width, 77)


def test_pixels_need_no_weights(command):
    assert command("extract", "fetch", "pixels") == (0, "", "pixels has no weights: there is nothing to get\n")
    _, output, _ = command("extract", "backbones")
    printed = {line.split()[0]: line for line in output.splitlines() if line}
    assert "none needed" in printed["pixels"]
    assert "give a file" in printed["squeezenet"]
    assert command("extract", "layers", "pixels")[:2] == (0, "rescaling  100 x 100 x 3\n")


@pytest.mark.slow
def test_classify_names_what_photographs_show(command, tmp_path):
    photos = tmp_path / "photos"
    command("extract", "sample", "photos", photos)
    code, output, printed = command("extract", "classify", photos, "--top", "2")
    assert code == 0
    assert [line.split()[:3] for line in output.splitlines()] == [
        [f"{photos}/china.jpg", "bell_cote", "0.302"],
        [f"{photos}/flower.jpg", "daisy", "0.142"],
    ]
    assert printed.startswith("loading efficientnet_lite0\n")
    (photos / "broken\n.jpg").write_bytes(b"")
    code, output, printed = command("extract", "classify", f"{photos}/*.jpg", "--json", "--quiet")
    assert code == 3
    assert printed == "error: 1 of 3 images failed, more than --max-bad 0.05 allows; each one's line says why\n"
    broken, china, _ = json.loads(output)["images"]
    assert (broken["classes"], broken["error"]) == ([], "empty: the file is empty")
    assert china["classes"][0]["id"] == "n02825657"
    assert len(china["classes"]) == 5
    assert command("extract", "classify", photos, "--quiet", "--max-bad", "0.5")[::2] == (0, "")


def test_store_export_writes_what_was_asked_for(command, data, out, tmp_path):
    command("extract", "run", data, "--out", out, *STUB)
    for to in ("npy", "npz", "csv", "parquet", "tfrecord"):
        target = tmp_path / f"features.{to}"
        assert command("store", "export", out, "--to", to, "--out", target)[0] == 0
        assert target.stat().st_size > 0
        assert command("store", "export", out, "--to", to, "--out", target)[0] == 2
        assert command("store", "export", out, "--to", to, "--out", target, "--force")[0] == 0
    assert not list(tmp_path.glob(".*part"))


def test_files_beside_two_exports_are_two(command, data, out, tmp_path):
    command("extract", "run", data, "--out", out, *STUB)
    for name in ("ex.v1", "ex.v2", "ex"):
        assert command("store", "export", out, "--to", "npy", "--out", tmp_path / name)[0] == 0
    assert {path.name for path in tmp_path.glob("ex*")} == {
        *("ex", "ex.v1", "ex.v2"),
        *("ex.rows.parquet", "ex.v1.rows.parquet", "ex.v2.rows.parquet"),
    }


def test_samples_are_written(command, tmp_path):
    assert command("extract", "sample", "photos", tmp_path / "photos")[0] == 0
    assert {path.name for path in (tmp_path / "photos").iterdir()} == {"china.jpg", "flower.jpg"}
    assert command("extract", "sample", "cats", tmp_path / "cats")[0] == 2


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["run", "missing"], "there is no missing"),
        (["run", "."], "no images under ."),
        (["run", "data", "--backbone", "inceptionv3"], "did you mean inception_v3"),
        (["run", "data", "--weights", "nope.h5"], "no such file"),
        (["run", "data", "--weights", "random:x"], "whole number"),
        (["run", "data", "--image-size", "big"], "--image-size is 'big'"),
        (["run", "data", "--image-size", "99999"], "in pixels, as in 224 or 240x320, 4,096 at most"),
        (["run", "data", "--device", "tpu"], "--device is 'tpu': expected auto, cpu, gpu or cuda:N"),
        (["run", "dta"], "there is no dta: did you mean data?"),
        (["run", "labels.cvs"], "did you mean labels.csv?"),
        (["run", "data/cat/00000.png"], "`extract classify data/cat/00000.png`"),
        (["data"], "data is not a command: did you mean `extract run data`?"),
        (["data", "--out", "my store"], "did you mean `extract run data --out 'my store'`?"),
        (["run", "data", "--resize", "cubic"], "--resize is 'cubic'"),
        (["run", "data", "--batch-size", "many"], "expected a whole number, or auto"),
        (["run", "data", "--batch-size", "0"], "expected 1 or more"),
        (["run", "data", "--background", "whitish"], "unknown color"),
        (["run", "data", "--bakbone", "vgg16"], "--backbone"),
        (["run", "file:///data"], "name a local folder by its path, /data"),
        (["run"], "DATA"),
        (["rum", "data"], "run"),
        (["layers", "resnet"], "resnet50"),
        (["fetch", "resnet"], "resnet50"),
        (["fetch", "squeezenet"], "--weights FILE"),
        (["classify"], "IMAGES"),
        (["classify", "data", "--backbone", "pixels"], "pixels has no classes"),
        (["classify", "data", "--top", "1001"], "expected 1 to 1,000"),
        (["run", "data", "--backbone", "alexnet"], "--weights FILE"),
    ],
)
def test_wrong_use_is_one_line_with_a_hint_and_exit_code_two(command, tmp_path, monkeypatch, arguments, hint):
    if arguments != ["run", "."]:
        make_images(tmp_path / "data", 2)
        (tmp_path / "labels.cvs").write_text("path\n")
    monkeypatch.chdir(tmp_path)
    code, output, printed = command("extract", *arguments)
    assert code == 2
    assert output == ""
    assert one_line(printed), printed
    assert hint in printed
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.png"], "there is no none.png: expected image files"),
        (["data", "--out", "kept.csv"], "kept.csv exists: choose another --out, or replace it with --force"),
        (["--features", "vectors", "--out", "kept.csv"], "kept.csv exists"),
    ],
)
def test_a_careless_prediction_is_refused_before_anything_is_loaded(command, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_images(tmp_path / "data", 2)
    (tmp_path / "kept.csv").write_text("mine")
    code, _, printed = command("fit", "predict", "no-such-head", *arguments)
    assert code == 2
    assert one_line(printed)
    assert words in printed
    assert (tmp_path / "kept.csv").read_text() == "mine"


def test_an_unknown_backend_is_wrong_use(data, out):
    done = real("extract", "run", data, "--out", out, *STUB, env={**os.environ, "KERAS_BACKEND": "nonsense"})
    assert done.returncode == 2
    assert "error: KERAS_BACKEND is 'nonsense': expected tensorflow, jax, torch" in done.stderr
    assert not out.exists()


def test_a_folder_that_is_no_store_is_refused_by_every_store_command(command, tmp_path):
    for arguments in (["info"], ["verify"], ["repair"], ["gc"], ["failures"], ["export", "--to", "npy", "--out", "x"]):
        code, _, printed = command("store", arguments[0], tmp_path, *arguments[1:])
        assert code == 2
        assert one_line(printed), printed


def test_another_recipe_is_exit_code_two(command, data, out):
    command("extract", "run", data, "--out", out, *STUB)
    code, _, printed = command("extract", "run", data, "--out", out, *STUB, "--resize", "area")
    assert code == 2
    assert "resize: the store has bilinear, this run asks for area" in printed


def test_a_damaged_store_is_exit_code_four_and_an_unfinished_one_seventy_five(command, data, out):
    command("extract", "run", data, "--out", out, "--shard-rows", "4", *STUB)
    first = sorted(out.glob("commit/*/*.json"))[0]
    first.rename(out / "kept.json")
    assert command("store", "verify", out)[0] == 75
    (out / "kept.json").rename(first)
    shard = next((out / "data").iterdir())
    shard.write_bytes(shard.read_bytes()[:-10])
    code, _, printed = command("store", "verify", out)
    assert code == 4
    assert f"error: 1 thing in {out} damaged: run `store repair {out}`" in printed
    assert command("store", "repair", out)[0] == 0
    assert command("store", "verify", out)[0] == 75
    assert command("extract", "run", data, "--out", out, *STUB)[0] == 0
    assert command("store", "verify", out)[0] == 0


def test_a_bug_is_exit_code_one_and_a_traceback_only_with_debug(command, data, out, monkeypatch):
    def broken(*_):
        raise RuntimeError("oh")

    monkeypatch.setattr(extract.resolve, "load_runtime", broken)
    code, _, printed = command("extract", "run", data, "--out", out, *STUB)
    assert code == 1
    assert "bug: RuntimeError: oh" in printed
    assert "Traceback" not in printed
    monkeypatch.setattr(sys, "argv", ["extract", "run", str(data), "--out", str(out), "--debug", *STUB])
    assert cli.run_app(cli.extract_app, "extract") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_before_the_first_batch_is_exit_code_seventy_five(command, data, out, monkeypatch, number):
    monkeypatch.setattr(extract.run, "list_data", lambda *_: os.kill(os.getpid(), number))
    code, output, printed = command("extract", "run", data, "--out", out, *STUB)
    assert (code, output) == (75, "")
    assert printed.strip() == "stopped early: run the same command again to continue"


# Odd files


def test_bad_images_are_rows_in_store_failures_and_the_rest_is_untouched(command, data, out, tmp_path):
    photograph = tmp_path / "whole.jpg"
    Image.effect_noise((64, 64), 50).convert("RGB").save(photograph, quality=95)
    whole = photograph.read_bytes()
    png = sorted(data.rglob("*.png"))[0].read_bytes()
    flipped = bytearray(png)
    flipped[len(png) // 2] ^= 4
    chunks = [b"IHDR" + (60000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0", b"IDAT" + zlib.compress(b""), b"IEND"]
    sizes_and_sums = [(len(chunk) - 4, zlib.crc32(chunk)) for chunk in chunks]
    huge = b"".join(
        size.to_bytes(4, "big") + chunk + crc.to_bytes(4, "big")
        for chunk, (size, crc) in zip(chunks, sizes_and_sums, strict=True)
    )
    bad = data / "bad"
    bad.mkdir()
    (bad / "empty.jpg").write_bytes(b"")
    (bad / "text.jpg").write_text("not an image at all")
    (bad / "half.jpg").write_bytes(whole[: len(whole) // 2])
    (bad / "flipped.png").write_bytes(flipped)
    (bad / "huge.png").write_bytes(bytes.fromhex("89504e470d0a1a0a") + huge)
    os.mkfifo(bad / "pipe.jpg")
    os.symlink("loop.jpg", bad / "loop.jpg")
    os.symlink("nowhere.png", bad / "dangling.png")
    os.symlink(data, bad / "again")
    code, _, printed = command("extract", "run", data, "--out", out, "--max-bad", "1", *STUB)
    assert code == 0
    assert "12 rows, 8 failures" in printed
    code, output, _ = command("store", "failures", out)
    listed = {line.split("\t")[0].removeprefix("bad/"): line.split("\t")[1:] for line in output.splitlines()}
    assert {name: code for name, (code, _) in listed.items()} == {
        "empty.jpg": "empty",
        "text.jpg": "not_an_image",
        "half.jpg": "truncated",
        "flipped.png": "corrupt",
        "huge.png": "too_many_pixels",
        "pipe.jpg": "not_a_file",
        "loop.jpg": "missing",
        "dangling.png": "missing",
    }
    assert all(len(message) > 15 for _, message in listed.values())
    assert command("store", "verify", out)[0] == 0
    assert command("extract", "run", data, "--out", out, "--max-bad", "1", *STUB)[0] == 0


def test_a_file_that_must_not_be_read_ends_the_run_and_is_no_failure_row(data, out):
    """Permission is the machine's trouble: it can be given, and the image is as good as the others."""
    hidden = sorted(data.rglob("*.png"))[0]
    hidden.chmod(0)
    try:
        script = (
            AS_ANOTHER_USER + "from store import open_store\n"
            "from store.errors import EnvironmentFailure\n"
            "try:\n"
            f"    extract({str(data)!r}, {str(out)!r}, backbone='mobilenet_v2', weights='random', image_size=(16, 16))\n"
            "except EnvironmentFailure as error:\n"
            f"    assert {str(hidden)!r} in str(error), error\n"
            f"    assert len(open_store({str(out)!r}).snapshot.failures()) == 0\n"
            "    os._exit(74)\n"  # as the programs end: see store.command_line.leave
        )
        for folder in (out.parent, *out.parent.parents[:-2]):  # another user has to get there
            folder.chmod(folder.stat().st_mode | stat.S_IRWXO)
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 74, done.stderr
    finally:
        hidden.chmod(0o644)


def test_odd_names_are_ordinary_rows_shown_harmlessly(command, data, out):
    odd = ["new\nline.png", "quo\"te'.png", "emo😀ji.png", "esc\x1b[31mape.png", "back\\slash.png", "tab\t.png"]
    image = sorted(data.rglob("*.png"))[0].read_bytes()
    for name in odd:
        (data / "cat" / name).write_bytes(image)
    with open(os.fsencode(data / "cat") + b"/by\xfftes.png", "wb") as file:
        file.write(image)
    (data / "cat" / "bad\n\x1b[2J.png").write_bytes(b"")
    code, _, _ = command("extract", "run", data, "--out", out, "--max-bad", "1", *STUB)
    assert code == 0
    paths = open_store(out).table()["path"].to_pylist()
    expected = [f"cat/{name}".replace("\\", "\\\\") for name in odd] + ["cat/by\\xfftes.png"]
    assert set(expected) <= set(paths)
    assert len(paths) == 19
    _, output, _ = command("store", "failures", out)
    assert output.splitlines()[0].split("\t")[0] == "cat/bad\\n\\x1b[2J.png"
    assert command("extract", "run", data, "--out", out, "--max-bad", "1", *STUB)[2].endswith("nothing to compute\n")


# Odd machines


def test_a_full_disk_is_exit_code_seventy_four_and_leaves_nothing_half_written(command, data, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:  # not root: the limit on a file's size gives the same error from the same call
        limited_disk(data, tmp_path / "store")
        return
    try:
        make_images(data, 400)
        code, _, printed = command("extract", "run", data, "--out", disk / "store", *STUB)
        assert code == 74
        assert printed.count("\n") == 3, printed  # what was listed, what is loaded, what is wrong
        assert "No space left on device; free some space" in printed
        assert list((disk / "store" / "tmp").iterdir()) == []
        assert not (disk / "store" / "commit").exists() or not list((disk / "store" / "commit").rglob("*.json"))
        subprocess.run(["mount", "-o", "remount,size=10m", disk], check=True)
        assert command("extract", "run", data, "--out", disk / "store", *STUB)[0] == 0
        assert command("store", "verify", disk / "store")[0] == 0
    finally:
        subprocess.run(["umount", disk], check=False)


def limited_disk(data, out):
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))\n"
        "import extract.resolve; from tests.stub import load_stub; extract.resolve.load_runtime = load_stub\n"
        f"import cli; sys.argv = ['extract', 'run', {str(data)!r}, '--out', {str(out)!r}, *{STUB!r}]\n"
        "cli.extract_main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 74
    assert "Traceback" not in done.stderr


def test_a_read_only_store_is_exit_code_seventy_four(data, out):
    script = (
        AS_ANOTHER_USER
        + f"import cli; sys.argv = ['extract', 'run', {str(data)!r}, '--out', {str(out)!r}, *{STUB!r}]\n"
        "cli.extract_main()\n"
    )
    for folder in (out.parent, *out.parent.parents[:-2]):
        folder.chmod(folder.stat().st_mode | 0o005)
    out.parent.chmod(0o555)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    out.parent.chmod(0o755)
    assert done.returncode == 74, done.stderr
    assert "Permission denied; check the folder's permissions" in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_a_closed_pipe_is_no_traceback(data, out):
    done = subprocess.run(f"{BIN}/extract backbones | head -1", shell=True, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.startswith("name")


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (("--image-size", "0"), 2, "image-size"),
        (("--no-such-option",), 2, "No such option"),
        (("--max-bad", "0", "--image-size", "16"), 3, "failed"),
        (("--max-runtime", "0.000001", "--image-size", "16"), 75, "run the same command again"),
    ],
)
def test_json_has_the_exit_code_and_the_reason_whatever_they_are(command, data, out, arguments, code, reason):
    (data / "cat" / "bad.png").write_bytes(b"no image")
    use = ("--backbone", "mobilenet_v2", "--weights", "random")
    ended, output, printed = command("extract", "run", data, "--out", out, *use, *arguments, "--json")
    result = json.loads(output)
    assert ended == result["exit_code"] == code, printed
    assert reason in result["reason"]


def test_json_of_a_success_has_exit_code_zero_and_no_reason(command, data, out):
    _, output, _ = command("extract", "run", data, "--out", out, *STUB, "--json")
    result = json.loads(output)
    assert (result["exit_code"], result["reason"]) == (0, None)


def test_a_planned_stop_is_no_error(command, data, out):
    code, _, printed = command("extract", "run", data, "--out", out, *STUB, "--max-runtime", "0.000001")
    assert code == 75
    assert "error:" not in printed


@pytest.mark.parametrize(
    ("error", "code"),
    [(SystemExit(5), 5), (SystemExit("no"), 1), (SystemExit(), 0), (BrokenPipeError(), 74), (OSError("full"), 74)],
)
def test_what_ends_a_command_gives_its_exit_code(command, data, out, monkeypatch, error, code):
    def ends(*_):
        raise error

    monkeypatch.setattr(extract.run, "list_data", ends)
    assert command("extract", "run", data, "--out", out, *STUB)[0] == code


def test_a_run_whose_messages_nobody_reads_does_not_claim_success_without_its_features(data, out):
    """`extract run … 2>&1 | head -1` used to abort with exit code 0."""
    run = f"{BIN}/extract run {data} --out {out} --backbone pixels --image-size 16 2>&1"
    script = f"set -o pipefail; ( {run}; echo $? > {out}.code ) | head -1"
    subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    code = int(Path(f"{out}.code").read_text())
    complete = subprocess.run([f"{BIN}/store", "verify", out], capture_output=True, check=False).returncode == 0
    assert code == 74 or (code == 0 and complete)


@pytest.mark.parametrize(
    "environment", [{"LC_ALL": "C", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "latin-1"}, {"PYTHONIOENCODING": "ascii"}]
)
def test_what_a_terminal_cannot_show_is_escaped_and_ends_nothing(environment):
    done = real("fit", "heads", env={**os.environ, **environment})
    assert (done.returncode, done.stderr) == (0, "")
    assert "adam, sgd, rmsprop, adamw, \\u2026" in done.stdout
    assert real("fit", "hedas", env={**os.environ, **environment}).returncode == 2


def test_names_are_those_of_the_files_in_every_locale(data, out):
    (data / "cat").rename(data / "kätzchen")
    pixels = ["extract", "run", data, "--out", out, "--backbone", "pixels", "--image-size", "16"]
    done = real(*pixels, env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"})
    assert done.returncode == 0, done.stderr
    assert "k\\xe4tzchen" in done.stderr
    assert "kätzchen" in open_store(out).table()["label"].to_pylist()
    assert real(*pixels).stderr.endswith("nothing to compute\n")


def test_a_suggested_command_runs_as_printed(command, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (data / "cat" / "bad.png").write_bytes(b"no image")
    called = os.path.relpath(BIN / "extract")
    _, _, printed = command("extract", "run", "data", "--out", "my store", *STUB, as_called=called)
    suggested = re.findall("`(.*?)`", printed)
    assert suggested
    for line in dict.fromkeys(suggested):
        done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("cat/bad.png\t")


# Start-up


@pytest.mark.parametrize("arguments", [["extract", "--help"], ["extract", "backbones"], ["store", "info", "STORE"]])
def test_light_commands_import_no_tensorflow(command, data, out, arguments):
    command("extract", "run", data, "--out", out, *STUB)
    arguments = [str(out) if word == "STORE" else word for word in arguments]
    script = (
        f"import os, sys, cli; sys.argv = {arguments!r}\n"
        f"code = cli.run_app(cli.{arguments[0]}_app, '{arguments[0]}')\n"
        "print([name for name in ('tensorflow', 'keras', 'jax', 'torch') if name in sys.modules], file=sys.stderr)\n"
        "sys.stdout.flush(); os._exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == "[]\n"


def test_help_imports_nothing_heavy():
    script = (
        "import sys, cli; sys.argv = ['extract', '--help']\n"
        "cli.run_app(cli.extract_app, 'extract')\n"
        "print([name for name in ('numpy', 'pyarrow', 'PIL', 'h5py', 'dask', 'rich') if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == "[]\n"


def test_every_program_has_help_and_a_version():
    for program in ("extract", "fit", "store", "stillframe"):
        assert real(program, "--help").stdout.startswith(f"Usage: {program}")
        assert real(program).returncode == 0
        assert real(program, "--version").stdout.startswith("stillframe ")


# For real


def test_a_real_run_is_clean_on_the_terminal_and_the_same_under_jax(data, tmp_path):
    """Under TensorFlow with the keras.json of an old project, which says everything else."""
    stores = {}
    (tmp_path / "keras.json").write_text(
        '{"floatx": "float16", "epsilon": 0.1, "backend": "theano", "image_data_format": "channels_first"}'
    )
    clean = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    for backend, changed in (("tensorflow", {"KERAS_HOME": str(tmp_path)}), ("jax", {"KERAS_BACKEND": "jax"})):
        stores[backend] = tmp_path / backend
        done = real(
            "extract", "run", data, "--out", stores[backend], "--backbone", "mobilenet_v2", "--weights", "random:1",
            "--image-size", "96", "--dtype", "float32",
            env={**clean, **changed},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        assert [
            line
            for line in done.stderr.splitlines()
            if not line.startswith(
                ("2 classes", "loading", "converting", "12 images", "computed", "the network", "too short")
            )
        ] == []
    assert_same_features(stores["tensorflow"], stores["jax"])


@pytest.mark.slow
def test_a_real_run_is_the_same_under_pytorch(data, tmp_path):
    for backend in ("tensorflow", "torch"):
        done = real(
            "extract", "run", data, "--out", tmp_path / backend, "--backbone", "mobilenet_v2", "--weights", "random:1",
            "--image-size", "96", "--dtype", "float32",
            env={**os.environ, "KERAS_BACKEND": backend},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert_same_features(tmp_path / "tensorflow", tmp_path / "torch")


def assert_same_features(first, second):
    one, two = open_store(first), open_store(second)
    assert one.fingerprint == two.fingerprint
    assert one.table().equals(two.table())
    expected, found = one.arrays()[0], two.arrays()[0]
    difference = abs(expected - found).max() / (expected.max() - expected.min())
    print(f"{second.name} against {first.name}: {difference:.2e} of range")
    assert difference <= 1e-4


# --config and completion


def test_a_store_says_the_config_file_that_makes_it_again(command, data, out, tmp_path):
    asked = ("--dtype", "float32", "--augment", "2", "--rotation", "5", "--background", "red")
    assert command("extract", "run", data, "--out", out, *STUB, *asked, "--compression", "lz4")[0] == 0
    code, config, _ = command("store", "info", out, "--config")
    assert code == 0
    (tmp_path / "made.toml").write_text(config)
    assert command("extract", "run", "--config", tmp_path / "made.toml", "--out", tmp_path / "again")[0] == 0
    assert open_store(tmp_path / "again").snapshot.info == open_store(out).snapshot.info


def test_the_command_line_wins_over_a_config_file(command, data, out, tmp_path):
    (tmp_path / "job.toml").write_text(
        f'out = "{out}"\nlimit = 3\n[extract.run]\nbackbone = "mobilenet_v2"\nweights = "random"\nimage-size = 16\n'
    )
    assert command("extract", "run", data, "--config", tmp_path / "job.toml", "--limit", "5")[0] == 0
    assert len(open_store(out)) == 5


@pytest.mark.parametrize(
    ("text", "code"),
    [('include = "*.png"', 0), ("limit = [1]", 2), ("limit = true", 2), ("prune = 1", 2), ("json = true", 2)],
)
def test_values_of_a_config_file_are_of_the_options_kind(command, data, out, tmp_path, text, code):
    (tmp_path / "job.toml").write_text(f"{text}\n")
    assert command("extract", "run", data, "--out", out, *STUB, "--config", tmp_path / "job.toml")[0] == code


def test_a_wrong_config_file_is_one_clean_line(command, data, tmp_path):
    (tmp_path / "job.toml").write_text("limt = 3\n")
    code, output, printed = command("extract", "run", data, "--config", tmp_path / "job.toml", "--json")
    assert (code, json.loads(output)["exit_code"]) == (2, 2)
    assert one_line(printed)
    assert "did you mean limit?" in printed


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("extract run --backbone inception_v", ["inception_v1", "inception_v3", "inception_v4"]),
        ("extract run --pooling a", ["avg"]),
        ("extract layers mobilenet_v3", ["mobilenet_v3_large", "mobilenet_v3_small"]),
        ("fit head --head lin", ["linear", "linear_svm"]),
    ],
)
def test_a_shell_completes_values(words, offered):
    program, count = words.split()[0], len(words.split()) - 1
    shell = {f"_{program.upper()}_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(count)}
    assert real(program, env={**os.environ, **shell}).stdout.split() == offered
