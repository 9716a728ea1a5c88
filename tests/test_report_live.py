"""The live part of the page in a real Chromium: the same answers as Python's, and all that a reader can do with it."""

import base64
import gzip
import io
import shutil
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from cnnlab.core import artifacts, datasets
from cnnlab.core.datasets import DatasetInfo, Split
from cnnlab.core.errors import UserError
from cnnlab.data.pictures import read_picture
from cnnlab.data.sample import load_sample
from cnnlab.embedding.maps import Embedding, save
from cnnlab.embedding.pca import fit_pca
from cnnlab.embedding.placing import StoredMap, open_map
from cnnlab.export.bundle import make_bundle
from cnnlab.inference import Model
from cnnlab.inference.calibration import is_novel
from cnnlab.inference.explain import explain
from cnnlab.inference.prepare import prepare
from cnnlab.inference.session import session_of
from cnnlab.page import live
from cnnlab.page.assemble import assemble
from cnnlab.page.render import render
from cnnlab.page.sources import read
from cnnlab.vae.codec import Encoder
from tests import report_lab
from tests.test_export import NAMES, make_classifier
from tests.test_vae_files import exported
from tools import npm, page_assets

pytestmark = pytest.mark.slow
LAYER = "fc1"


@pytest.fixture(scope="module")
def runtime(tmp_path_factory) -> Path:
    """onnxruntime-web as `make page-assets` fetches it; from the source tree where it is there."""
    if all((live.FOLDER / name).is_file() for name in live.RUNTIME):
        return live.FOLDER
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    folder = tmp_path_factory.mktemp("runtime")
    page_assets.fetch(folder)
    return folder


class Laboratory(NamedTuple):
    """A page with a live part, and what it is compared with; the networks are untrained."""

    page: Path
    small: Model  # the page's own copy of the network
    whole: Model
    encoder: Encoder
    map: StoredMap


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory, runtime) -> Laboratory:
    folder = tmp_path_factory.mktemp("live")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(live, "FOLDER", runtime)
        used = report_lab.settings((*report_lab.NETWORKS, live.NETWORK))
        train, test = load_sample()
        test = Split(test.images[: report_lab.TEST], np.arange(report_lab.TEST) % 10)
        info = DatasetInfo(used.dataset, tuple(NAMES), 1, 28, 28, "made up", "nowhere", True, "Clothes")
        datasets.save_dataset(info, train, test)
        report_lab.trained(used, tuple(NAMES))
        bundle = make_bundle(make_classifier(live.NETWORK), train)
        artifacts.write_bytes(artifacts.onnx_path(live.NETWORK, "features"), bundle.features)
        embedded(Model.of(session_of(bundle.features, ""), ""), test)
        _, (encoder, decoder), pictures = exported()
        artifacts.write_bytes(artifacts.onnx_path("vae_encoder"), encoder)
        artifacts.write_bytes(artifacts.onnx_path("vae_decoder"), decoder)
        artifacts.write_array(artifacts.dataset_dir("vae") / "test" / "images.npy", pictures.images)
        artifacts.write_array(artifacts.dataset_dir("vae") / "test" / "labels.npy", pictures.labels)
        sources = read(used)
        data = assemble(sources, used)
        data["live"], blobs = live.live(sources.test, data["maps"]["index"])
        (folder / "index.html").write_text(render(data, blobs), encoding="utf-8")
        maps = artifacts.embedding_dir(live.NETWORK, "tsne")
        stored = open_map(artifacts.features_dir(live.NETWORK), maps, LAYER, "tsne")
        coder = Encoder.load(artifacts.onnx_path("vae_encoder"))
    small = Model.of(session_of(unpacked(blobs["network"]), "", threads=1), "")
    return Laboratory(folder / "index.html", small, Model.of(session_of(bundle.features, ""), ""), coder, stored)


