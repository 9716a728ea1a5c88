"""The user's own pictures: one picture of any kind, and folders of them."""

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import unicodedata
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin
from ruamel.yaml import YAML

from cnnlab.core import params, schema
from cnnlab.core.errors import UserError
from cnnlab.core.split import stratified_split
from cnnlab.core.text import is_plain, printable
from cnnlab.data import fetch, files, pictures
from cnnlab.data.files import walk
from cnnlab.data.folder import read_folder
from cnnlab.data.pictures import PictureError, read_picture, to_pixels
from stages import check
from tests.project_copy import commit, copy_project, git

ROOT = Path(__file__).parent.parent
SIZE = 28


def saved(image: Image.Image, kind: str = "PNG", **more) -> io.BytesIO:
    out = io.BytesIO()
    image.save(out, kind, **more)
    out.seek(0)
    return out


def values(picture: Image.Image) -> list:
    return np.asarray(picture).tolist()


def png(bits: int, colour: int, row: bytes, width: int, height: int = 1, **chunks: bytes) -> io.BytesIO:
    """A PNG with one row of raw samples, for the kinds that Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    extra = b"".join(chunk(name.encode(), data) for name, data in chunks.items())
    body = chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + header + extra + body)


# --- One picture


@pytest.mark.parametrize(
    "mode", ["1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F", "LA", "PA", "I;16", "I;16B"]
)
def test_every_mode_becomes_eight_bit_grey_or_colour(mode):
    picture = read_picture(saved(Image.new(mode, (5, 4)), "TIFF"))
    assert picture.mode in ("L", "RGB")
    assert picture.size == (5, 4)
    for wanted, channels in (("grey", 1), ("rgb", 3)):
        pixels = to_pixels(picture, SIZE, wanted)
        assert (pixels.shape, pixels.dtype) == ((channels, SIZE, SIZE), np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_to_eight(kind):
    deep = np.array([[0, 128, 129, 257, 32768, 65407, 65535]], np.uint16)
    picture = read_picture(saved(Image.fromarray(deep), kind))
    assert picture.mode == "L"
    assert values(picture) == [[0, 0, 1, 1, 128, 255, 255]]


def test_sixteen_bits_of_the_other_byte_order_are_scaled_alike():
    deep = np.array([[0, 257, 65535]], np.uint16)
    big = Image.frombytes("I;16B", (3, 1), deep.astype(">u2").tobytes())
    assert values(read_picture(saved(big, "TIFF"))) == [[0, 1, 255]]


def test_sixteen_bit_colour_is_scaled_to_eight():
    row = struct.pack(">6H", 65535, 0, 32896, 257, 514, 771)
    assert values(read_picture(png(16, 2, row, 2))) == [[[255, 0, 128], [1, 2, 3]]]


def test_fractions_are_scaled_and_other_numbers_refused():
    def tiff(*numbers: float, kind: type = np.float32) -> io.BytesIO:
        return saved(Image.fromarray(np.array([numbers], kind)), "TIFF")

    assert values(read_picture(tiff(0, 0.5, 1))) == [[0, 128, 255]]
    for wrong in (
        tiff(0, 255),
        tiff(0, np.nan),
        tiff(0, np.inf),
        tiff(-1, 0),
        tiff(0, 70_000, kind=np.int32),
    ):
        with pytest.raises(PictureError, match=r"grey values from .* are allowed"):
            read_picture(wrong)


def test_cmyk_becomes_rgb():
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    for kind in ("TIFF", "JPEG"):
        red, green, blue = values(read_picture(saved(cmyk, kind)))[0][0]
        assert red > 250
        assert max(green, blue) < 5


def test_transparency_is_laid_on_white_and_reported():
    image = Image.new("RGBA", (3, 1))
    image.putdata([(255, 0, 0, 255), (255, 0, 0, 0), (0, 0, 0, 128)])
    picture = read_picture(saved(image))
    assert values(picture) == [[[255, 0, 0], [255, 255, 255], [127, 127, 127]]]
    assert picture.info["transparent"]
    image.putalpha(255)
    assert not read_picture(saved(image)).info["transparent"]


def test_every_kind_of_transparency_is_laid_on_white():
    white = [[[255, 255, 255], [1, 2, 3]]]
    palette = bytes([9, 9, 9, 1, 2, 3])
    assert values(read_picture(png(8, 3, b"\0\1", 2, PLTE=palette, tRNS=b"\0"))) == white
    assert values(read_picture(png(8, 2, b"\7\7\7\1\2\3", 2, tRNS=bytes([0, 7, 0, 7, 0, 7])))) == white
    assert values(read_picture(png(8, 0, b"\7\1", 2, tRNS=b"\0\7"))) == [[255, 1]]
    assert values(read_picture(png(8, 4, b"\7\0\1\xff", 2))) == [[255, 1]]
    deep = read_picture(png(16, 0, struct.pack(">HH", 7, 257), 2, tRNS=b"\0\7"))
    assert values(deep) == [[255, 1]]
    assert deep.info["transparent"]
    gif = Image.new("P", (2, 1))
    gif.putpalette(palette)
    gif.putdata([0, 1])
    assert values(read_picture(saved(gif, "GIF", transparency=0))) == white


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_pictures_are_turned_upright(orientation, kind):
    upright = np.arange(6, dtype=np.uint8).reshape(2, 3)
    # What a camera stores for each value of the tag, by the EXIF standard's own words (row 0, column 0).
    stored = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.T, 6: np.rot90(upright, 1), 7: upright[::-1, ::-1].T, 8: np.rot90(upright, -1),
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = saved(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif)
    assert values(read_picture(file)) == upright.tolist()


def test_a_damaged_exif_does_not_cost_the_picture():
    file = saved(Image.new("L", (4, 4), 9), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert values(read_picture(file))[0][0] == 9


def test_the_first_frame_of_an_animation_is_taken():
    frames = [Image.new("L", (4, 4), shade) for shade in (10, 200, 90)]
    for kind in ("GIF", "TIFF", "PNG"):
        file = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        assert np.unique(np.asarray(read_picture(file))).tolist() == [10]


def noise(kind: str) -> bytes:
    random = np.random.default_rng(0).integers(0, 256, (80, 80, 3), np.uint8)
    return saved(Image.fromarray(random), kind).getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"These are words.\n" * 20, "is not a picture in a known format"),
        (noise("JPEG")[:2000], "is cut off"),
        (noise("PNG")[:9000], "is cut off"),
        (noise("BMP")[:9000], "is cut off"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture in a known format"),
        (png(8, 0, bytes(9), 9000, 9000).getvalue(), "has 9000 x 9000 pixels, over 64,000,000"),
        (png(8, 0, bytes(9), 60_000, 60_000).getvalue(), "has over 64,000,000 pixels"),
        (png(8, 0, bytes(9), 0, 0).getvalue(), "is not a picture in a known format"),
    ],
)
def test_what_cannot_be_read_gives_a_phrase(tmp_path, content, reason):
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(PictureError) as raised:
        read_picture(path)
    assert raised.value.reason == reason
    assert str(raised.value) == f"{path}: {reason}"


def test_the_more_costly_formats_may_have_half_the_pixels(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 100)
    assert read_picture(saved(Image.new("L", (10, 10)), "PNG")).size == (10, 10)
    with pytest.raises(PictureError, match="has 10 x 10 pixels, over 50"):
        read_picture(saved(Image.new("RGB", (10, 10)), "WEBP"))


def test_a_jpeg_of_too_many_pixels_is_read_at_half_its_size(monkeypatch):
    monkeypatch.setattr(pictures, "MAX_PIXELS", 100)
    large = Image.fromarray(np.full((20, 20), 90, np.uint8))
    picture = read_picture(saved(large, "JPEG"))
    assert (picture.size, values(picture)[0][0]) == ((10, 10), 90)
    with pytest.raises(PictureError, match=r"has 20 x 20 pixels, over 100$"):
        read_picture(saved(large, "PNG"))
    with pytest.raises(PictureError, match=r"has 30 x 30 pixels, over 400$"):
        read_picture(saved(large.resize((30, 30)), "JPEG"))


def test_what_is_no_file_is_reported(tmp_path):
    with pytest.raises(PictureError, match="x: is not there"):
        read_picture(tmp_path / "x")
    with pytest.raises(PictureError, match="is a folder"):
        read_picture(tmp_path)
    with pytest.raises(PictureError, match="is not a regular file"):
        read_picture("/dev/zero")


def test_a_file_is_read_no_further_than_allowed(monkeypatch):
    class Endless(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer, /):
            buffer[:] = bytes(len(buffer))
            return len(buffer)

    monkeypatch.setattr(pictures, "MAX_BYTES", 100_000)
    with pytest.raises(PictureError, match="is over 100,000 bytes"):
        read_picture(io.BufferedReader(Endless()))


def test_a_name_that_a_terminal_would_obey_is_escaped(tmp_path):
    path = tmp_path / "a\x1b[31m\n.jpg"
    path.write_bytes(b"")
    with pytest.raises(PictureError) as raised:
        read_picture(path)
    assert str(raised.value).endswith(r"a\x1b[31m\n.jpg: is empty")


def test_the_middle_is_kept_undistorted():
    wide = np.zeros((40, 120), np.uint8)
    wide[:, 40:80] = 255  # the middle square is white, both sides are black
    assert to_pixels(Image.fromarray(wide), 32, "grey").min() > 240  # the filter looks past the edge
    assert to_pixels(Image.fromarray(wide.T.copy()), 32, "grey").min() > 240


def test_colour_planes_are_red_green_blue():
    red = Image.new("RGB", (40, 40), (200, 100, 50))
    assert to_pixels(red, SIZE, "rgb")[:, 5, 5].tolist() == [200, 100, 50]
    assert to_pixels(Image.new("L", (40, 40), 7), SIZE, "rgb")[:, 5, 5].tolist() == [7, 7, 7]


# --- Folders


def fill(root: Path, counts: dict[str, int], shade: int = 0) -> None:
    """Plain pictures in class folders: the class's shade, its pictures all different."""
    for index, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            Image.new("L", (30, 40), (60 * index + number + shade) % 256).save(root / name / f"{number:03}.png")


