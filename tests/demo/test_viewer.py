"""The viewer in a real browser: it draws, turns, selects and plays, on a desk and on a phone, without a network."""

import base64
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from demo import PoseEstimator
from demo.output import rows_of
from demo.viewer import ViewerWriter, packed, packed_near
from tests.support.viewer_pages import IMAGE, SEEN_AS, drawn, errors, requests, row, write_page
from utils.skeleton import H36M17


def test_packing_keeps_millimetres():
    poses = np.random.default_rng(0).uniform(-3000, 3000, (4, 17, 3))
    back = np.frombuffer(base64.b64decode(packed(poses)), "<i2").reshape(poses.shape)
    assert np.abs(back - poses).max() <= 0.5


def test_hypotheses_are_kept_in_steps_of_each_joint():
    generator = np.random.default_rng(0)
    poses = generator.normal(0, 300, (17, 3)) + generator.normal(0, 30, (50, 17, 3))
    poses[:, 16] = generator.uniform(-2000, 2000, (50, 3))
    content = base64.b64decode(packed_near(poses))
    steps, middle = np.frombuffer(content[:34], "<i2"), np.frombuffer(content[34:136], "<i2").reshape(17, 3)
    back = middle + steps[:, None] * np.frombuffer(content[136:], np.int8).reshape(50, 17, 3)
    apart = np.abs(back - poses).max(axis=(0, 2))
    assert apart[:16].max() <= 1.0, "within 127 mm of the middle: whole millimetres, or steps of 2"
    assert 2000 / 127 <= steps[16] <= 17
    assert apart[16] <= steps[16] / 2 + 0.5


def test_the_page_is_self_contained_and_bounded(tmp_path):
    text = write_page(tmp_path / "viewer.html").read_text()
    assert "/*DATA*/" not in text
    for outside in ("http://", "https://", 'src="//', "import(", "fetch("):
        assert outside not in text
    assert text.count("</script>") == 1, "a name can't end the script"
    long = ViewerWriter(skeleton=H36M17, expected_frames=100_000, title="long")
    one = row(hypotheses=200)
    for k in range(3_000):
        long.add(str(k), IMAGE, [one])
    assert len(long._frames) <= 1_500
    assert long._per_row * 1_500 <= 24_000


def turned_page(path):
    """A page with somebody who leans by 40 degrees, as is the crop, in a picture that is bright above.

    The poses are those of :meth:`PoseEstimator.lift`, of a model that knows one upright pose only.
    """
    image = IMAGE.copy()
    image[:100] = 250
    person = row(angle=np.radians(40)).person
    shares = 0.5 + 0.0005 * upright_pose().numpy()[SEEN_AS, :2] * [1, -1]
    person = replace(person, joints_px=person.square.to_px(shares))
    writer = ViewerWriter(skeleton=H36M17, expected_frames=1, title="turned", fps=None)
    writer.add("picture", image, rows_of("picture", 0, [0], [person], upright_estimator().lift([person])))
    writer.write(path)
    return path


def upright_pose():
    """Somebody who stands upright, with arms that hang down, (17, 3) mm."""
    pose = torch.zeros(17, 3)
    heights = (0, -40, -450, -850, -40, -450, -850, 250, 500, 560, 700, 450, 200, 0, 450, 200, 0)
    sides = (0, -90, -90, -90, 90, 90, 90, 0, 0, 0, 0, 120, 120, 120, -120, -120, -120)
    pose[:, 0], pose[:, 1] = torch.tensor(sides), torch.tensor(heights)
    return pose


def upright_estimator():
    """An estimator that sees somebody who stands upright in all heatmaps."""
    pose = upright_pose()

    def sampler(maps, draws):
        noise = torch.from_numpy(np.random.default_rng(0).normal(0, 10, (len(maps), 20, 17, 3))).float()
        return SimpleNamespace(hypotheses_mm=pose + noise)

    sampler.model = SimpleNamespace(skeleton=H36M17, betas=torch.zeros(1))
    config = SimpleNamespace(model=SimpleNamespace(condition_key="heatmaps"))
    return PoseEstimator(sampler, config)


def check_turned_picture(shown):
    """The crop (size, size, 3) of :func:`turned_page` is shown as it stands in the picture, with its outline."""
    shown = shown.astype(int)
    size = len(shown)
    assert size == 320
    square = row(angle=np.radians(40)).person.square
    # The picture's line between bright and grey, at 100 px, lies level in what is shown.
    line = round(float(square.upright().to_shares(np.array([120.0, 100.0]))[1]) * size)
    inside = slice(round(0.4 * size), round(0.6 * size))
    assert shown[line - 25 : line - 8, inside].mean() > 235
    assert abs(shown[line + 8 : line + 25, inside].mean() - 120) < 12
    corners = square.upright().to_shares(square.corners()) * size
    x, y = np.round((corners[2] + corners[3]) / 2).astype(int)
    yellow = shown[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3)
    assert (yellow[:, 0] - yellow[:, 2]).max() > 60, "the crop's lower edge"