def embedded(model: Model, test: Split) -> None:
    """What the stage `embed` writes of one layer, with the first two components for a t-SNE map."""
    (outputs,) = model.outputs(test.images, [LAYER])
    features = outputs[LAYER].reshape(len(test.images), -1)
    folder = artifacts.features_dir(live.NETWORK)
    about = {"title": "Swift", "dataset": "x", "layers": [LAYER], "class_names": NAMES}
    artifacts.write_json(folder / "features.json", about)
    for name, values in (("labels", test.labels), ("index", np.arange(len(features))), (LAYER, features)):
        artifacts.write_array(folder / f"{name}.npy", values)
    pca, reduced = fit_pca(features, 0)
    save(artifacts.embedding_dir(live.NETWORK, "tsne") / LAYER, Embedding("tsne", pca, reduced, reduced[:, :2]))
    rows = [
        {"index": row, "class": int(label), "label": NAMES[label], "x": float(x), "y": float(y)}
        for row, (label, (x, y)) in enumerate(zip(test.labels, reduced[:, :2], strict=True))
    ]
    artifacts.write_csv(artifacts.embedding_plots_dir() / f"{live.NETWORK}-tsne" / f"{LAYER}.csv", rows)


def unpacked(text: str) -> bytes:
    """What `live.packed` packed."""
    length, _, characters = text.partition(":")
    digits = [code - ord("#") - (code > ord("<")) for code in characters.encode()]
    bits = "".join(f"{high * 91 + low:013b}" for high, low in zip(digits[::2], digits[1::2], strict=True))
    return gzip.decompress(bytes(int(bits[8 * i : 8 * i + 8], 2) for i in range(int(length))))