def read(root: Path, mode: str = "grey", seed: int = 0):
    return read_folder(root, SIZE, mode, seed)


def test_a_folder_is_split_70_15_15_by_class(tmp_path):
    fill(tmp_path, {"cats": 20, "dogs": 40})
    found = read(tmp_path)
    assert found.class_names == ("cats", "dogs")
    assert found.train.images.shape == (51, 1, SIZE, SIZE)
    assert np.bincount(found.test.labels).tolist() == [3, 6]
    train, held_out = stratified_split(found.train.labels, 0.15 / 0.85, 0)
    assert np.bincount(found.train.labels[held_out]).tolist() == [3, 6]
    assert np.bincount(found.train.labels[train]).tolist() == [14, 28]
    shades = [set(split.images[:, 0, 0, 0].tolist()) for split in (found.train, found.test)]
    assert shades[0] | shades[1] == {*range(20), *range(60, 100)}
    assert not shades[0] & shades[1]


def test_a_folders_labels_belong_to_its_pictures_and_its_split_to_its_seed(tmp_path):
    fill(tmp_path, {"b": 20, "a": 20})
    first, again, other = (read(tmp_path, seed=seed) for seed in (1, 1, 2))
    for split in (first.train, first.test):
        assert np.array_equal(split.labels, split.images[:, 0, 0, 0] < 60)  # b, written first, is the darker one
    assert np.array_equal(first.test.images, again.test.images)
    assert not np.array_equal(first.test.images, other.test.images)


