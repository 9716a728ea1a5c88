"""`cnnlab predict`: every kind of picture, every kind of argument, and what enlarging, inverting and JPEG cost."""

import io
import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps
from typer.testing import CliRunner

from cnnlab.cli.main import app
from cnnlab.cli.output import columns, json_line
from cnnlab.cli.predict import Table
from cnnlab.core.errors import UserError
from cnnlab.data.pictures import read_picture
from cnnlab.data.sample import load_sample
from cnnlab.inference import Model
from cnnlab.inference.calibration import object_share
from cnnlab.inference.predict import Answer, predict
from cnnlab.inference.prepare import prepare
from cnnlab.inference.session import default_model_path
from cnnlab.inference.sources import find

SHAPE = (1, 28, 28)
Filter = Image.Resampling


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return load_sample()[1].images


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    return load_sample()[1].labels


@pytest.fixture(scope="module")
def model() -> Model:
    return Model.load(default_model_path(), threads=1)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder as the current one, so that the network that ships answers."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, stdin: bytes | None = None):
    return CliRunner().invoke(app, ["predict", *arguments], input=stdin)


def enlarged(
    image: np.ndarray,
    times: int,
    filter_: Filter,
    border: int | tuple[int, ...] = 20,
    quality: int = 75,
    dark: bool = False,
) -> Image.Image:
    """A test picture as someone might have it: larger, dark on light, with a border, as JPEG."""
    picture = Image.fromarray(image[0]).resize((28 * times, 28 * times), filter_)
    picture = picture if dark else ImageOps.invert(picture)
    picture = ImageOps.expand(picture, border, 0 if dark else 255)
    file = io.BytesIO()
    picture.convert("RGB").save(file, "JPEG", quality=quality)
    return Image.open(file)


def accuracy(model: Model, pictures: list[Image.Image], labels: np.ndarray) -> float:
    pixels = np.stack([prepare(picture, SHAPE, 1.0).pixels for picture in pictures])
    return float((model.logits(pixels).argmax(axis=1) == labels).mean())


# Preparing one picture


def test_a_picture_of_the_right_size_goes_through_untouched(images: np.ndarray):
    for image in images:
        prepared = prepare(Image.fromarray(image[0]), SHAPE, 1.0)
        assert not prepared.inverted
        assert np.array_equal(prepared.pixels, image)


def test_an_inverted_picture_of_the_right_size_comes_back_exactly(images: np.ndarray):
    for image in images:
        prepared = prepare(Image.fromarray(255 - image[0]), SHAPE, 1.0)
        assert prepared.inverted
        assert np.array_equal(prepared.pixels, image)
    kept = prepare(Image.fromarray(255 - images[0, 0]), SHAPE, 1.0, invert=False)
    assert not kept.inverted
    assert np.array_equal(kept.pixels, 255 - images[0])


def test_enlarged_inverted_bordered_jpegs_lose_at_most_two_points(model: Model, images: np.ndarray, labels: np.ndarray):
    some = slice(0, 600, 2)
    raw = (model.logits(images[some]).argmax(axis=1) == labels[some]).mean()
    changed = accuracy(model, [enlarged(image, 8, Filter.BICUBIC) for image in images[some]], labels[some])
    assert raw - changed <= 0.02


@pytest.mark.slow
@pytest.mark.parametrize("filter_", [Filter.NEAREST, Filter.BILINEAR, Filter.BICUBIC, Filter.LANCZOS])
@pytest.mark.parametrize(
    ("times", "border", "quality", "dark"),
    [(10, 40, 75, False), (4, 10, 75, False), (8, 15, 50, False), (8, 30, 75, True), (8, (5, 60, 30, 7), 90, False)],
)
def test_no_way_of_enlarging_loses_more(
    model: Model, images: np.ndarray, labels: np.ndarray, filter_: Filter, times: int, border, quality: int, dark: bool
):
    raw = (model.logits(images).argmax(axis=1) == labels).mean()
    pictures = [enlarged(image, times, filter_, border, quality, dark) for image in images]
    assert raw - accuracy(model, pictures, labels) <= 0.02


