"""The API as a program meets it."""

import base64
import io
import json
import pathlib
import re
import struct
import tempfile
import time
import zipfile
import zlib

import jax
import numpy as np
import pytest
from PIL import Image
from sending import SIZE, encoded, pair, picture
from starlette.testclient import TestClient

from lure_jax.evaluation.fusion import fusion_scores
from lure_jax.inference import weights
from lure_jax.inference.fuser import Fuser
from lure_jax.serve import api, jobs
from lure_jax.serve import engine as engine_module
from lure_jax.serve.engine import Engine
from lure_jax.serve.limits import Limits
from lure_jax.text.conditions import CONDITIONS, condition_id
from lure_jax.text.prompts import resolve

JSON = {"Accept": "application/json"}


@pytest.fixture
def client(engine):
    with TestClient(api.create_app(engine)) as made:
        yield made


@pytest.fixture(scope="module")
def fuser(model_folder):
    return Fuser.load(model_folder)


def client_of(model_folder, **limits):
    return TestClient(api.create_app(Engine(weights.load(model_folder), "random", Limits()._replace(**limits))))


def opened(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def test_a_picture_as_the_fuser_makes_it(client, fuser):
    answer = client.post("/api/fuse", files=pair(), data={"prompt": "dark, the thermal has stripes"})
    assert answer.status_code == 200 and answer.headers["content-type"] == "image/png"
    expected = fuser.fuse(picture(), picture(channels=1, seed=1), "dark, the thermal has stripes")
    np.testing.assert_array_equal(opened(answer.content), expected)
    assert json.loads(answer.headers["X-Lure-Read"]) == {"visible": ["low_light"], "infrared": ["stripe"]}
    assert json.loads(answer.headers["X-Lure-Warnings"]) == []


def test_json_says_what_was_found_and_shows_what_was_seen(client, fuser):
    fields = {"detect": "true", "previews": "true"}
    red_to_blue = np.stack([np.linspace(200, 0, 64), np.full(64, 90), np.linspace(0, 200, 64)], -1)
    visible = np.repeat(red_to_blue[None].astype(np.uint8), 48, 0)
    files = pair() | {"visible": ("v.png", encoded(visible))}
    answer = client.post("/api/fuse", files=files, data=fields, headers=JSON).json()
    assert (answer["height"], answer["width"]) == SIZE and answer["read"] == {"visible": None, "infrared": None}
    np.testing.assert_array_equal(
        opened(base64.b64decode(answer["image"])), fuser.fuse(visible, picture(channels=1, seed=1))
    )
    expected = fuser.detect(visible, "visible")
    assert {one["condition"]: one["probability"] for one in answer["detected"]["visible"]} == pytest.approx(expected)
    assert all(one["present"] == (one["probability"] > 0.5) for one in answer["detected"]["visible"])
    seen = opened(base64.b64decode(answer["previews"]["visible"]))
    assert np.abs(seen.astype(int) - visible).mean() < 4  # JPEG


def test_strength_reaches_the_fuser(client, fuser):
    half, full = (
        opened(client.post("/api/fuse", files=pair(), data={"prompt": "haze", "strength": s}).content) for s in (0.5, 1)
    )
    expected = fuser.fuse(picture(), picture(channels=1, seed=1), "haze", strength=0.5)
    np.testing.assert_array_equal(half, expected)
    assert np.abs(half.astype(int) - full).mean() > 0.5


def test_restore_and_detect(client, fuser):
    image = {"image": ("i.png", encoded(picture(channels=1)))}
    answer = client.post("/api/restore", files=image, data={"modality": "infrared", "prompt": "stripes"})
    np.testing.assert_array_equal(opened(answer.content), fuser.restore(picture(channels=1), "infrared", "stripes"))
    assert json.loads(answer.headers["X-Lure-Read"]) == {"visible": None, "infrared": ["stripe"]}
    found = client.post("/api/detect", files=image, data={"modality": "infrared"}).json()["conditions"]
    assert {f["condition"]: f["probability"] for f in found} == pytest.approx(
        fuser.detect(picture(channels=1), "infrared")
    )
    assert found == sorted(found, key=lambda one: -one["probability"])


def test_metrics_are_the_protocols(client):
    size = (176, 180)
    visible, infrared = picture(size), picture(size, 1, seed=1)
    files = pair(size) | {"fused": ("f.png", encoded(visible))}
    scores = client.post("/api/metrics", files=files).json()
    expected = fusion_scores(visible, visible, infrared)
    assert {score["name"]: score["value"] for score in scores} == pytest.approx(expected)
    directions = {score["name"]: (score["larger_is_better"], score["refers_to_sources"]) for score in scores}
    assert directions["SCD"] == (True, True) and directions["EN"] == (True, False)
    assert directions["overshoot"] == (False, True)


def test_metrics_have_bounds(client, monkeypatch):
    monkeypatch.setattr(engine_module, "MOST_MEASURED", 200 * 200)
    for size, status, word in (((176, 175), 422, "at least 176x176"), ((200, 201), 413, "lure evaluate")):
        answer = client.post("/api/metrics", files=pair(size) | {"fused": ("f.png", encoded(picture(size)))})
        assert answer.status_code == status and word in answer.json()["error"]


def test_sixteen_bits_in_sixteen_bits_out(client):
    buffer = io.BytesIO()
    Image.fromarray(picture(channels=1, dtype=np.uint16)).save(buffer, "TIFF")
    answer = client.post("/api/fuse", files=pair() | {"visible": ("v.tif", buffer.getvalue())})
    fused = opened(answer.content)
    assert fused.dtype.itemsize >= 2 and len(np.unique(fused % 257)) > 100  # not 8 bits in disguise


def test_alpha_is_kept(client, fuser):
    visible = picture(channels=4)
    answer = client.post("/api/fuse", files=pair() | {"visible": ("v.png", encoded(visible))}, data={"previews": "1"})
    fused = opened(answer.content)
    np.testing.assert_array_equal(fused[..., 3], visible[..., 3])
    np.testing.assert_array_equal(fused[..., :3], fuser.fuse(visible[..., :3], picture(channels=1, seed=1)))
    grey = Image.fromarray(np.ascontiguousarray(visible[..., 2:]), "LA")
    buffer = io.BytesIO()
    grey.save(buffer, "PNG")
    fused = opened(client.post("/api/fuse", files=pair() | {"visible": ("v.png", buffer.getvalue())}).content)
    np.testing.assert_array_equal(fused[..., 3], visible[..., 3])
    assert (fused[..., 0] == fused[..., 1]).all()


def test_a_batch_is_a_zip_with_the_reasons_of_failures(client, fuser):
    good = pair()
    files = [(m, (f"dir/{stem}{good[m][0][1:]}", good[m][1])) for stem in ("a", "b") for m in good]
    files += [("visible", ("c.jpg", b"no image")), ("infrared", ("c.png", good["infrared"][1]))]
    answer = client.post("/api/batch", files=files)
    assert answer.headers["X-Lure-Failures"] == "1" and answer.headers["X-Lure-Pairs"] == "3"
    packed = zipfile.ZipFile(io.BytesIO(answer.content))
    assert sorted(packed.namelist()) == ["a.png", "b.png", "errors.txt"]
    np.testing.assert_array_equal(opened(packed.read("a.png")), fuser.fuse(picture(), picture(channels=1, seed=1)))
    assert "'c.jpg' is not an image" in packed.read("errors.txt").decode()


@pytest.mark.parametrize(
    ("visible", "infrared", "sentence"),
    [
        (("a.png",), ("b.png",), "'a' has no infrared partner"),
        (("a.png", "x/a.jpg"), ("a.png",), "shares its name with another"),
        (("a.png", "b.png", "c.png"), ("a.png", "b.png", "c.png"), "3 pairs, and this server takes 2"),
        (("../../a.png",), ("..\\b.png",), "'a' has no infrared partner"),
    ],
)
def test_a_batch_that_does_not_match(model_folder, visible, infrared, sentence):
    files = [(m, (n, b"x")) for m, names in (("visible", visible), ("infrared", infrared)) for n in names]
    with client_of(model_folder, pairs=2) as client:
        answer = client.post("/api/batch", files=files)
    assert answer.status_code == 422 and sentence in answer.json()["error"]


def bomb(side=60_000):
    """A PNG of some bytes that declares billions of pixels."""
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(bytes(100_000))), (b"IEND", b""))
    packed = [struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


def webp_bomb(side=16_383):
    """A lossless WebP that declares the most that its header can hold."""
    chunk = b"\x2f" + struct.pack("<I", side - 1 | side - 1 << 14) + bytes(51)
    body = b"WEBPVP8L" + struct.pack("<I", len(chunk)) + chunk
    return b"RIFF" + struct.pack("<I", len(body)) + body


BAD = [  # status, what is sent for visible, a word of the sentence
    (400, ("v.png", b""), "'v.png' is empty"),
    (415, ("v.png", b"this is a text"), "not an image of a kind that can be read"),
    (415, ("v.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "PNG, JPEG"),
    (413, ("v.png", bomb()), "pixels"),
    (413, ("v.png", bomb(3465)), "12 megapixels"),
    (413, ("v.webp", webp_bomb()), "pixels"),
    (413, ("v.ppm", b"P6 60000 60000 255\n"), "pixels"),
    (415, ("v.png", encoded(picture(), "GIF")), "WebP"),
    (413, ("v.jpg", bytes(40 * 2**20)), "32 MB"),
    (422, ("v.png", encoded(picture((40, 64)))), "64x40 and the infrared image 'i.png' is 64x48"),
    (422, ("v.png", encoded(picture())[:-2000]), "cannot be read"),
    (422, ("v.tif", encoded(np.full(SIZE, np.nan, np.float32), "TIFF")), "not finite"),
]


@pytest.mark.parametrize(("status", "visible", "word"), BAD)
def test_bad_images_are_one_sentence(client, status, visible, word):
    answer = client.post("/api/fuse", files=pair() | {"visible": visible})
    assert answer.status_code == status, answer.text
    sentence = answer.json()["error"]
    assert list(answer.json()) == ["error"] and word in sentence and sentence.endswith(".") and "\n" not in sentence
    assert client.post("/api/fuse", files=pair()).status_code == 200  # and it goes on


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"strength": "3"}, "strength is '3'"),
        ({"strength": "nan"}, "strength is 'nan'"),
        ({"strength": "much"}, "strength is 'much'"),
        ({"prompt": "x" * 501}, "prompt"),
    ],
)
def test_bad_arguments(client, fields, word):
    answer = client.post("/api/fuse", files=pair(), data=fields)
    assert answer.status_code == 422 and word in answer.json()["error"] and len(answer.json()["error"]) < 200


