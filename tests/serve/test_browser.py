"""The page in a real Chromium: upload, fuse, slide, download, be told what is wrong."""

import io
import re
import shutil
import threading
import time
import zipfile

import numpy as np
import pytest
import uvicorn
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from sending import SIZE, encoded, picture

from lure_jax.inference import weights
from lure_jax.inference.fuser import Fuser
from lure_jax.serve import samples
from lure_jax.serve.api import create_app
from lure_jax.serve.engine import Engine
from lure_jax.serve.limits import Limits
from lure_jax.serve.run import listen

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="THE PAGE IS NOT TESTED, no Chromium: apt-get install chromium chromium-driver"
)
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--force-device-scale-factor=1",
)  # fmt: skip
VISIBLE, INFRARED = picture(), picture(channels=1, seed=1)


@pytest.fixture(scope="module")
def address(model_folder):
    """A server in a thread of this process, with small samples."""
    samples.png.cache_clear()
    patch = pytest.MonkeyPatch()
    patch.setattr(samples, "_SIZE", SIZE)
    limits = Limits(upload_bytes=2**20)
    server = uvicorn.Server(uvicorn.Config(create_app(Engine(weights.load(model_folder), "random", limits))))
    with listen("127.0.0.1", 0) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join()
    patch.undo()
    samples.png.cache_clear()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    profile, downloads = tmp_path_factory.mktemp("profile"), tmp_path_factory.mktemp("downloads")
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
    driver.downloads = downloads
    yield driver
    driver.quit()


@pytest.fixture
def page(chromium, address):
    """The page, freshly loaded on a wide screen."""
    screen(chromium, 1440, 900)
    chromium.get(address)
    until(chromium, lambda: shown(chromium, "restoring"))
    return chromium


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    for name, data in {
        "v.png": encoded(VISIBLE), "i.png": encoded(INFRARED), "i.tif": encoded(INFRARED, "TIFF"),
        "broken.png": b"this is a text", "wide.png": encoded(picture((40, 64), 1)), "large.png": bytes(2**21),
        "vi/a.png": encoded(VISIBLE), "ir/a.png": encoded(INFRARED), "vi/b.png": encoded(VISIBLE), "ir/b.png": b"",
    }.items():  # fmt: skip
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def screen(driver, width, height):
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": width < 500})


def until(driver, condition):
    return WebDriverWait(driver, 60, 0.05, [Exception]).until(lambda _: condition())


def find(driver, name):
    return driver.find_element(By.ID, name)


def shown(driver, name):
    return find(driver, name).is_displayed()


def fuse(driver, files, visible="v.png", infrared="i.png"):
    find(driver, "visible").send_keys(str(files / visible))
    find(driver, "infrared").send_keys(str(files / infrared))
    find(driver, "go").click()
    until(driver, lambda: find(driver, "go").get_attribute("aria-disabled") == "false")


def divider(driver):
    """Where the divider says that it is, and where the left image ends, in percent of the stage."""
    clip = driver.execute_script("return getComputedStyle(document.getElementById('over')).clipPath")
    hidden = re.fullmatch(r"inset\(0px calc\(100% - ([\d.]+)%\) 0px 0px\)|inset\(0px ([\d.]+)% 0px 0px\)", clip)
    assert hidden, clip
    ends = float(hidden[1]) if hidden[1] else 100 - float(hidden[2])
    return float(find(driver, "divider").get_attribute("aria-valuenow")), ends


def downloaded(driver, name):
    path = driver.downloads / name
    until(driver, lambda: path.exists() and path.stat().st_size)
    data = path.read_bytes()
    path.unlink()
    return data


def message(driver):
    return find(driver, "message").text


