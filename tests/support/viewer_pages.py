"""Pages of the viewer made from drawn people, and what a browser shows of them."""

import json

import cv2
import numpy as np
import torch

from demo.output import Row
from demo.person import Person
from demo.viewer import ViewerWriter
from utils.evaluation.consensus import HEATMAP_JOINTS, find_modes
from utils.skeleton import H36M17

IMAGE = np.full((300, 300, 3), 120, np.uint8)
SEEN_AS = list(HEATMAP_JOINTS[17])


def row(number=0, *, seed=0, hypotheses=30, angle=0.0):
    """Somebody with two modes, whose joints of the picture are those of the mean pose in the crop of 200 px."""
    generator = np.random.default_rng(seed)
    base = generator.normal(0, 300, (1, 17, 3))
    poses = (base + generator.normal(0, 40, (hypotheses, 17, 3))).astype(np.float32)
    poses[:, 0] = 0
    poses[hypotheses // 2 :, 13] += 400
    joints = np.array([120.0, 130.0]) + 0.09 * poses.mean(0)[SEEN_AS, :2] * [1, -1]
    maps = np.zeros((16, 64, 64))
    person = Person(np.array([20.0, 30.0]), 200.0, maps, joints, np.zeros(16), None, angle)
    guessed = np.arange(17) == 13
    modes = find_modes(torch.from_numpy(poses), radius_mm=60.0)
    return Row("a", 0, number, person, poses, poses.mean(0), np.linspace(0, 200, 17), guessed, modes)


def write_page(path, frames=3):
    """Two people in all frames but the second, which nobody is in; returns the path."""
    writer = ViewerWriter(skeleton=H36M17, expected_frames=frames, title="a </script> name", fps=25.0)
    for k in range(frames):
        people = [row(0, seed=k), row(1, seed=100 + k)] if k != 1 else []
        writer.add(f"frame {k}", IMAGE, people, number=10 * k)
    writer.write(path)
    return path


def drawn(driver, name="canvas"):
    """How many pixels of a canvas are painted, and a sum over what they look like."""
    script = """const c = document.getElementById(arguments[0]);
        return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.reduce((s, v, i) => {
            if (i % 4 === 3 && v) s[0]++; s[1] = (s[1] * 31 + v) % 1000003; return s; }, [0, 7]);"""
    return driver.execute_script(script, name)


def screenshot(element):
    """What an element looks like on the screen, (H, W, 3) RGB."""
    return cv2.imdecode(np.frombuffer(element.screenshot_as_png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)


def near_colour(pixels, colour, tolerance=40):
    """Which pixels (H, W) are of about this colour, RGB."""
    return np.abs(pixels - np.array(colour)).max(axis=-1) <= tolerance


def requests(driver):
    """What the browser asked the network for."""
    events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
    urls = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    return [url for url in urls if not url.startswith(("file:", "data:", "chrome", "about:"))]


def errors(driver):
    """Error lines of the browser's console."""
    return [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"]


def choose(driver, name, value):
    """Put a value into a list or slider, as a user's choice does."""
    script = """const one = document.getElementById(arguments[0]); one.value = arguments[1];
        one.dispatchEvent(new Event(one.tagName === 'SELECT' ? 'change' : 'input'));"""
    driver.execute_script(script, name, value)


def as_phone(driver, width):
    """Give the browser a phone's screen."""
    size = {"width": width, "height": 780, "deviceScaleFactor": 2, "mobile": True}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})


def as_desk(driver):
    """Give it a desk's screen again."""
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})


def open_page(browser, folder, link="", **options):
    """Open a new page of :func:`write_page` at a link."""
    browser.get(write_page(folder / "viewer.html", **options).as_uri() + link)


def find(browser, name):
    """The element of this id."""
    return browser.find_element("id", name)


def press(browser, *keys):
    """Press keys one after another, where the focus is."""
    from selenium.webdriver.common.action_chains import ActionChains

    chain = ActionChains(browser)
    for key in keys:
        chain.send_keys(key)
    chain.perform()


def state(browser, name):
    """A value of the page's state."""
    return browser.execute_script("return viewer.state[arguments[0]]", name)