def test_a_turned_crop_is_shown_upright_with_its_outline(tmp_path):
    import cv2

    page = turned_page(tmp_path / "viewer.html").read_text()
    data = base64.b64decode(page.split("data:image/jpeg;base64,")[1].split('"')[0])
    check_turned_picture(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1])


def test_it_draws_turns_and_selects(browser, tmp_path):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.select import Select

    browser.get(write_page(tmp_path / "viewer.html").as_uri())
    canvas = browser.find_element(By.ID, "canvas")
    painted, first = drawn(browser)
    assert painted > 2000
    browser.save_screenshot(str(tmp_path / "viewer.png"))

    yaw = browser.execute_script("return viewer.state.yaw")
    ActionChains(browser).drag_and_drop_by_offset(canvas, 120, 30).perform()
    assert browser.execute_script("return viewer.state.yaw") == pytest.approx(yaw + 1.2, abs=0.02)
    assert drawn(browser)[1] != first

    show = Select(browser.find_element(By.ID, "show"))
    looks = set()
    for choice in ("hypotheses", "modes", "one", "consensus"):
        show.select_by_value(choice)
        looks.add(drawn(browser)[1])
    assert len(looks) == 4
    show.select_by_value("one")
    one = drawn(browser)[1]
    browser.execute_script(
        "document.getElementById('index').value = 20;document.getElementById('index').dispatchEvent(new Event('input'))"
    )
    assert drawn(browser)[1] != one
    assert browser.find_element(By.ID, "choice").text == "number 21"
    before = drawn(browser)[1]
    Select(browser.find_element(By.ID, "colour")).select_by_value("side")
    assert drawn(browser)[1] != before
    Select(browser.find_element(By.ID, "person")).select_by_value("1")
    assert browser.execute_script("return viewer.state.person") == 1
    assert "LWrist" in browser.find_element(By.ID, "note").text

    assert errors(browser) == []
    assert requests(browser) == []


def test_time_slider_and_a_frame_without_people(browser, tmp_path):
    from selenium.webdriver.common.by import By

    browser.get(write_page(tmp_path / "viewer.html").as_uri())
    assert browser.find_element(By.ID, "time").is_displayed()
    labels, looks = [], []
    for k in range(3):
        browser.execute_script(
            f"document.getElementById('frame').value = {k};"
            "document.getElementById('frame').dispatchEvent(new Event('input'))"
        )
        labels.append(browser.find_element(By.ID, "clock").text)
        looks.append(drawn(browser)[1])
    assert labels == ["frame 0", "frame 1", "frame 2"]
    assert len(set(looks)) == 3
    browser.find_element(By.ID, "play").click()
    assert browser.execute_script("return viewer.state.playing")
    assert errors(browser) == []


def shown_picture(driver):
    """The pixels (h, w, 3) of the person's crop, as the browser shows it."""
    script = """const p = document.getElementById('picture'), c = document.createElement('canvas');
        c.width = p.naturalWidth; c.height = p.naturalHeight;
        const d = c.getContext('2d'); d.drawImage(p, 0, 0);
        return [c.width, c.height, Array.from(d.getImageData(0, 0, c.width, c.height).data)];"""
    width, height, data = driver.execute_script(script)
    return np.array(data).reshape(height, width, 4)[..., :3]


def drawn_lean(driver, canvas="canvas"):
    """From the front, by how much the drawn pose leans to the picture's right, degrees: that of its pixels' axis."""
    script = """viewer.state.yaw = viewer.state.pitch = 0;
        document.getElementById('colour').value = 'side';
        const show = document.getElementById('show'); show.value = 'consensus';
        show.dispatchEvent(new Event('change'));
        const c = document.getElementById(arguments[0]), out = [];
        const data = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
        for (let i = 0, k = 0; i < data.length; i += 4, k++)
            if (data[i + 3] && Math.abs(data[i] - data[i + 2]) > 60) out.push(k % c.width, Math.floor(k / c.width));
        return out;"""
    x, y = np.array(driver.execute_script(script, canvas), np.float64).reshape(-1, 2).T
    covariance = np.cov(x, -y)
    return float(np.degrees(0.5 * np.arctan2(2 * covariance[0, 1], covariance[1, 1] - covariance[0, 0])))


def test_a_turned_person_in_the_browser(browser, tmp_path):
    from selenium.webdriver.common.by import By

    browser.get(turned_page(tmp_path / "viewer.html").as_uri())
    assert drawn(browser)[0] > 2000
    picture = browser.find_element(By.ID, "picture")
    check_turned_picture(shown_picture(browser))
    assert "turned with the body" in picture.get_attribute("title")
    assert drawn_lean(browser) == pytest.approx(40, abs=6)
    assert drawn_lean(browser, "overlay") == pytest.approx(40, abs=6), "over the picture"
    assert browser.execute_script("return viewer.pause()") == pytest.approx(0.2)
    assert errors(browser) == []
