"""Pictures of the page at 1440 and 390 pixels, light and dark, to look at: python benchmarks/serve_pictures.py DIR.

Needs Chromium with its driver (apt-get install chromium chromium-driver). DIR/1440-light.png is docs/images/serve.jpg.
"""

import base64
import pathlib
import shutil
import subprocess
import sys
import tempfile

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

WIDTHS = (1440, 390)
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


def main(folder: str) -> None:
    output = pathlib.Path(folder)
    output.mkdir(parents=True, exist_ok=True)
    options = webdriver.ChromeOptions()
    with tempfile.TemporaryDirectory() as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        command = [sys.executable, "-m", "lure_jax.cli", "serve", "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            url = server.stdout.readline().split()[0]
            for width in WIDTHS:
                take(driver, url, width, output)
        finally:
            driver.quit()
            server.terminate()
            server.wait()


def take(driver: webdriver.Chrome, url: str, width: int, output: pathlib.Path) -> None:
    """The empty page, an error, and the result of the second sample in both colour schemes."""
    emulate(driver, "setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
    scheme(driver, "light")
    driver.get(url)
    wait(driver, "#samples button")
    rendered = "return [...document.querySelectorAll('#samples img')].every((image) => image.naturalWidth)"
    WebDriverWait(driver, 120).until(lambda _: driver.execute_script(rendered))
    capture(driver, output / f"{width}-empty.png")
    driver.find_element(By.ID, "go").click()
    capture(driver, output / f"{width}-error.png")
    driver.find_elements(By.CSS_SELECTOR, "#samples button")[1].click()
    wait(driver, ".scores")
    driver.execute_script("caption.textContent = caption.textContent.split(' · ')[0]")  # no timing in a picture
    for name in ("light", "dark"):
        scheme(driver, name)
        capture(driver, output / f"{width}-{name}.png")


def wait(driver: webdriver.Chrome, selector: str) -> None:
    WebDriverWait(driver, 120).until(lambda _: driver.find_elements(By.CSS_SELECTOR, selector))


def emulate(driver: webdriver.Chrome, what: str, **values) -> None:
    driver.execute_cdp_cmd(f"Emulation.{what}", values)


def scheme(driver: webdriver.Chrome, name: str) -> None:
    emulate(driver, "setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])


def capture(driver: webdriver.Chrome, path: pathlib.Path) -> None:
    size = driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
    shot = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    path.write_bytes(base64.b64decode(shot["data"]))


if __name__ == "__main__":
    main(*sys.argv[1:])