def test_a_frame_is_cut_off_too(images: np.ndarray):
    plain = enlarged(images[0], 8, Filter.NEAREST, quality=95)
    framed = ImageOps.expand(plain, 24, (0, 0, 0))
    expected, found = prepare(plain, SHAPE, 1.0), prepare(framed, SHAPE, 1.0)
    assert found.inverted
    assert np.abs(expected.pixels.astype(int) - found.pixels).mean() < 1


def drawn(ground: int, ink: int) -> Image.Image:
    """A T-shirt of one grey value on a background of another."""
    picture = Image.new("L", (300, 300), ground)
    draw = ImageDraw.Draw(picture)
    draw.polygon([(40, 70), (110, 40), (190, 40), (260, 70), (240, 130), (205, 115), (205, 260), (95, 260), (95, 115),
                  (60, 130)], fill=ink)  # fmt: skip
    return picture


@pytest.mark.parametrize(
    ("ground", "ink"),
    [(255, 0), (0, 255), (126, 0), (120, 40), (120, 90), (100, 0), (60, 0), (60, 30), (130, 160), (130, 255),
     (140, 250), (180, 210), (220, 255), (128, 127 - 30), (127, 128 + 30)],
)  # fmt: skip
def test_an_object_is_seen_on_any_plain_background(model: Model, ground: int, ink: int):
    prepared = prepare(drawn(ground, ink), SHAPE, 1.0)
    assert prepared.inverted == (ink < ground)
    expected = prepare(drawn(0, 255), SHAPE, 1.0).pixels > 127
    brightest = int(prepared.pixels.max())
    assert brightest >= 28
    assert ((prepared.pixels > brightest / 2) == expected).mean() > 0.99


def test_a_plain_block_is_an_object_not_a_background():
    for ground, ink in ((0, 255), (255, 0), (90, 200)):
        picture = Image.new("L", (200, 200), ground)
        picture.paste(ink, (50, 30, 150, 170))
        prepared = prepare(picture, SHAPE, 1.0)
        assert prepared.pixels[0, 14, 14] > 60
        assert not prepared.pixels[0, :, :2].any()


def test_a_cut_out_is_laid_where_it_shows(tmp_path: Path):
    for ink, inverted in ((255, False), (230, False), (0, True), (60, True)):
        mask = drawn(0, 255)
        picture = Image.merge("LA", (Image.new("L", mask.size, ink), mask))
        picture.save(tmp_path / "shirt.png")
        prepared = prepare(read_picture(tmp_path / "shirt.png"), SHAPE, 1.0)
        assert prepared.inverted == inverted
        assert prepared.pixels[0, 14, 14] > 180
        assert prepared.pixels[0, 0, 0] == 0


def test_where_the_object_lies_does_not_matter(images: np.ndarray):
    middle = prepare(enlarged(images[3], 6, Filter.NEAREST, 50, quality=95), SHAPE, 1.0)
    corner = prepare(enlarged(images[3], 6, Filter.NEAREST, (2, 98, 90, 10), quality=95), SHAPE, 1.0)
    assert np.abs(middle.pixels.astype(int) - corner.pixels).mean() < 3


def test_a_picture_of_one_colour_or_one_pixel_is_prepared():
    for colour in (0, 90, 255):
        for size in ((1, 1), (300, 2), (64, 64)):
            prepared = prepare(Image.new("L", size, colour), SHAPE, 1.0)
            assert prepared.pixels.shape == SHAPE
            assert not prepared.pixels.any()


def test_a_very_large_picture_is_prepared_like_a_small_one(images: np.ndarray):
    small = Image.fromarray(images[5, 0]).resize((280, 280), Filter.NEAREST)
    large = small.resize((2800, 2800), Filter.NEAREST)
    difference = prepare(small, SHAPE, 1.0).pixels.astype(int) - prepare(large, SHAPE, 1.0).pixels
    assert np.abs(difference).mean() < 2