@pytest.fixture
def page(browser, laboratory):
    """The page with its network loaded; whatever it says on the console, or asks of a network, fails the test."""
    said = []
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda asked: asked.url.startswith(("file:", "data:", "blob:")) or said.append(asked.url))
    page.goto(laboratory.page.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    page.wait_for_selector("html[data-live]", state="attached", timeout=120_000)
    yield page
    context.close()
    assert said == []


def png(picture: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", **options)
    return buffer.getvalue()


def pictures() -> dict[str, bytes]:
    """Pictures of many kinds, two of them photographs."""
    boot = Image.fromarray(load_sample()[1].images[0, 0])
    white = Image.eval(boot.resize((200, 200), Image.Resampling.BICUBIC), lambda value: 255 - value)
    framed = Image.new("L", (500, 300), 255)
    framed.paste(white, (220, 60))
    glass = Image.new("RGBA", (180, 240), (200, 30, 60, 0))
    glass.paste((20, 60, 120, 255), (40, 50, 140, 200))
    drawn = Image.new("L", (280, 280), 0)
    drawn.paste(255, (100, 20, 170, 260))
    shirt = Image.new("RGBA", (180, 240), (255, 255, 255, 0))
    shirt.paste((240, 235, 230, 255), (40, 50, 140, 200))
    on_grey = {
        f"{kind} on grey": png(Image.eval(drawn, lambda value, ink=ink: ink if value else 120)) for kind, ink in
        (("light", 200), ("dark", 30))
    }  # fmt: skip
    china, flower = (Image.fromarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg"))
    return {
        "the right size": png(boot),
        "the right size on white": png(Image.eval(boot, lambda value: 255 - value)),
        "enlarged": png(boot.resize((280, 280), Image.Resampling.NEAREST)),
        "on white": png(white),
        "off the middle": png(framed),
        "transparent": png(glass),
        "transparent around something light": png(shirt),
        **on_grey,
        "a drawing": png(drawn),
        "a photograph": png(china),
        "a photograph over 1,024 pixels": png(flower.resize((1500, 1001), Image.Resampling.BICUBIC)),
        "tiny": png(boot.resize((11, 17), Image.Resampling.BOX)),
        "empty": png(Image.new("RGB", (64, 48), (9, 9, 9))),
    }


ASK = """async ([data]) => {
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    const { rgba, width, height } = await readPicture(new Blob([bytes]));
    const found = await engine.call("answer", { rgba, width, height });
    return { ...found, pixels: [...found.pixels], logits: [...found.logits] };
}"""


def ask(page, data: bytes) -> dict:
    """What the page's network says of a picture, given as a file's bytes."""
    return page.evaluate(ASK, [base64.b64encode(data).decode()])


def test_the_page_answers_as_python_does(page, laboratory):
    small, whole = laboratory.small, laboratory.whole
    for name, data in pictures().items():
        found = ask(page, data)
        expected = prepare(read_picture(io.BytesIO(data)), small.shape, small.meta["object_share"])
        assert found["pixels"] == expected.pixels.ravel().tolist(), name
        assert found["inverted"] == expected.inverted, name
        images = expected.pixels[None]
        logits = small.logits(images)
        np.testing.assert_allclose(found["logits"], logits[0], atol=1e-4, err_msg=name)
        np.testing.assert_allclose(logits, whole.logits(images), atol=0.15 * np.ptp(logits), err_msg=name)
        np.testing.assert_allclose(found["probabilities"], small.probabilities(logits)[0], atol=1e-4, err_msg=name)
        assert found["unlike"] == bool(is_novel(small.meta["novelty"], images, logits)[0]), name


def test_a_jpeg_turned_by_its_exif_data_is_read_upright(page, laboratory):
    model = laboratory.small
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(load_sample_image("flower.jpg")).save(buffer, format="JPEG", quality=95, subsampling=0, exif=exif)
    found = ask(page, buffer.getvalue())
    upright = read_picture(io.BytesIO(buffer.getvalue()))
    expected = prepare(upright, model.shape, model.meta["object_share"]).pixels.ravel()
    assert np.abs(np.array(found["pixels"]) - expected).max() <= 3  # two decoders round differently


LOOK = """async () => {
    const { sheets, nearest, at } = await engine.call("look");
    return { nearest, at, sheets: sheets.map(({ rgba, width, height }) => ({ rgba: [...rgba], width, height })) };
}"""


def test_a_picture_falls_where_project_puts_it_near_the_same_pictures(page, laboratory):
    model = laboratory.small
    stored = laboratory.map
    grid = page.evaluate(f"(({{ x, y }}) => [x, y])(DATA.maps.networks.{live.NETWORK}.methods.tsne['{LAYER}'])")
    points = stored.embedding.points
    for index in (5, 100, 300):  # the first is on the map
        image = load_sample()[1].images[index]
        ask(page, png(Image.fromarray(image[0])))
        found = page.evaluate(LOOK)
        (outputs,) = model.outputs(image[None], [LAYER])
        (expected,) = stored.place(outputs[LAYER].reshape(1, -1), 5)
        assert [near["row"] for near in found["nearest"][:5]] == [near.picture for near in expected.nearest]
        distances = [near["distance"] for near in found["nearest"]]
        assert distances == sorted(distances)
        # The page's grid, from the places of the pictures that are on both maps.
        axes = [np.polyfit(points[:, axis], grid[axis], 1) for axis in (0, 1)]
        wanted = [np.polyval(axes[axis], place) for axis, place in enumerate((expected.x, expected.y))]
        np.testing.assert_allclose(found["at"], wanted, atol=0.01 * np.ptp(grid, axis=1).max())
        assert found["nearest"][0]["row"] == 5 or index != 5


def test_feature_maps_are_those_of_the_network(page, laboratory):
    model = laboratory.small
    image = load_sample()[1].images[7]
    ask(page, png(Image.fromarray(image[0])))
    (sheet, *_) = page.evaluate(LOOK)["sheets"]
    (outputs,) = model.outputs(image[None], ["conv1"])
    maps = outputs["conv1"][0]
    rgba = np.reshape(sheet["rgba"], (sheet["height"], sheet["width"], 4))
    size = maps.shape[1]
    for channel in (0, 3):
        left = channel * (sheet["width"] - size) // 7
        scaled = 255 * (maps[channel] - maps[channel].min()) / np.ptp(maps[channel])
        np.testing.assert_allclose(rgba[:size, left : left + size, 1], scaled, atol=1)
    assert (rgba[:size, size] == 0).all()  # a gap


HEAT = """async ([pixels, label]) => [...(await heatOf(Uint8Array.from(pixels), label))]"""


def test_the_heat_map_is_that_of_explain(page, laboratory):
    model = laboratory.small
    image = load_sample()[1].images[3]
    expected = explain(model, image)
    found = page.evaluate(HEAT, [image.ravel().tolist(), expected.label])
    np.testing.assert_allclose(np.reshape(found, expected.heat.shape), expected.heat, atol=1e-4)


def answered(page) -> int:
    return int(page.locator("html").get_attribute("data-answered") or 0)


def wait_for_answer(page, before: int) -> None:
    """Wait until a new answer is shown, and what lies behind it."""
    page.wait_for_selector(f"html[data-answered]:not([data-answered='{before}'])", state="attached")
    until(page, "document.documentElement.dataset.looked === document.documentElement.dataset.answered")


def until(page, condition: str, argument: object = None) -> None:
    """Wait until a condition holds. Playwright's wait_for_function evaluates text, which the page's policy forbids."""
    for _ in range(600):
        if page.evaluate(condition, argument):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never came true: {condition}")


def test_drawing_answers_as_one_draws_and_clearing_takes_it_back(page):
    before = answered(page)
    box = page.locator(".board canvas").bounding_box()
    page.mouse.move(box["x"] + 60, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + 200, box["y"] + 200, steps=8)
    wait_for_answer(page, before)
    page.mouse.up()
    assert page.locator("#live-verdict").inner_text().split(",")[0] in NAMES
    assert page.locator(".bars li").count() == 10
    shares = page.locator(".bars b").all_inner_texts()
    assert 98 <= sum(int(share.split()[0]) for share in shares) <= 102
    assert page.locator(".near figure").count() == 5
    page.wait_for_selector("html[data-explained]", state="attached")
    assert drawn_pixels(page) > 0
    page.get_by_role("button", name="Clear").click()
    assert drawn_pixels(page) == 0
    page.get_by_role("button", name="Undo").click()
    assert drawn_pixels(page) > 0


def drawn_pixels(page) -> int:
    return page.locator(".board canvas").evaluate(
        "(c) => c.getContext('2d').getImageData(0, 0, 280, 280).data.filter((v, i) => i % 4 === 0 && v > 0).length"
    )


def test_the_keyboard_draws(page):
    before = answered(page)
    page.locator(".board canvas").focus()
    for key in ("ArrowLeft", "ArrowUp", " ", *["ArrowRight"] * 5, *["ArrowDown"] * 5, " ", "ArrowLeft"):
        page.keyboard.press(key)
    wait_for_answer(page, before)
    assert drawn_pixels(page) > 24 * 50


DROP = """([data, how]) => {
    const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
    const carried = new DataTransfer();
    carried.items.add(new File([bytes], "picture.png", { type: "image/png" }));
    const options = { bubbles: true, cancelable: true };
    const section = document.getElementById("live");
    if (how === "drop") section.dispatchEvent(new DragEvent("drop", { ...options, dataTransfer: carried }));
    else document.dispatchEvent(new ClipboardEvent("paste", { ...options, clipboardData: carried }));
}"""


@pytest.mark.parametrize("how", ["drop", "paste", "choose"])
def test_a_picture_can_be_dropped_pasted_and_chosen(page, how):
    before = answered(page)
    data = pictures()["on white"]
    if how == "choose":
        chosen = {"name": "picture.png", "mimeType": "image/png", "buffer": data}
        page.locator("#live input[type=file]").first.set_input_files(chosen)
    else:
        page.evaluate(DROP, [base64.b64encode(data).decode(), how])
    wait_for_answer(page, before)
    assert "Darker than its background, inverted." in page.locator("#live-verdict").inner_text()


def test_a_file_that_is_no_picture_is_named(page):
    wrong = {"name": "notes.txt", "mimeType": "image/png", "buffer": b"not a picture"}
    page.locator("#live input[type=file]").first.set_input_files(wrong)
    page.wait_for_selector("#live-status:has-text('notes.txt cannot be read')")


def test_sliders_samples_and_the_walk_decode_new_pictures(page):
    canvas = page.locator("#sampler .plate canvas")

    def picture() -> str:
        return canvas.evaluate("(c) => c.toDataURL()")

    def change(act) -> None:
        before = picture()
        act()
        until(page, "(before) => before !== document.querySelector('#sampler .plate canvas').toDataURL()", before)

    page.wait_for_selector("html[data-decoded]", state="attached")
    slider = page.locator("#sampler [data-dimension]").first
    slider.focus()
    change(lambda: [page.keyboard.press("ArrowRight") for _ in range(30)])
    change(lambda: page.get_by_role("button", name="Another sample").click())
    change(lambda: page.locator("[data-walk=to]").select_option(index=1))
    page.get_by_label("How far on the walk").focus()
    change(lambda: page.keyboard.press("End"))


def test_the_readers_own_picture_is_encoded_and_walked_from(page, laboratory):
    own = page.locator("#sampler").get_by_role("button", name="Your picture", exact=True)
    own.click()
    page.wait_for_selector("#sampler-status:has-text('draw or open a picture first')")
    before = answered(page)
    image = load_sample()[1].images[3]
    chosen = {"name": "picture.png", "mimeType": "image/png", "buffer": png(Image.fromarray(image[0]))}
    page.locator("#live input[type=file]").first.set_input_files(chosen)
    wait_for_answer(page, before)
    (code,), _ = laboratory.encoder.codes(image[None])
    # The page's encoder stores its weights in 8 bits.
    found = page.evaluate("async () => [...(await engine.call('encode')).code]")
    np.testing.assert_allclose(found, code, atol=0.05 * max(1, np.abs(code).max()))
    own.click()
    page.wait_for_selector("#sampler-status:has-text('Decoded')")
    page.get_by_role("button", name="Your picture, as the end").click()
    until(page, "document.querySelector('[data-walk=to]').value === 'own'")
    page.get_by_label("How far on the walk").focus()
    page.keyboard.press("End")
    shown = page.locator("#sampler [data-dimension]").first
    dimension = int(shown.get_attribute("data-dimension"))
    assert abs(float(shown.input_value()) - np.clip(found[dimension], -3, 3)) < 0.05


def test_a_phone_has_room_for_the_live_part(browser, laboratory):
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True)
    page = context.new_page()
    page.goto(laboratory.page.as_uri())
    page.wait_for_selector("html[data-live]", state="attached", timeout=120_000)
    page.locator(".board canvas").scroll_into_view_if_needed()
    box = page.locator(".board canvas").bounding_box()
    page.touchscreen.tap(box["x"] + 100, box["y"] + 100)
    wait_for_answer(page, 0)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()


def test_the_page_is_used_before_the_network_has_loaded(browser, laboratory):
    context = browser.new_context()
    page = context.new_page()
    page.goto(laboratory.page.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    page.locator("#curves").get_by_role("radio", name="loss").check()
    assert page.locator("#curves .chart [data-series=mynet]").count() == 1
    assert page.locator("#curves").get_by_role("radio", name="loss").is_checked()
    loaded = page.locator("html").get_attribute("data-live")
    ready = page.locator("html").get_attribute("data-ready")
    page.wait_for_selector("html[data-live]", state="attached", timeout=120_000)
    assert loaded is None or int(loaded) > int(ready)
    context.close()


def test_packed_files_come_back_whole():
    for size in (0, 1, 12, 13, 5000):
        data = np.random.default_rng(size).bytes(size)
        text = live.packed(data)
        assert unpacked(text) == data
        assert not set(text) & set("<\r\n\0")


def test_another_package_is_refused(tmp_path):
    archive = tmp_path / "package.tgz"
    archive.write_bytes(b"another package")
    with pytest.raises(UserError, match="not the package that was pinned"):
        npm.check(page_assets.PACKAGE, page_assets.SHA512, archive)