def test_train_and_test_folders_are_kept_apart(tmp_path):
    fill(tmp_path / "train", {"a": 3, "b": 2})
    fill(tmp_path / "test", {"a": 1, "b": 1}, shade=30)
    (tmp_path / "README.md").write_text("mine")
    found = read(tmp_path, "rgb")
    assert found.train.images[:, 1, 0, 0].tolist() == [0, 1, 2, 60, 61]
    assert found.test.images[:, 1, 0, 0].tolist() == [30, 90]
    assert found.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert found.notes == ()


def test_classes_may_be_called_train_and_test(tmp_path):
    fill(tmp_path, {"train": 3, "test": 3, "tram": 3})
    assert read(tmp_path).class_names == ("test", "train", "tram")


def test_hidden_files_and_litter_are_ignored_and_strays_reported(tmp_path):
    fill(tmp_path, {"a": 3, "b": 3, ".cache": 1, "__MACOSX": 1})
    for name in ("a/.DS_Store", "a/Thumbs.db", "README.md", ".gitignore", "notes.txt"):
        (tmp_path / name).write_text("x")
    found = read(tmp_path)
    assert found.class_names == ("a", "b")
    assert found.notes == ("files in no class folder are ignored: notes.txt",)


def test_links_to_pictures_are_followed(tmp_path):
    fill(tmp_path / "far", {"a": 3, "b": 3})
    (tmp_path / "near").mkdir()
    (tmp_path / "near/a").symlink_to(tmp_path / "far/a")
    (tmp_path / "near/b").mkdir()
    for number in range(3):
        (tmp_path / f"near/b/{number}.png").symlink_to(tmp_path / f"far/b/00{number}.png")
    assert read(tmp_path / "near").train.labels.tolist() == [0, 0, 1, 1]