def test_objects_smaller_than_the_frame_keep_their_proportion(images: np.ndarray):
    # As in MNIST, whose digits take 20 of 28 pixels.
    small = np.zeros((len(images), *SHAPE), np.uint8)
    small[:, 0, 4:24, 4:24] = images[:, 0, 4:24, 4:24].clip(60)
    assert object_share(small) == pytest.approx(20 / 28)
    assert object_share(images) == pytest.approx(1.0, abs=0.04)
    picture = Image.fromarray(small[0, 0]).resize((280, 280), Filter.NEAREST)
    restored = prepare(ImageOps.expand(picture, 33, 0), SHAPE, 20 / 28).pixels
    assert np.abs(restored.astype(int) - small[0]).mean() < 2


def test_photographs_of_other_data_are_scaled_not_inverted():
    white = Image.new("RGB", (300, 200), "white")
    prepared = prepare(white, (3, 32, 32), None)
    assert prepared.pixels.shape == (3, 32, 32)
    assert not prepared.inverted
    assert prepared.pixels.min() == 255


# The command


def test_a_folder_gives_a_table(here: Path, images: np.ndarray):
    (here / "clothes" / "below").mkdir(parents=True)
    Image.fromarray(images[0, 0]).save(here / "clothes" / "b.png")
    enlarged(images[1], 8, Filter.BICUBIC).save(here / "clothes" / "below" / "a.jpg")
    (here / "clothes" / "notes.txt").write_text("not a picture, and not named one")
    Image.fromarray(images[0, 0]).save(here / "clothes" / ".hidden.png")
    result = run("clothes")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["picture", "1.", "2.", "3."]
    assert lines[1].startswith("clothes/b.png ")
    assert not lines[1].endswith(" i")
    assert lines[2].startswith("clothes/below/a.jpg ")
    assert lines[2].endswith(" i")
    assert lines[3:] == ["", "i: darker than its background, inverted"]
    assert "Answers from Swift for fashion_mnist (the network that ships with cnnlab)" in result.stderr
    assert "validation accuracy 0.952" in result.stderr


def test_json_lines_hold_the_ranked_classes(here: Path, images: np.ndarray, model: Model):
    for index in range(5):
        Image.fromarray(images[index, 0]).save(here / f"{index}.png")
    result = run("--json", "--top", "4", "--batch", "2", "*.png")
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["picture"] for answer in answers] == [f"{index}.png" for index in range(5)]
    expected = model.probabilities(model.logits(images[:5]))
    for answer, probabilities in zip(answers, expected, strict=True):
        assert answer["class"] == model.class_names[probabilities.argmax()]
        assert answer["probability"] == pytest.approx(probabilities.max(), abs=1e-5)
        assert len(answer["top"]) == 4
        ranked = [entry["probability"] for entry in answer["top"]]
        assert ranked == sorted(ranked, reverse=True)
        assert answer["inverted"] is False


def test_top_beyond_the_classes_shows_them_all(here: Path, images: np.ndarray):
    Image.fromarray(images[0, 0]).save(here / "a.png")
    (answer,) = map(json.loads, run("--json", "--top", "99", "a.png").stdout.splitlines())
    assert len(answer["top"]) == 10
    assert sum(entry["probability"] for entry in answer["top"]) == pytest.approx(1, abs=1e-4)


def test_standard_input_is_one_picture(here: Path, images: np.ndarray):
    file = io.BytesIO()
    Image.fromarray(images[0, 0]).save(file, "PNG")
    result = run("--json", "-", stdin=file.getvalue())
    assert json.loads(result.stdout)["picture"] == "standard input"
    empty = run("-", stdin=b"")
    assert empty.exit_code == 1
    assert "standard input: is empty" in empty.stderr


def test_a_picture_without_an_object_is_told(here: Path):
    Image.new("L", (90, 60), 200).save(here / "wall.png")
    drawn(120, 60).save(here / "shirt.png")
    done = run("wall.png", "shirt.png", "--json")
    assert [json.loads(line)["blank"] for line in done.stdout.splitlines()] == [True, False]
    assert "b: blank: no object was found" in run("wall.png").stdout


