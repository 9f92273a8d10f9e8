"""Files are read in a process of their own."""

from __future__ import annotations

import contextlib
import io
import random
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

import numpy as np
import PIL.Image
import pytest
from scipy.io import savemat

import zssr
from tests.conftest import PICTURES
from zssr.damages.downscale import read_kernel
from zssr.errors import KernelError, PictureError
from zssr.files import apart
from zssr.files.apart import BrokenFileError, read_apart

JPEG = (PICTURES / "cat_compressed.jpg").read_bytes()


def test_coefficients_are_those_of_the_file() -> None:
    read = read_apart("coefficients", JPEG)
    assert sorted(read) == ["coefficients0", "coefficients1", "coefficients2", "samplings", "tables"]
    assert read["coefficients0"].shape == (38, 57, 8, 8)
    assert read["tables"].shape == (3, 64)
    assert read["samplings"].tolist() == [[2, 2], [1, 1], [1, 1]]


def test_what_is_wrong_is_said_and_the_process_lives_on() -> None:
    with pytest.raises(BrokenFileError):
        read_apart("coefficients", b"no picture")
    running = apart._process._running
    assert running is not None
    with pytest.raises(BrokenFileError):
        read_apart("npy", b"")
    assert read_apart("coefficients", JPEG)
    assert apart._process._running is running


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="needs alarms")
def test_a_reader_that_dies_or_hangs_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "SECONDS", 1e-4)
    with pytest.raises(BrokenFileError, match="not read within"):
        read_apart("coefficients", JPEG)
    monkeypatch.undo()
    assert read_apart("coefficients", JPEG)
    assert apart._process._running is not None
    apart._process._running.kill()
    apart._process._running.wait()
    assert read_apart("coefficients", JPEG)


def kill_while_reading(monkeypatch: pytest.MonkeyPatch, times: int) -> list[int]:
    """Has the process die of the next requests; the list that is returned grows by one for each."""
    send, deaths = apart._send, []

    def die(stream: IO[bytes], values: Sequence[object]) -> None:
        if len(deaths) < times and values[0] == apart.SECONDS:
            assert apart._process._running is not None
            deaths.append(apart._process._running.pid)
            apart._process._running.kill()
            apart._process._running.wait()
        send(stream, values)

    monkeypatch.setattr(apart, "_send", die)
    return deaths


def test_a_file_that_crashes_its_decoder_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gets a second process, as a file before it may have written over the memory of the first."""
    path = tmp_path / "x.jpg"
    path.write_bytes(JPEG)
    assert zssr.load(path)
    deaths = kill_while_reading(monkeypatch, 2)
    with pytest.raises(PictureError) as caught:
        zssr.load(path)
    assert str(caught.value) == f"{path}: truncated or corrupt file (the decoder crashed on it)"
    assert len(set(deaths)) == 2
    assert zssr.load(path).jpeg is not None
    kill_while_reading(monkeypatch, 1)
    assert zssr.load(path).jpeg is not None


def test_what_libraries_print_is_not_seen(capfd: pytest.CaptureFixture[str]) -> None:
    scan = io.BytesIO()
    PIL.Image.open(PICTURES / "cat.png").convert("1").save(scan, "TIFF", compression="group4")
    data = bytearray(scan.getvalue())
    data[200:260] = bytes(60)
    with contextlib.suppress(PictureError):
        zssr.load(bytes(data))
    said(lambda: zssr.load(JPEG[: len(JPEG) // 2]))
    assert capfd.readouterr() == ("", "")


def test_no_process_is_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: object, **options: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    apart._process.close()
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", refused)
        apart.start()
        with pytest.raises(PictureError, match="no process could be started"):
            zssr.load(JPEG)
    assert zssr.load(JPEG)


def test_a_picture_whose_coefficients_cannot_be_read_is_read_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(reader: str, *arguments: bytes | int) -> Mapping[str, object]:
        if reader == "coefficients":
            raise BrokenFileError("damaged")
        return read_apart(reader, *arguments)

    monkeypatch.setattr("zssr.files.reading.read_apart", broken)
    image = zssr.load(PICTURES / "cat_compressed.jpg")
    assert image.jpeg is None
    assert any("coefficients cannot be read" in note for note in image.notes)


def mutated(data: bytes, rng: random.Random) -> bytes:
    """With bytes changed, cut off, or taken from elsewhere."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 3, 20])):
        out[rng.randrange(len(out))] = rng.randrange(256)
    if rng.random() < 0.2:
        out = out[: rng.randrange(1, len(out))]
    if rng.random() < 0.2:
        at, length = rng.randrange(len(out)), rng.randrange(1, 200)
        out[at:at] = out[: min(length, len(out))]
    return bytes(out)


def said(read: Callable[[], object]) -> str:
    """What is wrong; empty where it can be read."""
    try:
        read()
    except (KernelError, PictureError) as error:
        return str(error)
    return ""


def test_mutated_pictures(tmp_path: Path) -> None:
    rng = random.Random(0)
    path = tmp_path / "a.jpg"
    small = io.BytesIO()
    PIL.Image.open(PICTURES / "cat.png").convert("RGB").resize((70, 50)).save(small, "JPEG", quality=60)
    for _ in range(300):
        path.write_bytes(mutated(small.getvalue(), rng))
        assert "\n" not in said(lambda: zssr.load(path))


@pytest.mark.parametrize("suffix", [".mat", ".npy", ".txt", ".png"])
def test_mutated_kernels(suffix: str, tmp_path: Path) -> None:
    rng = random.Random(1)
    weights = np.outer([1, 2, 1], [1, 3, 1]) / 20
    path = tmp_path / f"kernel{suffix}"
    if suffix == ".mat":
        savemat(path, {"Kernel": weights})
    elif suffix == ".npy":
        np.save(path, weights)
    elif suffix == ".txt":
        np.savetxt(path, weights)
    else:
        PIL.Image.fromarray((weights * 1000).astype(np.uint8)).save(path)
    data = path.read_bytes()
    assert read_kernel(str(path)) is not None
    for _ in range(150):
        path.write_bytes(mutated(data, rng))
        assert "\n" not in said(lambda: read_kernel(str(path)))


def test_an_interrupted_read_does_not_answer_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    small = io.BytesIO()
    PIL.Image.open(PICTURES / "cat.png").convert("RGB").resize((64, 48)).save(small, "JPEG", quality=60)

    def interrupted(stream: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(apart, "_received", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read_apart("coefficients", JPEG)
    monkeypatch.undo()
    assert read_apart("coefficients", small.getvalue())["coefficients0"].shape == (6, 8, 8, 8)


def test_nothing_is_imported_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("print('here')")
    monkeypatch.chdir(tmp_path)
    apart._process.close()
    assert read_apart("coefficients", JPEG)["tables"].shape == (3, 64)


def test_nothing_is_left_of_a_picture_whose_reader_died() -> None:
    read_apart("coefficients", JPEG)
    scratch = Path(apart._process._scratch)
    assert scratch.is_dir()
    assert not list(scratch.iterdir())
    (scratch / "picture.jpg").write_bytes(JPEG)
    apart._process.close()
    assert not scratch.exists()
    read_apart("coefficients", JPEG)
    scratch, running = Path(apart._process._scratch), apart._process._running
    assert running is not None
    assert running.stdin is not None
    running.stdin.close()  # as if this process were killed
    assert running.wait(10) == 0
    assert not scratch.exists()
