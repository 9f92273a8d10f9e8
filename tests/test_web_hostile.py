"""Uploads that mean harm, or are broken: each is refused with a sentence, and the next good picture works."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import PIL.Image
import psutil
import pytest

from tests.serving import Server, Visitor, picture

MOST_MEMORY = 1.5e9
FLIPPED = 100
SIDE = 48


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("web") / "data", max_jobs_per_client=100, max_waiting=200)
    yield server
    server.stop()


def saved(image: PIL.Image.Image, format: str, **more: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **more)
    return stream.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, depth: int = 8, colour: int = 2, rows: bytes = b"", more: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = zlib.compress(rows, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def many_samples() -> bytes:
    """A 16-bit TIFF of 40x40 pixels and 65535 samples each, all strips of which are the same bytes."""
    entries = [
        (256, 3, 1, 40), (257, 3, 1, 40), (258, 3, 1, 16), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8),
        (277, 3, 1, 65_535), (278, 3, 1, 40), (279, 4, 1, 400), (284, 3, 1, 1),
    ]  # fmt: skip
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<I", 408) + bytes(400) + struct.pack("<H", len(entries)) + packed + bytes(4)


def refused() -> dict[str, bytes]:
    """Name -> upload; none can be restored."""
    good = {name: picture(SIDE, format=name) for name in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")}
    found = {"empty": b"", "one byte": b"\xff", "spaces": b" " * 1000, "text": b"hello " * 99, "html": b"<html>" * 50}
    for name, data in good.items():
        shares = (0.02, 0.3, 0.7) if name in ("PNG", "WEBP") else (0.02, 0.3)
        for share in shares:
            found[f"{name} cut at {share}"] = data[: max(1, int(len(data) * share))]
    found |= {
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        "pdf": b"%PDF-1.7\n1 0 obj\n<</Type/Catalog>>\nendobj\n%%EOF",
        "zip": b"PK\x03\x04" + bytes(200),
        "script": b"#!/bin/sh\nrm -rf /\n",
        "elf": b"\x7fELF" + bytes(500),
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) run\n",
        "ico": saved(PIL.Image.new("RGB", (32, 32)), "ICO"),
        "ppm": saved(PIL.Image.new("RGB", (32, 32)), "PPM"),
        "psd": b"8BPS\x00\x01" + bytes(6) + struct.pack(">HIIHH", 3, 9, 9, 8, 3) + bytes(200),
        "gif header alone": b"GIF89a",
        "png signature alone": b"\x89PNG\r\n\x1a\n",
        "gif that is a script": b"GIF89a/*" + bytes(4) + b"*/=1;alert(1)//",
        "jpeg that is a page": b"\xff\xd8\xff\xe0<html><script>alert(1)</script></html>\xff\xd9",
        "zip after a cut png": good["PNG"][:300] + b"PK\x03\x04" + bytes(300),
        "png in a jpeg's clothes": b"\xff\xd8\xff" + good["PNG"],
        "no height": png(40, 0),
        "no width": png(0, 40),
        "2 ** 31 wide": png(2**31 - 1, 1),
        "huge": png(60_000, 60_000),
        "bomb of zeros": png(12_000, 12_000, rows=bytes(3 * 12_000 * 500)),
        "bomb of one bit": png(40_000, 40_000, 1, 0, rows=bytes(5_001 * 1_000)),
        "just too large": saved(PIL.Image.new("L", (2_000, 1_001)), "PNG"),
        "rows missing": png(300, 300, rows=bytes(100)),
        "bomb in a profile": png(
            40, 40, rows=bytes(121 * 40)[:99], more=chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(50_000_000), 9))
        ),
        "bomb in a text": png(
            40, 40, rows=bytes(99), more=chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50_000_000), 9))
        ),
        "gif of 60000": b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + b"\0\0\0,\0\0\0\0" + b"\x60\xea\x60\xea\0\2\0",
        "webp of 16383": b"RIFF" + struct.pack("<I", 30) + b"WEBPVP8L" + struct.pack("<I", 10) + b"\x2f"
        + struct.pack("<I", 16382 | 16382 << 14) + bytes(9),
        "bmp of 30000": b"BM"
        + struct.pack("<IHHIIIIHHIIIIII", 9_999, 0, 0, 54, 40, 30_000, 30_000, 1, 24, 0, 0, 0, 0, 0, 0),
        "bmp upside down": b"BM" + struct.pack("<IHHIIiiHHIIIIII", 99, 0, 0, 54, 40, -5, -5, 1, 24, 0, 0, 0, 0, 0, 0),
        "tiff without an end": b"II*\0\x08\0\0\0" + b"\xff\xff" + bytes(100),
        "tiff in a ring": b"II*\0\x08\0\0\0" + struct.pack("<H", 0) + struct.pack("<I", 8),
        "tiff of 65535": saved(PIL.Image.new("1", (8, 8)), "TIFF").replace(
            struct.pack("<HHII", 256, 4, 1, 8), struct.pack("<HHII", 256, 4, 1, 4_000_000)
        ),
        "tiff of many samples": many_samples(),
        "floats": saved(PIL.Image.fromarray(np.zeros((40, 40), np.float32)), "TIFF"),
        "jpeg of 65500": picture(SIDE, format="JPEG").replace(
            struct.pack(">HBHH", 17, 8, SIDE, SIDE), struct.pack(">HBHH", 17, 8, 65_500, 65_500)
        ),
        "jpeg without size": picture(SIDE, format="JPEG").replace(
            struct.pack(">HBHH", 17, 8, SIDE, SIDE), struct.pack(">HBHH", 17, 8, 0, 0)
        ),
        "mp4": b"\0\0\0\x18ftypmp42" + bytes(300),
        "jpeg 2000": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(300),
        "tar": b"a.png" + bytes(252) + b"ustar\x0000" + bytes(600),
        "jpeg with its end first": b"\xff\xd8\xff\xd9" + good["JPEG"][2:],
        "avif cut": saved(PIL.Image.new("RGB", (40, 40)), "AVIF")[:150],
        "noise": np.random.default_rng(1).bytes(5_000),
        "noise after a png's beginning": good["PNG"][:60] + np.random.default_rng(2).bytes(3_000),
        "noise after a jpeg's beginning": good["JPEG"][:30] + np.random.default_rng(3).bytes(3_000),
    }  # fmt: skip
    return found


REFUSED = refused()


def memory(server: Server) -> int:
    """Of the server and all its processes, pages that they share counted once."""
    processes = [psutil.Process(server.process.pid), *psutil.Process(server.process.pid).children(recursive=True)]
    return sum(process.memory_full_info().pss for process in processes)


def check(visitor: Visitor, data: bytes, name: str) -> None:
    for path in ("diagnose", "jobs"):
        answer = visitor.session.post(f"{visitor.url}/{path}", files={"picture": (name, data)}, timeout=90)
        if path == "diagnose" and answer.status_code == 200:  # what is left of it is looked at
            assert "the file is truncated" in answer.json()["words"] or "the file is damaged" in answer.json()["words"]
            continue
        assert 400 <= answer.status_code < 500, (name, path, answer.status_code, answer.text)
        sentence = answer.json()["error"]
        assert 10 < len(sentence) < 400
        assert "\n" not in sentence
        assert "Traceback" not in sentence
        assert "--" not in sentence, "no flags of the command line"


def test_sixty_uploads_are_refused_and_the_next_good_one_works(server: Server) -> None:
    assert len(REFUSED) >= 60
    visitor = Visitor(server)
    for name, data in REFUSED.items():
        check(visitor, data, name)
    assert memory(server) < MOST_MEMORY
    assert visitor.get("jobs").json()["jobs"] == []
    works(visitor)


def works(visitor: Visitor) -> None:
    id = visitor.start(picture(), {"num_epochs": 0, "scale": 2})
    assert visitor.until(id, "done", "failed")["state"] == "done"
    visitor.delete(id)


def test_kinds_that_are_unusual_but_good_are_taken(server: Server) -> None:
    visitor = Visitor(server)
    grey = (np.random.default_rng(0).random((40, 44)) * 65535).astype(np.uint16)
    frames = [PIL.Image.new("RGB", (40, 40), colour) for colour in ("red", "green", "blue")]
    for data in (
        saved(PIL.Image.fromarray(grey), "PNG"),
        saved(PIL.Image.new("CMYK", (40, 40), (10, 200, 30, 40)), "JPEG"),
        saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        picture() + b"PK\x03\x04<script>alert(1)</script>",  # read as the picture that it is, and never shown as more
    ):
        id = visitor.start(data, {"num_epochs": 0, "scale": 2})
        assert visitor.until(id, "done", "failed")["state"] == "done"
        shown = visitor.get(f"jobs/{id}/views/after")
        assert shown.headers["Content-Type"] == "image/png"
        assert b"script" not in shown.content
        visitor.delete(id)


def test_names_are_only_words(server: Server) -> None:
    visitor = Visitor(server)
    for name in ("../../etc/passwd", "C:\\x\\y.png", "a\nb.png", "x" * 5_000 + ".png", "<script>.png", "\u202egnp.exe"):
        answer = visitor.session.post(
            f"{visitor.url}/jobs",
            files={"picture": (name, picture())},
            data={"settings": '{"num_epochs": 0, "scale": 2}'},
            timeout=60,
        )
        assert answer.status_code == 202, answer.text
        job = visitor.until(answer.json()["id"], "done")
        assert len(job["name"]) <= 80
        assert not set("/\\\n\u202e") & set(job["name"])
        header = visitor.get(f"jobs/{job['id']}/result").headers["Content-Disposition"]
        assert header.startswith("attachment")
        visitor.delete(job["id"])


def test_a_hundred_flipped_bytes(server: Server) -> None:
    """What still is a picture may be taken, but nothing fails."""
    visitor = Visitor(server)
    rng = np.random.default_rng(0)
    good = [picture(SIDE, format=name) for name in ("PNG", "JPEG", "WEBP", "GIF", "TIFF")]
    for number in range(FLIPPED):
        data = bytearray(good[number % len(good)])
        for place in rng.integers(len(data), size=3):
            data[place] ^= int(rng.integers(1, 256))
        answer = visitor.session.post(f"{visitor.url}/diagnose", files={"picture": ("a", bytes(data))}, timeout=90)
        assert answer.status_code in (200, 422), (number, answer.text)
    assert memory(server) < MOST_MEMORY
    works(visitor)


def test_requests_that_are_no_uploads(server: Server) -> None:
    visitor = Visitor(server)
    url = f"{visitor.url}/jobs"
    post = visitor.session.post
    big = os.urandom(1_200_000)
    for answer, status in (
        (post(url, data=b"x", timeout=9), 415),
        (post(url, json={}, timeout=9), 415),
        (post(url, files={"other": b"x"}, timeout=9), 400),
        (post(url, files={"picture": b"x"}, data={"more": "1"}, timeout=9), 400),
        (post(url, files=[("picture", picture()), ("picture", picture())], timeout=9), 400),
        (post(url, files={"picture": picture()}, data={"settings": "{" * 50_000}, timeout=9), 422),
        (post(url, files={"picture": picture()}, data={"settings": "x" * 500_000}, timeout=9), 413),
        (post(url, files={"picture": big}, timeout=9), 413),
        (post(url, files={str(n): b"x" for n in range(40)}, timeout=9), 400),
        (post(url, files={str(n): b"x" for n in range(2_000)}, timeout=9), 413),
        (visitor.session.put(url, timeout=9), 405),
        (visitor.get("jobs/" + "a" * 3_000), 404),
        (visitor.get("jobs/..%2f..%2fjobs.sqlite"), 404),
        (visitor.get("nothing"), 404),
    ):
        assert answer.status_code == status, answer.text
        assert len(answer.json()["error"]) > 10