def test_no_command_writes_over_its_own_input(here: Path):
    drawn(255, 0).save(here / "shirt.png")
    before = (here / "shirt.png").read_bytes()
    (here / "link.png").symlink_to("shirt.png")
    for named in ("shirt.png", "./shirt.png", "link.png"):
        done = CliRunner().invoke(app, ["explain", "shirt.png", "-o", named])
        assert isinstance(done.exception, UserError), done.output
        assert "is one of the pictures: name another file to write" in str(done.exception)
    assert (here / "shirt.png").read_bytes() == before


def test_a_picture_that_is_blank_has_no_reddest_spot(here: Path):
    Image.new("L", (90, 60), 255).save(here / "wall.png")
    assert "no part that is covered makes it less likely" in CliRunner().invoke(app, ["explain", "wall.png"]).stdout


def test_no_invert_leaves_the_picture(here: Path, images: np.ndarray):
    Image.fromarray(255 - images[0, 0]).save(here / "a.png")
    inverted, left = (json.loads(run("--json", "a.png", *flags).stdout) for flags in ((), ("--no-invert",)))
    assert (inverted["inverted"], left["inverted"]) == (True, False)
    assert inverted["probability"] != left["probability"]
    assert left["unlike_data"] is True


def bad_files(folder: Path, good: Image.Image) -> dict[str, str]:
    """Files that cannot be read, each with the expected reason."""
    good.resize((280, 280)).save(folder / "whole.jpg")
    (folder / "cut.jpg").write_bytes((folder / "whole.jpg").read_bytes()[:3000])
    (folder / "whole.jpg").unlink()
    (folder / "empty.png").touch()
    (folder / "text.png").write_text("a shirt")
    (folder / "folder.png").mkdir()
    bomb = io.BytesIO()
    Image.new("1", (8, 8)).save(bomb, "PNG")
    data = bytearray(bomb.getvalue())
    data[16:24] = (50_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    (folder / "bomb.png").write_bytes(data)
    return {
        "cut.jpg": "is cut off",
        "empty.png": "is empty",
        "text.png": "is not a picture",
        "folder.png": "holds no pictures",
        "bomb.png": "has over 64,000,000 pixels",
        "missing.png": "is not there",
        "no*thing.png": "matches nothing",
        "x" * 300 + ".png": "",  # too long a name
    }


def test_bad_files_are_named_and_the_others_done(here: Path, images: np.ndarray):
    good = Image.fromarray(images[0, 0])
    reasons = bad_files(here, good)
    good.save(here / "a.png")
    good.save(here / "z.png")
    result = run("a.png", *reasons, "z.png")
    assert result.exit_code == 1
    assert [line.split()[0] for line in result.stdout.splitlines()[1:3]] == ["a.png", "z.png"]
    errors = [line for line in result.stderr.splitlines() if line.startswith("Error:")]
    assert len(errors) == len(reasons)
    for line, (name, reason) in zip(errors, reasons.items(), strict=True):
        assert line.startswith(f"Error: {name}")
        assert reason in line
    assert "Traceback" not in result.stderr
    assert run("missing.png").exit_code == 1


def test_every_kind_of_good_picture_gets_the_same_class(here: Path, images: np.ndarray):
    grey = Image.fromarray(images[0, 0]).resize((112, 112), Filter.NEAREST)
    colour = grey.convert("RGB")
    colour.save(here / "animated.gif", save_all=True, append_images=[ImageOps.invert(colour)] * 3)
    colour.convert("CMYK").save(here / "cmyk.jpg", quality=95)
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(here / "sixteen.png")
    alpha = Image.merge("LA", (Image.new("L", grey.size, 0), grey))  # black clothes on nothing
    alpha.save(here / "alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    grey.transpose(Image.Transpose.ROTATE_90).save(here / "turned.jpg", exif=exif, quality=95)
    grey.quantize(32).save(here / "palette.png")
    grey.save(here / "grey.webp", lossless=True)
    result = run("--json", ".")
    assert result.exit_code == 0
    answers = {answer["picture"]: answer for answer in map(json.loads, result.stdout.splitlines())}
    assert len(answers) == 7
    assert {answer["class"] for answer in answers.values()} == {answers["grey.webp"]["class"]}
    assert [name for name, answer in answers.items() if answer["transparent"]] == ["alpha.png"]
    assert [name for name, answer in answers.items() if answer["inverted"]] == ["alpha.png"]


def test_what_is_unlike_the_data_is_said_to_be_so(here: Path, images: np.ndarray):
    generator = np.random.default_rng(0)
    for index in range(10):
        noise = generator.integers(0, 256, (28, 28), dtype=np.uint8)
        Image.fromarray(noise).save(here / f"noise{index}.png")
        Image.fromarray(images[60 * index, 0]).save(here / f"real{index}.png")
    answers = list(map(json.loads, run("--json", ".").stdout.splitlines()))
    noisy = [answer["unlike_data"] for answer in answers if "noise" in answer["picture"]]
    real = [answer["unlike_data"] for answer in answers if "real" in answer["picture"]]
    assert all(noisy)
    assert sum(real) <= 3
    shown = run("noise0.png").stdout.splitlines()
    assert shown[1].endswith(" ?")
    assert shown[-1] == "?: unlike the data"


def test_names_cannot_command_the_terminal(here: Path, images: np.ndarray):
    Image.fromarray(images[0, 0]).save(here / "a\x1b[31m.png")
    (here / "b\x1b[31m.png").touch()
    result = run(".")
    assert "\x1b" not in result.stdout + result.stderr


def answer(name: str, **marks: bool) -> Answer:
    notes = {"inverted": False, "transparent": False, "unlike_data": False, "blank": False} | marks
    return Answer(name, ("Sandal", "Ankle boot"), (0.9, 0.1), **notes)


def test_the_table_is_as_wide_as_its_pictures():
    table = Table(None)
    first = table.lines([answer("a.png"), answer("data/pictures/George_W_Bush/George_W_Bush_0001.jpg", inverted=True)])
    later = table.lines([answer("猫.png", unlike_data=True)])
    assert len({columns(line[: line.index("Sandal")]) for line in (*first[1:], *later)}) == 1
    assert first[2].endswith("Ankle boot 0.100  i")
    assert later[0].endswith("Ankle boot 0.100  ?")


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_on_a_terminal_long_names_lose_their_beginning(width: int):
    lines = Table(width).lines([answer("x" * 150 + "/the_end.jpg", transparent=True), answer("b.png")])
    assert max(map(columns, lines)) <= max(width, 16 + 2 + 12 + 2 + 16 + 2 + 1)
    assert lines[1].startswith("…")
    assert "the_end.jpg  Sandal" in lines[1]
    assert lines[2].startswith("b.png  ")


NAMES = [
    "Shot 9.41\u202fAM.png",
    "no\xa0break.png",
    "a\nb.png",
    "back\\u202fslash.png",
    "猫🐈.png",
    "caf\udce9.png",
    "\x9b31m.png",
]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("name", NAMES)
def test_json_gives_the_files_own_name_back_and_obeys_no_terminal(here, images, name, encoding):
    Image.fromarray(images[0, 0]).save(here / "x.png")
    (here / "x.png").rename(here / name)
    done = subprocess.run(
        [sys.executable, "-c", "from cnnlab.cli.main import main; main()", "predict", "--json", "."],
        capture_output=True, check=True, env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert (here / json.loads(done.stdout.decode(encoding))["picture"]).is_file()
    assert not {"\x1b", "\x9b", "\u202f"} & set(done.stdout.decode(encoding))
    assert len(done.stdout.splitlines()) == 1


def test_json_keeps_readable_letters(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "utf-8"))
    assert json_line({"class": "猫"}) == '{"class": "猫"}'
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), "latin-1"))
    assert json.loads(json_line({"class": "猫é🐈"})) == {"class": "猫é🐈"}
    assert json_line({"class": "猫é🐈"}).isascii()


