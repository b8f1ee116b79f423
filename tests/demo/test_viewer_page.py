"""What the viewer shows beside the 3D poses: the picture with poses over it, a joint's depth; and links to a frame."""

import numpy as np
import pytest
import torch

from demo.viewer import ViewerWriter
from tests.support.viewer_pages import (
    SEEN_AS,
    choose,
    drawn,
    errors,
    find,
    near_colour,
    open_page,
    press,
    row,
    screenshot,
    state,
)
from utils.evaluation.consensus import project_to_cells
from utils.skeleton import H36M17

RIGHT, LEFT, BAR = (213, 94, 0), (0, 114, 178), (44, 123, 182)
NAMES = list(H36M17.joints)


def click_at(browser, element, point):
    """Click an element where a point lies, CSS px from its upper left corner."""
    from selenium.webdriver.common.action_chains import ActionChains

    size = element.rect
    offset = [round(point[0] - size["width"] / 2), round(point[1] - size["height"] / 2)]
    ActionChains(browser).move_to_element_with_offset(element, *offset).click().perform()


# --- the picture


def test_poses_land_in_the_picture_where_the_evaluation_projects_them(browser, tmp_path):
    open_page(browser, tmp_path)
    script = """const person = viewer.current(), poses = viewer.unpacked(person).hypotheses;
        return poses.map((pose) => viewer.reproject(pose, person));"""
    shares = np.array(browser.execute_script(script))  # (30, 17, 2)
    one = row(0, seed=0)
    centres = 64 * one.person.square.to_shares(one.person.joints_px)
    poses = torch.from_numpy(one.hypotheses_mm)[None]
    wanted = project_to_cells(poses, torch.from_numpy(centres)[None].float(), torch.ones(1, 16))[0] / 64
    assert np.abs(shares[:, SEEN_AS] - wanted.numpy()).max() < 0.003


def test_reprojected_poses_are_drawn_over_the_picture(browser, tmp_path):
    open_page(browser, tmp_path)
    choose(browser, "show", "consensus")
    choose(browser, "colour", "side")
    photo = find(browser, "frame2d")
    pixels = screenshot(photo)
    person = row(0, seed=0).person
    at = dict(zip(SEEN_AS, person.square.to_shares(person.joints_px) * len(pixels), strict=True))
    for a, b, colour in (("RHip", "RKnee", RIGHT), ("LElbow", "LWrist", LEFT)):
        x, y = np.round((at[NAMES.index(a)] + at[NAMES.index(b)]) / 2).astype(int)
        assert near_colour(pixels[y - 3 : y + 4, x - 3 : x + 4], colour).any(), f"from {a} to {b}"
    x, y = np.round(at[NAMES.index("LWrist")]).astype(int)
    assert near_colour(pixels[y - 1 : y + 2, x - 1 : x + 2], (255, 255, 255)).any(), "the detector's joint"

    choose(browser, "show", "hypotheses")
    many = drawn(browser, "overlay")[0]
    choose(browser, "show", "one")
    assert many > 1.5 * drawn(browser, "overlay")[0]
    find(browser, "reproject").click()
    assert drawn(browser, "overlay")[0] == 0
    assert not near_colour(screenshot(photo), RIGHT).any(), "the picture alone"
    assert errors(browser) == []


def test_an_older_picture_is_named_and_nothing_drawn_over_it(browser, tmp_path):
    writer = ViewerWriter(skeleton=H36M17, expected_frames=2, title="a", fps=None)
    for k in range(2):
        writer.add(f"frame {k}", np.full((300, 300, 3), 120, np.uint8), [row(0, seed=k)])
    writer._frames[1]["people"][0].pop("picture")
    lost = writer._frames[0]["people"][0]["joints"]
    lost[3:] = [None] * 13
    writer.write(tmp_path / "viewer.html")
    browser.get((tmp_path / "viewer.html").as_uri())
    assert drawn(browser, "overlay")[0] > 500, "three joints are enough"
    press(browser, "\ue014")
    assert state(browser, "frame") == 1
    assert find(browser, "caption").text == "Picture of frame 0."
    assert drawn(browser, "overlay")[0] == 0
    assert errors(browser) == []


# --- depth of a joint


def depths(number=0, joint=13):
    return row(number, seed=100 * number).hypotheses_mm[:, joint, 2]


def bars(browser):
    """Height in px of the bars of the histogram, by colour."""
    script = (
        "return [...document.querySelectorAll('rect')].map((r) => [r.getAttribute('fill'), r.height.baseVal.value])"
    )
    return browser.execute_script(script)


