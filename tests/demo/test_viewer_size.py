"""How large the viewer's page gets: frames, hypotheses and pictures of long videos are thinned out."""

import cv2
import numpy as np

from demo.viewer import MAX_PICTURE_BYTES, ViewerWriter
from tests.support.viewer_pages import IMAGE, drawn, errors, row
from utils.skeleton import H36M17


def test_long_videos_are_thinned_out_evenly():
    writer = ViewerWriter(skeleton=H36M17, expected_frames=None, title="unknown length")
    one = row(hypotheses=20)
    for k in range(3_200):
        writer.add(str(k), IMAGE, [one] if k % 40 == 0 else [])
    labels = [int(frame["label"]) for frame in writer._frames]
    assert 700 < len(labels) <= 1_500
    assert set(np.diff(labels)) == {4}
    assert labels[-1] > 3_190
    assert all(len(p["hypotheses"]) == len(p["members"]) <= 16 for frame in writer._frames for p in frame["people"])


def natural(seed):
    """Made pixels (480, 640, 3) with as much detail as the demo video, whose crops have 8.4 kB each in the page."""
    generator = np.random.default_rng(seed)
    total = np.zeros((480, 640, 3))
    for scale in (1, 2, 4, 8, 16, 32, 64):
        noise = generator.normal(0, 1, (480 // scale + 1, 640 // scale + 1, 3))
        total += scale**0.7 * cv2.resize(noise, (640, 480), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 6 * total, 0, 255).astype(np.uint8)


def long_page(images, path):
    """The writer of a page with 300 frames of two people, and how many bytes the page has."""
    people = [row(0, hypotheses=200), row(1, seed=1, hypotheses=200)]
    writer = ViewerWriter(skeleton=H36M17, expected_frames=300, title="long", fps=30.0)
    for k in range(300):
        writer.add(f"frame {k}", images[k % len(images)], people)
    writer.write(path)
    return writer, path.stat().st_size


def test_300_frames_of_two_people_have_less_than_10_mb(browser, tmp_path):
    writer, size = long_page([natural(seed) for seed in range(3)], tmp_path / "viewer.html")
    assert 7e6 < size < 10e6
    assert all("picture" in person for frame in writer._frames for person in frame["people"])
    browser.get((tmp_path / "viewer.html").as_uri() + "#frame=298&person=1&joint=LWrist")
    assert browser.execute_script("return viewer.DATA.frames.length") == 300
    count = browser.execute_script("return viewer.unpacked(viewer.current()).hypotheses.length")
    assert count == 40
    script = """const person = viewer.current(), poses = viewer.unpacked(person), side = (pose) => pose[13][0];
        return person.members.map((m, i) => Math.abs(side(poses.hypotheses[i]) - side(poses.modes[m])));"""
    assert max(browser.execute_script(script)) < 200, "each beside its own mode"
    assert "(40 of 200 hypotheses)" in browser.find_element("id", "depth").text
    assert drawn(browser, "overlay")[0] > 2000, "with a picture of its own"
    assert errors(browser) == []


def test_pictures_that_need_too_much_room_are_thinned_out_evenly(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8)
    writer, size = long_page([noise], tmp_path / "viewer.html")
    kept = [k for k, frame in enumerate(writer._frames) if frame["people"][0].get("picture")]
    sizes = [len(person.get("picture", b"")) for frame in writer._frames for person in frame["people"]]
    assert len(set(np.diff(kept))) == 1, "evenly"
    assert 50 <= len(kept) < 300
    assert MAX_PICTURE_BYTES / 4 < sum(sizes) == writer._picture_bytes <= MAX_PICTURE_BYTES
    assert size < 10e6