def test_transparent_pictures_are_counted(tmp_path):
    fill(tmp_path, {"a": 3, "b": 3})
    Image.new("RGBA", (9, 9)).save(tmp_path / "a/000.png")
    assert read(tmp_path).notes == ("1 transparent picture laid on white or black",)


def test_unreadable_pictures_are_all_named(tmp_path):
    fill(tmp_path, {"a": 3, "b": 4})
    (tmp_path / "a/001.png").write_text("words named .png")
    (tmp_path / "b/002.png").write_bytes(b"")
    with pytest.raises(UserError) as raised:
        read(tmp_path)
    assert str(raised.value).splitlines() == [
        f"{tmp_path}: 2 pictures cannot be read:",
        f"  - {tmp_path}/a/001.png: is not a picture in a known format",
        f"  - {tmp_path}/b/002.png: is empty",
        "Replace or remove them; nothing was written.",
    ]


def test_of_many_unreadable_pictures_ten_are_named(tmp_path):
    fill(tmp_path, {"a": 3, "b": 3})
    for number in range(13):
        (tmp_path / f"a/bad{number}.jpg").write_text("x")
    with pytest.raises(UserError, match="13 pictures cannot be read") as raised:
        read(tmp_path)
    assert str(raised.value).count("known format") == 10
    assert "  - and 3 more" in str(raised.value)


def nested(root: Path) -> None:
    fill(root, {"a": 3, "b": 3})
    (root / "a/deeper").mkdir()


def halved(root: Path) -> None:
    fill(root / "train", {"a": 3, "b": 3})


def crowded(root: Path) -> None:
    for part in ("train", "test", "val"):
        fill(root / part, {"a": 3, "b": 3})


def unequal(root: Path) -> None:
    fill(root / "train", {"a": 3, "b": 3})
    fill(root / "test", {"a": 3, "c": 3})


def untested(root: Path) -> None:
    fill(root / "train", {"a": 3, "b": 3})
    fill(root / "test", {"a": 3, "b": 0})


def unprintable(root: Path) -> None:
    fill(root, {"a": 3, "b\n": 3})


@pytest.mark.parametrize(
    ("lay", "fault"),
    [
        (lambda root: None, "holds no class folders"),
        (lambda root: root.rmdir(), "is not a folder: params.yaml names it under folder.path"),
        (lambda root: fill(root, {"a": 9}), r"holds one class only \(a\)"),
        (lambda root: fill(root, {"a": 9, "b": 0}), "b is empty: each class needs 3 or more"),
        (lambda root: fill(root, {"a": 9, "b": 2}), "b has 2 pictures: each class needs 3 or more"),
        (nested, r"holds a folder \(deeper\)"),
        (halved, "holds train: either train/ and test/ and nothing else"),
        (crowded, "holds test, train, val: either train/"),
        (unequal, r"b is in train/ but not in test/"),
        (untested, "b is empty: each class needs 1 or more"),
        (unprintable, r"b\\n: a class name must be text"),
    ],
)
def test_a_wrong_layout_is_reported(tmp_path, lay: Callable[[Path], None], fault):
    root = tmp_path / "pictures"
    root.mkdir()
    lay(root)
    with pytest.raises(UserError, match=fault):
        read(root)