def test_other_mistakes(client):
    answers = {
        422: client.post("/api/fuse", files={"visible": pair()["visible"]}),
        404: client.get("/api/nothing"),
        405: client.get("/api/fuse"),
        400: client.post("/api/fuse", content=b"junk", headers={"Content-Type": "multipart/form-data"}),
    }
    for status, answer in answers.items():
        assert answer.status_code == status and list(answer.json()) == ["error"], answer.text
    assert "infrared is missing" in answers[422].json()["error"]
    assert client.post("/api/detect", files={"image": b"x"}, data={"modality": "radar"}).status_code == 422
    assert client.get("/api/samples/no/visible.png").status_code == 404


def test_a_body_without_a_length_is_counted(client):
    def endless():
        yield b'--x\r\nContent-Disposition: form-data; name="visible"; filename="v.png"\r\n\r\n'
        for _ in range(40):
            yield bytes(2**20)

    answer = client.post("/api/fuse", content=endless(), headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 413 and "32 MB" in answer.json()["error"]


def test_uploads_stay_in_memory(client, monkeypatch):
    def refuse(_):
        raise AssertionError("an upload went to the disk")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", refuse)
    padded = pair()["visible"][1] + bytes(3 * 2**20)  # what follows the end of a PNG is not read
    assert client.post("/api/fuse", files=pair() | {"visible": ("v.png", padded)}).status_code == 200


def test_words_that_are_not_understood_are_told(client):
    answer = client.post("/api/fuse", files=pair(), data={"prompt": "a flimsy, naïve photo"}, headers=JSON)
    assert answer.status_code == 200 and "flimsy, naïve" in answer.json()["warnings"][0]
    picture_answer = client.post("/api/fuse", files=pair(), data={"prompt": "a flimsy, naïve photo"})
    assert "naïve" in json.loads(picture_answer.headers["X-Lure-Warnings"])[0]


def test_every_suggestion_names_its_condition_alone_and_together(client):
    conditions = client.get("/api/conditions").json()
    together = [one["sentence"] for modality in conditions for one in conditions[modality][1:]]
    for modality, entries in conditions.items():
        assert [e["name"] for e in entries] == [c.name for c in CONDITIONS if c.modality == modality]
        for entry in entries:
            resolved = resolve(entry["sentence"])
            assert getattr(resolved, modality) == (condition_id(modality, entry["name"]),) and not resolved.unknown
    everything = resolve("; ".join(together))
    assert [CONDITIONS[c].name for c in everything.visible] == [e["name"] for e in conditions["visible"][1:]]
    assert [CONDITIONS[c].name for c in everything.infrared] == [e["name"] for e in conditions["infrared"][1:]]


def test_too_long_a_request_ends_and_the_next_goes_through(model_folder, monkeypatch):
    real = jobs.fuse
    with client_of(model_folder, seconds=30) as client:
        assert client.post("/api/fuse", files=pair()).status_code == 200  # compiled
    monkeypatch.setattr(jobs, "fuse", lambda *args, **options: time.sleep(1) or real(*args, **options))
    with client_of(model_folder, seconds=0.3) as client:
        answer = client.post("/api/fuse", files=pair())
        assert answer.status_code == 503 and "longer than 0.3 s" in answer.json()["error"]
        assert "Retry-After" not in answer.headers
        monkeypatch.setattr(jobs, "fuse", real)
        time.sleep(1)
        assert client.get("/api/health").json()["status"] == "ok"


def test_a_failure_of_ours_is_json(engine, monkeypatch):
    monkeypatch.setattr(jobs, "fuse", lambda *args, **options: 1 / 0)
    with TestClient(api.create_app(engine), raise_server_exceptions=False) as client:
        answer = client.post("/api/fuse", files=pair())
    assert answer.status_code == 500 and "log" in answer.json()["error"]


@pytest.fixture
def restored_cache():
    """The suite's cache on disk, written again after a test that ends it."""
    seconds = jax.config.jax_persistent_cache_min_compile_time_secs
    yield
    jax.config.update("jax_persistent_cache_min_compile_time_secs", seconds)


def test_compiled_shapes_are_bounded(model_folder, monkeypatch, restored_cache):
    cleared, clear = [], jax.clear_caches
    monkeypatch.setattr(jax, "clear_caches", lambda: cleared.append(len(found)) or clear())
    found = []
    with client_of(model_folder, shapes=2) as client:
        for height in (40, 48, 40, 33, 32, 40):  # 33 shares a shape with 40
            image = {"image": ("i.png", encoded(picture((height, 64), 1)))}
            found.append(client.post("/api/detect", files=image, data={"modality": "infrared"}).json())
    assert cleared == [4] and found[5] == found[2] == found[0]
    assert jax.config.jax_persistent_cache_min_compile_time_secs > 1e6  # the disk gets no more of them


def test_a_model_that_fuses_alone(engine):
    engine.restores = False
    with TestClient(api.create_app(engine)) as client:
        assert client.get("/api/health").json()["restores"] is False
        answer = client.post("/api/fuse", files=pair(), data={"detect": "true"}, headers=JSON)
    assert answer.status_code == 200 and answer.json()["detected"] is None


def test_samples_are_pairs(client):
    names = [sample["name"] for sample in client.get("/api/samples").json()]
    assert len(names) >= 3
    shapes = {
        modality: opened(client.get(f"/api/samples/{names[-1]}/{modality}.png").content).shape
        for modality in ("visible", "infrared")
    }
    assert shapes == {"visible": (480, 640, 3), "infrared": (480, 640)}


def test_openapi_describes_every_path(client):
    described = client.get("/openapi.json").json()
    posted = {path for path, methods in described["paths"].items() if "post" in methods}
    assert posted == {f"/api/{name}" for name in ("fuse", "restore", "detect", "batch", "metrics")}
    fuse = described["paths"]["/api/fuse"]["post"]
    assert {"200", "400", "413", "415", "422", "503"} <= set(fuse["responses"])
    assert {"image/png", "application/json"} == set(fuse["responses"]["200"]["content"])


def test_the_page_is_whole_and_asks_nobody_else(client):
    index = client.get("/")
    assert "default-src 'none'" in index.headers["Content-Security-Policy"]
    wanted = re.findall(r'(?:src|href)="(page/[^"]+)"', index.text)
    modules = re.findall(r'from "\./([^"]+)"', client.get("/page/app.js").text)
    assert "page/app.js" in wanted and "requests.js" in modules
    for path in [*wanted, *(f"page/{name}" for name in modules)]:
        assert client.get(f"/{path}").status_code == 200
    for path in pathlib.Path(api.PAGE).iterdir():
        outside = set(re.findall(r"https?://[^\s\"']+", path.read_text())) - {"http://www.w3.org/2000/svg"}
        assert not outside, path