def test_a_click_on_a_joint_shows_the_histogram_of_its_depth(browser, tmp_path):
    from selenium.webdriver.common.action_chains import ActionChains

    open_page(browser, tmp_path)
    browser.execute_script("viewer.state.yaw = viewer.state.pitch = 0; draw();")
    assert bars(browser) == []
    canvas = find(browser, "canvas")
    click_at(browser, canvas, browser.execute_script("return scenePoints[13]"))
    assert state(browser, "joint") == 13
    text = find(browser, "depth").text
    low, middle, high = np.quantile(depths(), (0.1, 0.5, 0.9))
    numbers = [int(word) for word in text.replace(";", " ").split() if word.lstrip("-").isdigit()]
    assert "LWrist" in text
    assert numbers == [pytest.approx(middle, abs=5), 80, pytest.approx(low, abs=5), pytest.approx(high, abs=5)]
    heights = np.array([height for _, height in bars(browser)])
    counts = heights / heights[heights > 0].min()
    assert counts.sum() * round(30 / counts.sum()) == pytest.approx(30, rel=0.01), "every hypothesis counts once"
    assert near_colour(screenshot(find(browser, "histogram")), BAR).mean() > 0.03
    ring = drawn(browser)[1]

    click_at(browser, canvas, (8, 8))
    assert state(browser, "joint") is None
    assert bars(browser) == []
    assert drawn(browser)[1] != ring
    size, point = canvas.rect, browser.execute_script("return scenePoints[13]")
    start = [round(point[0] - size["width"] / 2), round(point[1] - size["height"] / 2)]
    chain = ActionChains(browser).move_to_element_with_offset(canvas, *start).click_and_hold()
    chain.move_by_offset(40, 0).move_by_offset(-40, 0).release().perform()
    assert state(browser, "joint") is None, "dragged, not clicked"
    click_at(browser, find(browser, "overlay"), browser.execute_script("return picturePoints[6]"))
    assert state(browser, "joint") == 6
    assert find(browser, "joint").get_attribute("value") == "6"


def test_the_histogram_of_a_mode_and_of_a_joint_that_never_moves(browser, tmp_path):
    open_page(browser, tmp_path, "#frame=0&joint=LWrist")
    choose(browser, "show", "modes")
    choose(browser, "index", "1")
    found = bars(browser)
    members = row(0, seed=0).modes.members.numpy() == 1
    sums = {colour: sum(height for c, height in found if c == colour) for colour, _ in found}
    share = sums["#1f4e79"] / sums["#a9c9e2"]
    assert share == pytest.approx(members.mean(), abs=1e-3)
    assert "dark is mode 2" in find(browser, "depth").text
    choose(browser, "joint", "0")
    assert "median 0 mm" in find(browser, "depth").text
    assert errors(browser) == []


# --- links


def test_an_address_leads_to_a_frame_and_follows_what_is_chosen(browser, tmp_path):
    open_page(browser, tmp_path, "#frame=20&person=1&joint=LWrist")
    assert [state(browser, name) for name in ("frame", "person", "joint")] == [2, 1, 13]
    assert find(browser, "clock").text == "frame 2"
    assert find(browser, "person").get_attribute("value") == "1"
    assert bars(browser)
    choose(browser, "joint", "6")
    assert browser.current_url.endswith("#frame=20&person=1&joint=LFoot"), "the source's number"
    choose(browser, "frame", "0")
    choose(browser, "person", "0")
    choose(browser, "joint", "16")
    address = browser.current_url
    assert address.endswith("#frame=0&person=0&joint=RWrist")
    picture = drawn(browser)[1]
    browser.get("about:blank")
    browser.get(address)
    assert [state(browser, name) for name in ("frame", "person", "joint")] == [0, 0, 16]
    assert drawn(browser)[1] == picture
    browser.execute_script("location.hash = '#frame=20&person=1'")
    browser.execute_async_script("setTimeout(arguments[0], 50)")
    assert [state(browser, name) for name in ("frame", "person", "joint")] == [2, 1, None]


@pytest.mark.parametrize(
    ("link", "frame", "person"),
    [("#frame=25", 2, 0), ("#frame=99999&person=7", 2, 0), ("#frame=-1&person=x", 0, 0), ("#%%%&frame", 0, 0)],
)
def test_addresses_that_lead_nowhere_lead_to_what_is_nearest(browser, tmp_path, link, frame, person):
    open_page(browser, tmp_path, link)
    assert [state(browser, name) for name in ("frame", "person")] == [frame, person]
    assert errors(browser) == []
