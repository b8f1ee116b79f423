"""The viewer is worked by keys and by fingers, and shuts nobody out."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.viewer_pages import (
    as_phone,
    choose,
    drawn,
    errors,
    find,
    near_colour,
    open_page,
    press,
    screenshot,
    state,
)

RIGHT = (213, 94, 0)

# --- keys


def test_the_page_is_worked_by_keys(browser, tmp_path):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, tmp_path)
    for keys, frame in (((Keys.ARROW_RIGHT,), 1), ((Keys.ARROW_LEFT,), 0), ((Keys.END,), 2), ((Keys.HOME,), 0)):
        press(browser, *keys)
        assert state(browser, "frame") == frame
    press(browser, "p")
    assert state(browser, "person") == 1
    press(browser, "j", "j")
    assert state(browser, "joint") == 1
    press(browser, "J")
    assert state(browser, "joint") == 0
    press(browser, Keys.ESCAPE)
    assert state(browser, "joint") is None
    looks = [drawn(browser)[1]]
    for keys in ("s", "]", "c", "+", "2", "3"):
        press(browser, *keys)
        looks.append(drawn(browser)[1])
    assert len(set(looks)) == 7, "each shows something else"
    assert find(browser, "show").get_attribute("value") == "modes"
    yaw = state(browser, "yaw")
    browser.execute_script(
        "document.body.dispatchEvent(new KeyboardEvent('keydown',"
        "{key: 'ArrowLeft', shiftKey: true, bubbles: true, cancelable: true}))"
    )
    assert state(browser, "yaw") == pytest.approx(yaw - 0.1)
    assert state(browser, "frame") == 0
    press(browser, "o")
    assert drawn(browser, "overlay")[0] == 0
    press(browser, " ")
    assert state(browser, "playing")
    press(browser, " ")
    assert not state(browser, "playing")
    press(browser, "?")
    listed = find(browser, "help").text
    for name in ("Space", "Home", "Shift", "Esc", "next person", "#frame=12&person=1"):
        assert name in listed
    assert errors(browser) == []


def test_keys_leave_lists_sliders_and_those_who_want_no_letters_alone(browser, tmp_path):
    from selenium.webdriver.common.keys import Keys

    open_page(browser, tmp_path)
    find(browser, "show").send_keys("p")
    assert state(browser, "person") == 0
    find(browser, "frame").send_keys(Keys.ARROW_RIGHT)
    assert state(browser, "frame") == 1, "once, by the slider itself"
    choose(browser, "frame", "0")
    choose(browser, "show", "one")
    find(browser, "index").send_keys(Keys.ARROW_RIGHT)
    assert find(browser, "choice").text == "number 2"
    assert state(browser, "frame") == 0
    browser.find_element("css selector", "[data-top]").send_keys(" ")
    assert state(browser, "pitch") == pytest.approx(1.57), "the button is pressed"
    assert not state(browser, "playing")
    browser.execute_script("viewer.state.pitch = 0.12; document.activeElement.blur()")
    press(browser, "?")
    find(browser, "shortcuts").click()
    browser.execute_script("document.activeElement.blur()")
    press(browser, "p", "3")
    assert state(browser, "person") == 0
    assert state(browser, "pitch") == pytest.approx(0.12)
    press(browser, Keys.ARROW_RIGHT)
    assert state(browser, "frame") == 1, "arrows are no letters"


# --- on a phone, and for everyone


def test_on_a_phone(browser, tmp_path):
    as_phone(browser, 360)
    open_page(browser, tmp_path, "#frame=20&joint=LWrist")
    press(browser, "?")
    assert drawn(browser)[0] > 2000
    assert drawn(browser, "overlay")[0] > 2000
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    outside = "[...document.querySelectorAll('*')].filter((e) => e.getBoundingClientRect().right > 360.5)"
    wide = browser.execute_script(f"return {outside}.map((e) => e.tagName)")
    assert wide == []
    targets = browser.execute_script(
        "return [...document.querySelectorAll('select, button, summary, input[type=range], .check')]"
        ".map((e) => [e.id || e.textContent, e.getBoundingClientRect().height])"
    )
    assert len(targets) >= 12
    assert all(height >= 44 for _, height in targets), "large enough for a finger"
    size = browser.execute_script("return parseFloat(getComputedStyle(document.getElementById('note')).fontSize)")
    assert size >= 13
    photo = find(browser, "frame2d")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", photo)
    choose(browser, "colour", "side")
    assert near_colour(screenshot(photo), RIGHT).sum() > 50


def test_two_fingers_zoom_and_choose_no_joint(browser, tmp_path):
    as_phone(browser, 360)
    open_page(browser, tmp_path)
    (x, y, _), top = browser.execute_script("return [scenePoints[13], canvas.getBoundingClientRect().top]")

    def touch(kind, *apart):
        points = [{"x": x + k * way, "y": top + y, "id": k} for k, way in enumerate(apart)]
        browser.execute_cdp_cmd("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 0, 40)
    touch("touchEnd")
    assert state(browser, "joint") is None
    touch("touchStart", 0, 40)
    touch("touchMove", 0, 60)
    touch("touchMove", 0, 80)
    touch("touchEnd")
    assert state(browser, "zoom") > 1.2
    assert state(browser, "joint") is None
    touch("touchStart", 0)
    touch("touchEnd")
    assert state(browser, "joint") is not None, "one finger that does not move"


def violations(browser):
    script = Path(find_spec("selenium_axe_python").origin).with_name("axe-core") / "axe.min.js"
    browser.execute_script(script.read_text(encoding="utf-8"))
    found = browser.execute_async_script("const done = arguments[0]; axe.run().then((result) => done(result))")
    assert len(found["passes"]) > 15, "it looked"
    return [(one["id"], one["impact"], [node["html"] for node in one["nodes"]]) for one in found["violations"]]


@pytest.mark.parametrize("width", [None, 360])
def test_axe_finds_no_accessibility_fault(browser, tmp_path, width):
    if find_spec("selenium_axe_python") is None:
        pytest.skip("selenium-axe-python is not installed")
    if width:
        as_phone(browser, width)
    open_page(browser, tmp_path, "#frame=20&joint=LWrist")
    press(browser, "?")
    assert violations(browser) == []
    browser.execute_script("document.getElementById('title').style.color = '#ccc'")
    assert [impact for name, impact, _ in violations(browser) if name == "color-contrast"] == ["serious"]