def test_a_file_called_dash_is_not_standard_input_under_a_glob(here: Path, images: np.ndarray):
    Image.fromarray(images[0, 0]).save(here / "-", format="PNG")
    (answer,) = map(json.loads, run("--json", "*", stdin=b"").stdout.splitlines())
    assert answer["picture"] == "./-"


def test_a_closed_standard_input_is_one_sentence(here: Path):
    code = "from cnnlab.cli.main import main; main()"
    words = ["sh", "-c", '"$@" <&-', "sh", sys.executable, "-c", code, "predict", "-"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "Error: standard input: is closed"


def test_a_process_substitution_is_read_like_a_file(here: Path, images: np.ndarray):
    Image.fromarray(images[0, 0]).save(here / "a.png")
    code = "from cnnlab.cli.main import main; main()"
    done = subprocess.run(
        ["bash", "-c", '"$0" -c "$1" predict --json <(cat a.png)', sys.executable, code],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["class"]


def test_a_model_that_is_none_stops_with_a_sentence(here: Path, images: np.ndarray):
    Image.fromarray(images[0, 0]).save(here / "a.png")
    (here / "wrong.onnx").write_bytes(b"\x08\x07nothing")
    code = "from cnnlab.cli.main import main; main()"
    for path, reason in (("wrong.onnx", "is not an ONNX model"), ("none.onnx", "is not here")):
        result = subprocess.run(
            [sys.executable, "-c", code, "predict", "a.png", "--model", path], capture_output=True, text=True
        )
        assert result.returncode == 2
        assert result.stdout == ""
        assert result.stderr.startswith(f"Error: {path} {reason}")
        assert len(result.stderr.splitlines()) == 1


def test_the_users_own_model_answers_before_the_shipped_one(here: Path, images: np.ndarray):
    (here / "models").mkdir()
    (here / "models" / "swift.onnx").write_bytes(default_model_path().read_bytes())
    Image.fromarray(images[0, 0]).save(here / "a.png")
    result = run("a.png")
    assert result.exit_code == 0
    trained = "trained for at most 12,660 steps, validation accuracy 0.952"
    assert result.stderr == f"Answers from Swift for fashion_mnist (models/swift.onnx), {trained}.\n"


def test_pictures_are_taken_one_batch_at_a_time(here: Path, images: np.ndarray, model: Model):
    Image.fromarray(images[0, 0]).save(here / "a.png")
    taken = 0

    def sources():
        nonlocal taken
        for _ in range(10):
            taken += 1
            yield "a.png"

    answers = predict(model, sources(), batch=4)
    first = next(answers)
    assert isinstance(first, Answer)
    assert taken == 4
    assert len(list(answers)) == 9


def test_a_folder_is_walked_through_links_and_what_is_left_out_is_told(here: Path, images: np.ndarray):
    folder, far = here / "mixed", here / "far"
    folder.mkdir()
    far.mkdir()
    for path in (folder / "a.png", folder / "no_ending", folder / "b.PNG_large", far / "c.png"):
        Image.fromarray(images[0, 0]).save(path, "PNG")
    (folder / "more").symlink_to(far)
    (folder / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    (folder / "notes.txt").write_text("mine")
    (folder / "Thumbs.db").write_bytes(b"litter")
    told: list[str] = []
    found = [Path(str(name)).name for name in find([str(folder)], told.append)]
    assert found == ["a.png", "b.PNG_large", "c.png", "no_ending"]
    assert told == [f"{folder}: 2 files left out, not in a picture format that is read: IMG_1.HEIC, notes.txt"]


def test_a_folder_without_anything_to_read_is_an_error(here: Path):
    folder = here / "heic"
    folder.mkdir()
    (folder / "IMG_1.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    told: list[str] = []
    assert [str(error) for error in find([str(folder)], told.append)] == [f"{folder}: holds no pictures"]
    assert "1 file left out" in told[0]
