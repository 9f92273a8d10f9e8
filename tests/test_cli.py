"""The command line, in its own process where the process matters."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from conftest import QUICK_FLAGS

from zssr.cli import main
from zssr.files import load, save
from zssr.image import Image


@pytest.fixture
def folder(tmp_path: Path, picture: Image, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save(picture, "a.png")
    return tmp_path


def run(*arguments: str) -> int:
    scale = (
        []
        if {"--scale", "--size", "--scale-factor", "--config"} & {a.split("=")[0] for a in arguments}
        else ["--scale", "2"]
    )
    return main([*arguments, *scale, *QUICK_FLAGS])


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_default_output_and_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("a.png") == 0
    assert names(folder) == {"a.png", "a_x2.png"}
    assert load("a_x2.png").size == (128, 144)
    out, err = capsys.readouterr()
    assert out.startswith("a.png -> a_x2.png  144x128, ")
    assert "agrees with the input to 0." in out
    assert out.count("\n") == 1
    assert (
        err
        == "a.png: too small, or too much of it black or white, to read how it was made smaller: taken for bicubic\n"
    )


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["--scale", "3"], "a_x3.png"),
        (["--scale", "1.5"], "a_x1.5.png"),
        (["--scale", "2,3"], "a_x2x3.png"),
        (["--size", "100x"], "a_100x89.png"),
        (["--format", "webp"], "a_x2.webp"),
        (["--format", "same"], "a_x2.png"),
        (["-o", "sub/b.jpg"], "sub/b.jpg"),
        (["-o", "b", "--format", "tiff"], "b.tiff"),
        (["-o", "new/"], "new/a_x2.png"),
        (["-o", "b.tif"], "b.tif"),
    ],
)
def test_output_names(folder: Path, arguments: list[str], name: str) -> None:
    assert run("a.png", *arguments) == 0
    assert names(folder) == {"a.png", name}
    PIL.Image.open(name).load()


def test_existing_outputs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a_x2.png").write_bytes(b"mine")
    assert run("a.png") == 1
    assert "a_x2.png: exists already; use --overwrite or --skip-existing" in capsys.readouterr().err
    assert run("a.png", "--skip-existing") == 0
    assert Path("a_x2.png").read_bytes() == b"mine"
    assert run("a.png", "--overwrite") == 0
    assert load("a_x2.png").size == (128, 144)


def test_sidecar_and_base64(folder: Path) -> None:
    assert run("a.png", "--sidecar", "--base64", "--seed", "4") == 0
    sidecar = json.loads(Path("a_x2.json").read_text())
    assert sidecar["seed"] == 4
    assert sidecar["settings"]["model_width"] == 8
    assert base64.b64decode(Path("a_x2.base64").read_bytes()) == Path("a_x2.png").read_bytes()


def test_folders_keep_their_tree(folder: Path, picture: Image, capsys: pytest.CaptureFixture[str]) -> None:
    Path("in/deep").mkdir(parents=True)
    for name in ("in/a.png", "in/deep/b.jpg"):
        save(picture, name)
    Path("in/notes.txt").write_text("no picture")
    assert run("in", "-o", "out") == 0
    assert {name for name in names(folder) if name.startswith("out")} == {"out/a_x2.png", "out/deep/b_x2.png"}
    assert run("in") == 0
    assert run("in", "--skip-existing") == 0  # its own outputs are not inputs
    save(picture, "other/c.png")
    assert run("other", "-o", "other/made") == 0
    assert run("other", "-o", "other/made", "--skip-existing") == 0
    assert not any("x2_x2" in name for name in names(folder))


def test_globs_that_the_shell_left(folder: Path, picture: Image) -> None:
    save(picture, "b.png")
    assert run("[ab].png", "-o", "out/") == 0
    assert {"out/a_x2.png", "out/b_x2.png"} <= names(folder)
    assert run("*.xyz") == 1


def test_one_failure_does_not_stop_the_rest(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.png").write_bytes(b"nothing")
    assert run("broken.png", "missing.png", "a.png") == 1
    assert "a_x2.png" in names(folder)
    err = capsys.readouterr().err
    assert "1 done, 2 failed" in err
    assert "broken.png: not a picture" in err
    assert "missing.png: no such file" in err


def test_a_folder_with_broken_pictures(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(0)
    Path("in").mkdir()
    for number in range(100):
        stream = io.BytesIO()
        samples = rng.integers(0, 256, (9, 12, 3), np.uint8)
        PIL.Image.fromarray(samples).save(stream, "PNG" if number % 2 else "JPEG")
        data = stream.getvalue()
        Path(f"in/{number:02}.{'png' if number % 2 else 'jpg'}").write_bytes(
            data[: len(data) // 2] if number % 10 == 3 else data
        )
    assert main(["in", "-o", "out"]) == 1
    made = {int(Path(name).name[:2]) for name in names(folder) if name.startswith("out")}
    assert made == {number for number in range(100) if number % 10 != 3}
    err = capsys.readouterr().err
    assert "90 done, 10 failed" in err
    assert err.count("truncated or corrupt") == 20  # when it fails, and at the end


def test_two_inputs_of_one_stem(folder: Path, picture: Image) -> None:
    for name in ("b.png", "c/b.jpg"):
        save(picture, name)
    plain = ["--num-epochs", "0", "--skip-existing"]
    assert main([".", "--scale", "2", *plain]) == 0
    save(picture, "a.jpg")
    for _ in range(2):  # earlier results are no inputs, under either name
        assert main([".", "--scale", "2", *plain]) == 0
        assert {name for name in names(folder) if "x2" in name} == {
            "a_x2.png", "a_png_x2.png", "a_jpg_x2.png", "b_x2.png", "c/b_x2.png",
        }  # fmt: skip
    assert main(["b.png", "c/b.jpg", "-o", "out/", *plain]) == 0
    assert {"out/b_png_repaired.png", "out/b_jpg_repaired.png"} <= names(folder)


def test_same_name_in_two_folders(folder: Path, picture: Image, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("d1/a.png", "d2/a.png"):
        save(picture, name)
    assert run("d1/a.png", "d2/a.png", "-o", "out", "--overwrite") == 1
    assert "out/a_x2.png is the output of d1/a.png too" in capsys.readouterr().err
    save(picture, "d1/a.jpg")
    assert run("d1", "-o", "sides", "--format", "same", "--sidecar", "--overwrite") == 0
    assert {"sides/a_png_x2.png", "sides/a_png_x2.json", "sides/a_jpg_x2.jpg", "sides/a_jpg_x2.json"} <= names(folder)


def test_names_that_are_too_long(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("x" * 300 + ".png") == 1
    os.rename("a.png", "y" * 250 + ".png")
    assert run("y" * 250 + ".png") == 1
    err = capsys.readouterr().err
    assert err.count("too long") == 2
    assert "Traceback" not in err


def test_flags_overrule_switches_of_the_file(folder: Path) -> None:
    Path("config.json").write_text(json.dumps({"sidecar": True, "overwrite": True, "ensemble": False}))
    assert run("a.png", "--config", "config.json", "--scale", "2", "--no-sidecar", "--skip-existing", "--ensemble") == 0
    assert names(folder) == {"a.png", "a_x2.png", "config.json"}


def test_format_limits_are_known_before_the_work(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    PIL.Image.new("L", (600, 20)).save("wide.png")
    assert main(["wide.png", "--scale", "1,32", "--format", "webp"]) == 1
    assert "webp holds at most 16383" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "no input"),
        (["a.png", "--scale", "0.5"], "smaller than 1"),
        (["a.png", "--scal", "4"], "did you mean --scale"),
        (["a.png", "--quality", "bset"], "did you mean 'best'"),
        (["a.png", "--seed", "x"], "not a whole number"),
        (["a.png", "-o", "b.xyz"], "does not write .xyz"),
        (["a.png", "-o", "b.png", "--format", "jpg"], "its name says png"),
        (["a.png", "a.png", "b.png", "-o", "c.png"], "need a folder"),
        (["a.png", "--config", "missing.json"], "no such config file"),
        (["a.png", "--kernel", "nothing.mat"], "no such kernel file"),
        (["a.png", "a.png", "--kernel", "missing.npy"], "no such kernel file"),
        (["a.png", "--seed", "1" + 400 * "0"], "seed"),
        (["a.png", "--scale", "1e30000000"], "must be a number"),
        (["a.png", "--size", "10x10"], "smaller than the picture"),
        (["a.png", "--overwrite", "--skip-existing"], "choose one"),
        (["a.png", "-o", "-", "--sidecar"], "output file"),
    ],
)
def test_bad_usage(folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str) -> None:
    try:
        code = main(arguments)
    except SystemExit as exit:  # argparse's way
        code = exit.code  # type: ignore[assignment]
    err = capsys.readouterr().err
    assert code == 2
    assert complaint in err
    assert err.count("\n") == 1
    assert names(folder) == {"a.png"}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["missing.png"], "no such file"),
        (["a.png", "--max-MB", "0.0001"], "limit"),
        (["a.png", "--max-pixels", "10"], "limit"),
        (["a.png", "--device", "meta"], "is not there"),
        (["a.png", "--device", "cuda:7"], "device 'cuda:7' is not there"),
        (["a.png", "-o", "a.png/b.png"], "not a folder"),
        (["empty"], "no pictures in this folder"),
    ],
)
def test_refusals(folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str) -> None:
    Path("empty").mkdir()
    assert main(arguments) == 1
    assert complaint in capsys.readouterr().err
    assert names(folder) == {"a.png"}


def test_disk_that_is_too_small(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(100, 90, 10))  # type: ignore[attr-defined]
    assert main(["a.png"]) == 1
    assert "of disk" in capsys.readouterr().err


def test_dry_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["a.png", "--scale", "4", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "72x64 -> 108x96 -> 144x128 -> 216x192 -> 288x256" in out
    assert "memory" in out
    assert names(folder) == {"a.png"}


def test_config_names_the_input(folder: Path) -> None:
    Path("config.json").write_text(json.dumps({"image": "a.png", "output": "b.png", "scale_factor": 3}))
    assert run("--config", "config.json") == 0
    assert load("b.png").size == (192, 216)


def test_quiet_says_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("a.png", "-q") == 0
    assert capsys.readouterr() == ("", "")


def command(*arguments: str) -> list[str]:
    scale = [] if "--scale" in arguments else ["--scale", "2"]
    return [sys.executable, "-m", "zssr", *arguments, *scale, *QUICK_FLAGS]


def test_standard_input_and_output(folder: Path) -> None:
    data = Path("a.png").read_bytes()
    done = subprocess.run(command("-", "--format", "tiff"), input=data, capture_output=True, check=True)
    assert np.array(PIL.Image.open(io.BytesIO(done.stdout))).shape == (128, 144, 3)
    assert b"standard input -> standard output" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_leaves_nothing(folder: Path, number: int, code: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "zssr", "a.png", "--scale", "2", "--num-epochs", "1000000", "-v"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while "memory" not in process.stderr.readline():  # the plan is printed when work begins
        pass
    time.sleep(1)
    process.send_signal(number)
    assert process.wait(20) == code
    assert "Traceback" not in process.stderr.read()
    assert names(folder) == {"a.png"}


@pytest.mark.skipif(os.name == "nt", reason="terminals of POSIX")
def test_bars_on_a_terminal_only(folder: Path) -> None:
    import fcntl
    import pty
    import struct
    import termios

    parent, child = pty.openpty()
    fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    shutil.copy("a.png", "b.png")
    process = subprocess.Popen(command("a.png", "b.png"), stderr=child, stdout=subprocess.DEVNULL)
    os.close(child)
    shown = ""
    with contextlib.suppress(OSError):  # how the end of a terminal reads
        while part := os.read(parent, 10_000):
            shown += part.decode()
    assert process.wait(60) == 0
    assert shown.startswith("2 pictures")
    assert "1/2" in shown
    assert "learning" in shown
    assert "applying" in shown
    assert "left" in shown


def test_help_names_every_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["-h"])
    text = capsys.readouterr().out
    from zssr.settings import specs

    for spec in specs().values():
        assert all(flag in text for flag in spec.flags)
    assert max(len(line) for line in text.splitlines()) <= 110


def test_evaluate(folder: Path, scene: object, capsys: pytest.CaptureFixture[str]) -> None:
    Path("truth").mkdir()
    shutil.copy("a.png", "truth/a.png")
    assert main(["evaluate", "truth", "--scale", "2", "--json", "out.json", "--save", "made", *QUICK_FLAGS]) == 0
    out = capsys.readouterr().out
    assert "mean of 1" in out
    figures = json.loads(Path("out.json").read_text())
    assert figures["mean"]["psnr"] > 10
    assert main(["evaluate", "--results", "made", "--truth", "truth", "--scale", "2", "--json", "again.json"]) == 0
    again = json.loads(Path("again.json").read_text())
    assert again["mean"]["psnr"] == pytest.approx(figures["mean"]["psnr"], abs=1e-9)
    assert again["mean"]["ssim"] == pytest.approx(figures["mean"]["ssim"], abs=1e-9)
    before = Path("truth/a.png").read_bytes()
    for arguments in (["--save", "truth"], ["--save", "made"], ["--json", "out.json"]):
        assert main(["evaluate", "truth", "--scale", "2", *arguments, *QUICK_FLAGS]) == 1
    assert Path("truth/a.png").read_bytes() == before
    assert main(["evaluate", "truth", "--results", "made"]) == 2
    assert main(["evaluate", "nowhere", "--scale", "2"]) == 1
    assert main(["evaluate", "truth"]) == 2
    assert main(["evaluate", "truth", "--scale", "1"]) == 2


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="peak memory of a child as POSIX tells it")
def test_twelve_megapixels_fit_into_4_gb(folder: Path) -> None:
    """Minutes long: 4000x3000 enlarged to 8000x6000 in tiles; memory does not depend on the training steps."""
    import resource

    grain = np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)
    PIL.Image.fromarray(grain).resize((4000, 3000), PIL.Image.Resampling.BICUBIC).save("large.png")
    subprocess.run([sys.executable, "-m", "zssr", "large.png", "--scale", "2", "--num-epochs", "20", "-q"], check=True)
    assert PIL.Image.open("large_x2.png").size == (8000, 6000)
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 4_000_000  # kB