def test_upload_fuse_slide_and_download(page, files, model_folder):
    assert shown(page, "empty") and not shown(page, "compare")
    fuse(page, files)
    assert shown(page, "compare") and not shown(page, "empty") and message(page) == ""
    assert [find(page, name).text for name in ("tag-left", "tag-right")] == ["Visible", "Fused"]
    until(page, lambda: "at least 176x176" in find(page, "metrics").text)
    assert "stripe" in find(page, "detected").text and len(page.find_elements(By.CLASS_NAME, "bar")) == 11

    assert divider(page) == (50, pytest.approx(50, abs=1))
    width = find(page, "stage").size["width"]
    ActionChains(page).click_and_hold(find(page, "divider")).move_by_offset(-width // 4, 0).release().perform()
    assert divider(page) == (pytest.approx(25, abs=2), pytest.approx(25, abs=2))
    ActionChains(page).move_by_offset(width // 3, 0).perform()  # let go: it stays
    assert divider(page)[0] == pytest.approx(25, abs=2)
    find(page, "divider").send_keys(Keys.END, Keys.PAGE_DOWN, Keys.ARROW_LEFT)
    assert divider(page) == (88, pytest.approx(88, abs=1))
    assert "88 percent Visible" in find(page, "divider").get_attribute("aria-valuetext")

    find(page, "download").click()
    data = downloaded(page, "v-fused.png")
    np.testing.assert_array_equal(Image.open(io.BytesIO(data)), Fuser.load(model_folder).fuse(VISIBLE, INFRARED))


def test_two_of_three_images_are_compared_and_a_prompt_is_put_together(page, files):
    fuse(page, files)
    find(page, "left").send_keys("Infrared")
    assert find(page, "tag-left").text == "Infrared"
    page.find_element(By.CSS_SELECTOR, "[value=say]").click()
    chips = {chip.text: chip for chip in page.find_elements(By.CSS_SELECTOR, "#chips button")}
    chips["haze"].click(), chips["stripe"].click(), chips["rain"].click(), chips["rain"].click()
    assert find(page, "prompt").get_attribute("value") == "a hazy visible image; an infrared image with stripes"
    find(page, "prompt").send_keys("; a flimsy photo")
    find(page, "go").click()
    until(page, lambda: "flimsy" in message(page))
    assert "prompt read as visible haze; infrared stripe" in find(page, "caption").text
    assert find(page, "tag-left").text == "Infrared"
    before = find(page, "under").get_attribute("src")
    find(page, "strength").send_keys(Keys.ARROW_LEFT)
    until(page, lambda: find(page, "under").get_attribute("src") not in (before, None))
    assert find(page, "strength-value").text == "95 %"


def test_dropped_files_find_their_places_by_name(page):
    script = """
      const data = new DataTransfer(), [names, where] = arguments;
      for (const name of names) data.items.add(new File(["x"], name, {type: "image/png"}));
      document.querySelector(where).dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true}));
      const titles = document.querySelectorAll("#pane-one .drop-text");
      return [...titles].map(title => title.innerText);
    """
    assert page.execute_script(script, ["07_ir.png", "07_vis.png"], ".viewer") == ["07_vis.png", "07_ir.png"]
    assert page.execute_script(script, ["b.png"], "#infrared") == ["07_vis.png", "b.png"]
    page.execute_script(script, ["a_rgb.png", "b_rgb.png", "a_lwir.png"], "body")
    assert find(page, "matched").text.startswith("0 pairs; without a partner: a_rgb, b_rgb, a_lwir")


def test_mistakes_are_told_in_the_page(page, files):
    find(page, "go").click()
    assert message(page) == "Choose a visible image and an infrared image first."
    for visible, infrared, told in (
        ("broken.png", "i.png", "'broken.png' is not an image"),
        ("v.png", "wide.png", "'v.png' is 64x48 and the infrared image 'wide.png' is 64x40"),
        ("large.png", "i.png", "this server takes 1 MB"),
    ):
        fuse(page, files, visible, infrared)
        assert told in message(page) and find(page, "message").get_attribute("role") == "alert"
        assert not shown(page, "compare")
    fuse(page, files)
    assert message(page) == "" and shown(page, "compare")


def test_a_tiff_has_a_picture_once_the_server_has_read_it(page, files):
    fuse(page, files, infrared="i.tif")
    drop = find(page, "infrared").find_element(By.XPATH, "..")
    until(page, lambda: page.execute_script("return arguments[0].querySelector('img').naturalWidth", drop))
    assert drop.find_element(By.TAG_NAME, "img").is_displayed() and drop.text == "Infrared\ni.tif"


def test_many_pairs_come_back_as_a_zip(page, files):
    find(page, "tab-one").send_keys(Keys.ARROW_RIGHT)
    for modality, folder in (("visible", "vi"), ("infrared", "ir")):
        paths = "\n".join(str(files / folder / name) for name in ("a.png", "b.png"))
        find(page, f"many-{modality}").send_keys(paths)
    assert find(page, "matched").text == "2 pairs."
    find(page, "go").click()
    until(page, lambda: "1 of 2 pairs" in message(page))
    assert zipfile.ZipFile(io.BytesIO(downloaded(page, "fused.zip"))).namelist() == ["a.png", "errors.txt"]


def test_a_phone_by_touch(page):
    screen(page, 390, 844)
    page.refresh()
    until(page, lambda: len(page.find_elements(By.CSS_SELECTOR, "#samples button")) == len(samples.SAMPLES))
    page.find_elements(By.CSS_SELECTOR, "#samples button")[1].click()
    until(page, lambda: shown(page, "compare"))
    until(page, lambda: "176x176" in find(page, "metrics").text)
    assert page.execute_script("return document.documentElement.scrollWidth") == 390
    page.execute_script("document.getElementById('stage').scrollIntoView({block: 'center', behavior: 'instant'})")
    time.sleep(0.5)
    box = page.execute_script("return document.getElementById('stage').getBoundingClientRect().toJSON()")
    y = box["top"] + box["height"] / 2
    for kind, x in (("Start", 0.5), ("Move", 0.6), ("Move", 0.8), ("End", None)):
        points = [] if x is None else [{"x": box["left"] + x * box["width"], "y": y}]
        page.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
    assert divider(page) == (pytest.approx(80, abs=2), pytest.approx(80, abs=2))


def test_the_console_stays_silent(page):
    assert not [entry for entry in page.get_log("browser") if "status of 4" not in entry["message"]]