def test_a_folder_is_fetched_as_a_data_set(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill(Path("mine"), {"<script>": 3, "b": 3})
    fetched = fetch.fetch("folder", schema.Folder(path="mine", side=SIZE, mode="rgb"), budget="smoke", seed=0)
    assert fetched.info.class_names == ("<script>", "b")
    assert fetched.info.shape == (3, SIZE, SIZE) == fetched.train.images.shape[1:]
    assert (fetched.info.name, fetched.info.source, fetched.info.light_on_dark) == ("folder", "mine", False)


# --- Pictures that are sound although a decoder stumbles, and faults called by their name


def test_a_picture_with_much_text_in_it_is_read():
    words = PngImagePlugin.PngInfo()
    words.add_text("prompt", "x" * 1_500_000, zip=True)
    words.add_itxt("XML:com.adobe.xmp", "x" * 2_000_000, zip=True)
    assert values(read_picture(saved(Image.new("L", (4, 4), 9), pnginfo=words)))[0][0] == 9


def test_more_text_than_any_program_writes_is_refused():
    words = PngImagePlugin.PngInfo()
    words.add_text("prompt", "x" * 70_000_000, zip=True)
    with pytest.raises(PictureError, match="has over 64 MB of text in it"):
        read_picture(saved(Image.new("L", (4, 4)), pnginfo=words))


@pytest.mark.parametrize("kind", [np.int32, np.uint16])
def test_eight_bit_values_in_wider_numbers_are_not_turned_black(kind):
    grey = np.array([[0, 136, 255]], kind)
    picture = read_picture(saved(Image.fromarray(grey), "TIFF"))
    assert values(picture) == [[0, 136, 255]]
    assert picture.info["shallow"]
    assert not read_picture(saved(Image.new("I;16", (3, 3)), "TIFF")).info["shallow"]  # black either way


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_without_the_mark_at_its_end_is_read(progressive):
    whole = saved(Image.open(io.BytesIO(noise("PNG"))), "JPEG", progressive=progressive).getvalue()
    assert whole.endswith(pictures.END_OF_JPEG)
    assert values(read_picture(io.BytesIO(whole[:-2]))) == values(read_picture(io.BytesIO(whole)))
    for cut in (10, 200, len(whole) // 2):
        with pytest.raises(PictureError, match="is cut off"):
            read_picture(io.BytesIO(whole[:-cut]))


def test_a_damaged_picture_is_not_called_cut_off():
    content = bytearray(noise("PNG"))
    content[content.index(b"IDAT") + 3000] ^= 0x40
    with pytest.raises(PictureError, match="is damaged"):
        read_picture(io.BytesIO(bytes(content)))


def test_a_tiff_of_other_numbers_is_called_a_tiff():
    wide = saved(Image.new("F", (4, 4)), "TIFF").getvalue()
    double = wide.replace(struct.pack("<HHIHH", 258, 3, 1, 32, 0), struct.pack("<HHIHH", 258, 3, 1, 64, 0))
    assert double != wide
    with pytest.raises(PictureError, match="is a TIFF of a kind that is not read"):
        read_picture(io.BytesIO(double))


# --- Names, layouts and folders


TEXTS = ["کتاب\u200cها", "赤い\u3000靴", "ankle\u00a0boot", "👨\u200d👩\u200d👧", "$", "soft\u00adhyphen"]


def test_class_names_are_text_in_any_language(tmp_path):
    fill(tmp_path, dict.fromkeys(TEXTS, 3))
    assert read(tmp_path).class_names == tuple(sorted(TEXTS))
    assert [printable(name) for name in TEXTS] == TEXTS


@pytest.mark.parametrize("name", ["a\x1b[31m", "a\u202egnp", "a\u2028b", "a\x85", "caf\udce9"])
def test_what_a_terminal_would_obey_is_no_class_name(tmp_path, name):
    fill(tmp_path, {name: 3, "b": 3})
    with pytest.raises(UserError, match="a class name must be text") as raised:
        read(tmp_path)
    assert is_plain(str(raised.value))


def test_one_name_in_two_forms_of_unicode_is_one_class(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    fill(tmp_path / "apart" / "train", {composed: 3, "tea": 3})
    fill(tmp_path / "apart" / "test", {decomposed: 2, "tea": 2})
    assert read(tmp_path / "apart").class_names == (composed, "tea")
    fill(tmp_path / "together", {composed: 3, decomposed: 3})
    with pytest.raises(UserError, match="two folders called café"):
        read(tmp_path / "together")


def test_train_and_test_may_have_capitals(tmp_path):
    fill(tmp_path / "Train", {"a": 3, "b": 3})
    fill(tmp_path / "Test", {"a": 2, "b": 1})
    found = read(tmp_path)
    assert (len(found.train.labels), len(found.test.labels)) == (6, 3)


def test_one_folder_too_many_is_told(tmp_path):
    fill(tmp_path / "unpacked", {"a": 3, "b": 3})
    with pytest.raises(UserError, match=r"holds one folder, unpacked, and that holds a, b\. Set folder.path to"):
        read(tmp_path)


def test_pictures_of_few_values_are_counted(tmp_path):
    fill(tmp_path, {"a": 3, "b": 3})
    Image.fromarray(np.full((9, 9), 7, np.int32)).save(tmp_path / "a/0.tif")
    assert read(tmp_path).notes == ("1 picture of 16 or 32 bits without a value over 255, taken as 8 bits",)


def test_a_walk_follows_links_leaves_litter_out_and_ends(tmp_path):
    fill(tmp_path / "p", {"a": 2})
    fill(tmp_path / "far", {"deep/b": 1})
    (tmp_path / "p/link").symlink_to(tmp_path / "far")
    (tmp_path / "far/deep/loop").symlink_to(tmp_path / "far")
    (tmp_path / "p/a/up").symlink_to(tmp_path / "p")
    for name in (".hidden", "Thumbs.db", "desktop.ini", "README.md", "__MACOSX/x.png"):
        (tmp_path / "p" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "p" / name).write_text("x")
    found = [str(path.relative_to(tmp_path / "p")) for path in walk(tmp_path / "p") if isinstance(path, Path)]
    assert found == ["a/000.png", "a/001.png", "link/deep/b/000.png"]


def test_a_folder_that_cannot_be_read_is_an_error_of_the_walk(tmp_path, monkeypatch):
    fill(tmp_path, {"a": 1, "locked": 1})
    see = files.visible

    def locked(folder: Path) -> list[Path]:
        if folder.name == "locked":
            raise PermissionError(13, "Permission denied")
        return see(folder)

    monkeypatch.setattr(files, "visible", locked)
    first, second = walk(tmp_path)
    assert first == tmp_path / "a/000.png"
    assert str(second) == f"{tmp_path}/locked: cannot be read (permission denied)"


# --- What DVC watches


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Runs the stage `check` in an empty project with the given data sets; what it says, or its error."""
    monkeypatch.chdir(tmp_path)
    loaded = params.load(Path(__file__).parent.parent / "params.yaml")

    def run(dataset: str, vae: str = "mnist", path: str = "data/pictures") -> str:
        folder = loaded.folder.model_copy(update={"path": path})
        changes = {"dataset": dataset, "folder": folder, "vae": loaded.vae.model_copy(update={"dataset": vae})}
        monkeypatch.setattr(params, "load", lambda: loaded.model_copy(update=changes))
        check.main()
        return watched(dataset)

    return run


def watched(name: str) -> str:
    """Where data/sources/NAME points, "" where it is a file."""
    path = Path("data/sources", name)
    return str(path.readlink()) if path.is_symlink() else ""


def spoil(folder: Path) -> None:
    """What stops DVC when it hashes a folder."""
    (folder / "caf\udce9.png").write_bytes(b"")
    (folder / "dangling.png").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.png")


def test_published_data_sets_have_nothing_to_do_with_the_users_pictures(project):
    assert project("fashion_mnist") == ""  # without data/pictures
    fill(Path("data/pictures"), {"a": 3, "b": 3})
    spoil(Path("data/pictures/a"))
    before = Path("data/sources/fashion_mnist").read_bytes()
    assert project("fashion_mnist") == ""
    assert Path("data/sources/fashion_mnist").read_bytes() == before


def test_the_users_pictures_are_watched_where_they_are_the_data_set(project, tmp_path):
    fill(Path("data/pictures"), {"a": 3, "b": 3})
    fill(tmp_path / "far", {"a": 3, "b": 3})
    assert project("folder") == "../pictures"
    assert project("folder", path=str(tmp_path / "far")) == "../../far"
    assert project("mnist", vae="folder") == ""
    assert watched("vae") == "../pictures"
    assert project("mnist", vae="lfw") == ""
    assert watched("vae") == "../pictures"
    assert project("mnist") == ""
    assert watched("vae") == ""
    assert len(list(Path("data/pictures").rglob("*.png"))) == 6


def test_what_stops_dvc_is_named_before_dvc_sees_it(project):
    fill(Path("data/pictures"), {"a": 3, "b": 3})
    spoil(Path("data/pictures/a"))
    with pytest.raises(UserError) as raised:
        project("folder")
    told = str(raised.value)
    assert r"data/pictures/a/caf\udce9.png has a name that is not UTF-8; rename it" in told
    assert "data/pictures/a/dangling.png is a link to nothing; remove it" in told
    assert "data/pictures/a/pipe.png is not a regular file; remove it" in told
    with pytest.raises(UserError, match=r"nowhere is not a folder: .* `dvc add nowhere` and a commit\."):
        project("folder", path="nowhere")
    with pytest.raises(UserError, match=r"nowhere is not a folder: .* your pictures\.$"):
        project("folder", path=str(Path("nowhere").absolute()))


def test_stored_pictures_that_dvc_does_not_have_are_one_sentence(project):
    Path("data").mkdir()
    Path("data/pictures.dvc").write_text("outs:\n- md5: 0\n  path: pictures\n")
    with pytest.raises(UserError, match=r"^data/pictures could not be restored from pictures\.dvc: [^\n]+\.$"):
        project("folder")


@pytest.mark.parametrize("option", [{"act": "rleu"}, {"channels": [6]}])
def test_the_first_stage_checks_the_options_of_every_network_and_ablation(project, monkeypatch, option):
    loaded = params.load(ROOT / "params.yaml")
    wrong = loaded.ablations | {"wrong": schema.Ablation(baseline="lenet", change=option)}
    monkeypatch.setattr(params, "load", lambda: loaded.model_copy(update={"ablations": wrong}))
    with pytest.raises(UserError, match=f"lenet: option '{next(iter(option))}' is "):
        check.main()
    assert not Path("data").exists()


def test_a_tilde_is_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert schema.Folder(path="~/my pics", side=28, mode="grey").path == "/home/me/my pics"


# --- Folder sets of every shape


@st.composite
def folder_sets(draw: st.DrawFn) -> tuple[list[int], bool]:
    """Pictures in each of 2 to 12 classes, 2 to 40, and whether the user brings train/ and test/."""
    return draw(st.lists(st.integers(2, 40), min_size=2, max_size=12)), draw(st.booleans())


@settings(max_examples=10)
@given(folder_sets(), st.integers(28, 96), st.sampled_from(["grey", "rgb"]), st.integers(0, 2**31 - 1))
def test_every_folder_set_gives_whole_splits_or_a_sentence(tmp_path_factory, counted, size, mode, seed):
    counts, halved = counted
    root = tmp_path_factory.mktemp("set")
    classes = {f"class {index}": count for index, count in enumerate(counts)}
    if halved:
        fill(root / "train", classes)
        fill(root / "test", {name: max(1, count // 3) for name, count in classes.items()})
    else:
        fill(root, classes)
    if not halved and min(counts) < 3:
        with pytest.raises(UserError, match="each class needs 3 or more"):
            read_folder(root, size, mode, seed)
        return
    found = read_folder(root, size, mode, seed)
    channels = 1 if mode == "grey" else 3
    total = sum(counts) + (sum(max(1, count // 3) for count in counts) if halved else 0)
    assert len(found.train.labels) + len(found.test.labels) == total
    for split in (found.train, found.test):
        assert split.images.shape == (len(split.labels), channels, size, size)
        assert np.unique(split.labels).tolist() == list(range(len(counts)))
    train, validation = stratified_split(found.train.labels, 0.15 / 0.85, seed)
    for part in (train, validation):
        assert np.unique(found.train.labels[part]).tolist() == list(range(len(counts)))


def dvc(folder: Path, *words: str, fails: int = 0) -> str:
    sources = {"PYTHONPATH": str(folder / "src" if (folder / "src").is_dir() else ROOT / "src")}
    done = subprocess.run(
        ["dvc", *words], cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
        check=False, env=os.environ | sources,
    )  # fmt: skip
    assert done.returncode == fails, done.stdout
    return done.stdout


def measured_pictures(lab: Path) -> dict[str, list[int]]:
    """How many pictures the baselines of each experiment were fitted to and measured on."""
    found = {}
    for ref in git(lab, "for-each-ref", "--format=%(refname)", "refs/exps/*/*/*").split():
        figures = json.loads(git(lab, "show", f"{ref}:metrics/test/baselines.json"))
        found[Path(ref).name] = [figures["n_train"], figures["n"]]
    return found


@pytest.mark.slow
def test_pictures_that_dvc_add_has_stored_are_seen_in_every_copy_of_the_project(tmp_path):
    lab = copy_project(tmp_path / "lab", budget="smoke")
    fill(lab / "data/pictures", {"a": 9, "b": 9})
    assert "`dvc add data/pictures` and a commit" in dvc(
        lab, "exp", "run", "--temp", "-S", "dataset=folder", "baselines", fails=255
    )
    dvc(lab, "add", "data/pictures")
    commit(lab, "my pictures")
    dvc(lab, "exp", "run", "--temp", "-n", "temp", "-S", "dataset=folder", "baselines")
    dvc(lab, "exp", "run", "--queue", "-n", "queued", "-S", "dataset=folder", "-S", "seed=1", "baselines")
    dvc(lab, "exp", "run", "--run-all")
    assert measured_pictures(lab) == {"temp": [16, 2], "queued": [16, 2]}

    clone = tmp_path / "clone"  # gets them from the store
    dvc(lab, "remote", "add", "--default", "store", str(tmp_path / "store"))
    commit(lab, "a store")
    dvc(lab, "gc", "--workspace", "--force", "-q")  # keeps them
    dvc(lab, "push", "-q", "--with-deps", "data/pictures.dvc")
    git(tmp_path, "clone", "-q", str(lab), str(clone))
    dvc(clone, "repro", "check")
    assert not (clone / "data/pictures").exists()
    (clone / "params.yaml").write_text(
        (clone / "params.yaml").read_text().replace("\ndataset: fashion_mnist", "\ndataset: folder")
    )
    dvc(clone, "repro", "check")
    assert len(list((clone / "data/pictures").rglob("*.png"))) == 18


@pytest.mark.slow
def test_dvc_sees_every_change_of_the_users_pictures_and_only_where_they_are_the_data_set(tmp_path):
    kept = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    stages = {name: kept[name] for name in ("check", "download", "vae_download")}
    for stage in stages.values():
        stage["deps"] = [dep for dep in stage["deps"] if not dep.startswith(("src/", "stages/"))]
        stage["cmd"] = stage["cmd"].replace("python stages/", f"{sys.executable} {ROOT}/stages/")
    (tmp_path / "dvc.yaml").write_text(json.dumps({"stages": stages}))
    shipped = (ROOT / "params.yaml").read_text().replace("budget: quick", "budget: smoke", 1)
    (tmp_path / "params.yaml").write_text(shipped)
    dvc(tmp_path, "init", "-q", "--no-scm")
    up_to_date = "Data and pipelines are up to date."

    fill(tmp_path / "data/pictures", {"a": 9, "b": 9})
    spoil(tmp_path / "data/pictures/a")
    dvc(tmp_path, "repro")
    assert up_to_date in dvc(tmp_path, "status")
    shutil.rmtree(tmp_path / "data/pictures")
    assert up_to_date in dvc(tmp_path, "repro")

    fill(tmp_path / "data/pictures", {"a": 9, "b": 9})
    (tmp_path / "params.yaml").write_text(shipped.replace("\ndataset: fashion_mnist", "\ndataset: folder", 1))
    dvc(tmp_path, "repro")
    assert up_to_date in dvc(tmp_path, "status")
    fill(tmp_path / "data/pictures", {"a": 11})
    assert "data/sources/folder" in dvc(tmp_path, "status")
    dvc(tmp_path, "repro")
    labels = [np.load(tmp_path / "data/folder" / part / "labels.npy") for part in ("train", "test")]
    assert np.bincount(np.concatenate(labels)).tolist() == [11, 9]
    assert up_to_date in dvc(tmp_path, "status")
