"""A person who stands, as keypoints of every layout, put together from the formats' documentation alone."""

import numpy as np

# The orders as the formats' own documentation writes them, in its words.
DOCUMENTED = {
    # COCO's person category, "keypoints".
    "coco17": "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow "
    "left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle",
    # COCO-WholeBody, data format: 17 of the body, 6 of the feet, 68 of the face, 21 of each hand.
    "wholebody133": "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow "
    "left_wrist right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle "
    "left_big_toe left_small_toe left_heel right_big_toe right_small_toe right_heel",
    # Halpe-FullBody, keypoints format.
    "halpe26": "Nose LEye REye LEar REar LShoulder RShoulder LElbow RElbow LWrist RWrist LHip RHip LKnee Rknee LAnkle "
    "RAnkle Head Neck Hip LBigToe RBigToe LSmallToe RSmallToe LHeel RHeel",
    # OpenPose, pose output format.
    "body25": "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist MidHip RHip RKnee RAnkle LHip LKnee LAnkle "
    "REye LEye REar LEar LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel",
    # MPII, annotation description.
    "mpii16": "r_ankle r_knee r_hip l_hip l_knee l_ankle pelvis thorax upper_neck head_top r_wrist r_elbow r_shoulder "
    "l_shoulder l_elbow l_wrist",
    # Human3.6M's 17 of 32 joints, in the order of the lifting papers.
    "h36m17": "Hip RHip RKnee RFoot LHip LKnee LFoot Spine Thorax Neck/Nose Head LShoulder LElbow LWrist RShoulder "
    "RElbow RWrist",
    # MediaPipe's pose landmarker, landmarks 0 to 32.
    "blazepose33": "nose left_eye_(inner) left_eye left_eye_(outer) right_eye_(inner) right_eye right_eye_(outer) "
    "left_ear right_ear mouth_(left) mouth_(right) left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist left_pinky right_pinky left_index right_index left_thumb right_thumb left_hip right_hip left_knee "
    "right_knee left_ankle right_ankle left_heel right_heel left_foot_index right_foot_index",
}
# A figure that stands, seen from in front: its right is on the picture's left. Places by plain names.
FIGURE = {
    "head top": (200, 70),
    "nose": (200, 92),
    "neck": (200, 136),
    "upper neck": (200, 118),
    "thorax": (200, 132),
    "spine": (200, 190),
    "pelvis": (200, 240),
    "ear": (14, 90),
    "eye": (6, 86),
    "mouth": (5, 100),
    "shoulder": (38, 140),
    "elbow": (60, 190),
    "wrist": (72, 240),
    "pinky": (76, 262),
    "index": (70, 266),
    "thumb": (64, 258),
    "hip": (22, 240),
    "knee": (26, 330),
    "ankle": (28, 420),
    "heel": (26, 432),
    "big toe": (34, 438),
    "small toe": (42, 436),
    "face": (0, 96),
    "hand": (74, 258),
}
WORDS = {"footindex": "big toe", "foot": "ankle", "bigtoe": "big toe", "smalltoe": "small toe"}
ALONE = {"head": "head top", "headtop": "head top", "hip": "pelvis", "midhip": "pelvis", "neck/nose": "nose"}
ALONE |= {"upperneck": "upper neck", **{name: name for name in ("nose", "neck", "thorax", "spine", "pelvis")}}


def place_of(word):
    """Where a documented name lies on the figure; one that is not understood is an error of the test."""
    plain = word.lower().replace("_", "").replace("(inner)", "").replace("(outer)", "")
    if plain in ALONE:
        return np.array(FIGURE[ALONE[plain]], float)
    if plain.startswith("mouth"):
        side, part = plain[6], "mouth"
    else:
        side, part = plain[0], plain.removeprefix("left").removeprefix("right")
        part = part[1:] if part == plain else part
    across, down = FIGURE[WORDS.get(part, part)]
    return np.array([200 + {"l": across, "r": -across}[side], down], float)


def keypoints_of(name):
    """The figure in a layout (1, K, 2), put together from the documentation alone."""
    words = DOCUMENTED[name].split()
    points = [place_of(word) for word in words]
    if name == "wholebody133":
        points += [place_of("l_face")] * 68 + [place_of("left_hand")] * 21 + [place_of("right_hand")] * 21
    return np.array(points)[None]


JOINTS = {
    joint: place_of({"Foot": "l_ankle", "Head": "head", "Hip": "hip"}.get(joint, joint))
    for joint in ("Hip", "Spine", "Thorax", "Head")
} | {
    side + joint: place_of(side + joint)
    for side in "LR"
    for joint in ("Hip", "Knee", "Foot", "Shoulder", "Elbow", "Wrist")
}
