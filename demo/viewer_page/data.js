// What the page holds, unpacked when it is first shown, and what is chosen of it.

const DATA = /*DATA*/null;
const $ = (id) => document.getElementById(id);
const J = DATA.joints.length, RIGHT = "#d55e00", LEFT = "#0072b2", MIDDLE = "#777777", CHOSEN = "#111111";
const state = { frame: 0, person: null, joint: null, yaw: 0.5, pitch: 0.12, zoom: 1, playing: false, draws: 0 };

function bytesOf(text) {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new DataView(bytes.buffer);
}
// Poses of J points (x, y, z), where value(i) is the i-th number of all.
function posesOf(count, value) {
  const poses = [];
  for (let p = 0, i = 0; p < count; p++) {
    const pose = [];
    for (let j = 0; j < J; j++, i += 3) pose.push([value(i), value(i + 1), value(i + 2)]);
    poses.push(pose);
  }
  return poses;
}
// Whole millimetres, 16 bits each.
function unpack(text) {
  const view = bytesOf(text);
  return posesOf(view.byteLength / (6 * J), (i) => view.getInt16(2 * i, true));
}
// A step for each joint, a pose in the middle, and each pose's distance from it in steps of 8 bits.
function unpackNear(text) {
  const view = bytesOf(text), start = 2 * J + 6 * J;
  return posesOf((view.byteLength - start) / (3 * J), (i) => {
    const place = i % (3 * J);
    return view.getInt16(2 * J + 2 * place, true)
      + view.getInt16(2 * Math.floor(place / 3), true) * view.getInt8(start + i);
  });
}
function unpacked(person) {
  if (!person.poses) person.poses = {
    consensus: unpack(person.consensus), hypotheses: unpackNear(person.hypotheses), modes: unpack(person.modes) };
  return person.poses;
}
function current() {
  const people = DATA.frames[state.frame].people;
  return people.find((one) => one.person === state.person) || null;
}
// What is shown of a person: many thin poses and a thick one.
function chosenPoses(person) {
  const poses = unpacked(person), show = $("show").value, k = Number($("index").value), strong = poses.consensus[0];
  if (show === "hypotheses") {
    const alpha = Math.max(0.05, Math.min(0.5, 8 / poses.hypotheses.length));
    return { thin: poses.hypotheses, width: 1.5, alpha, strong };
  }
  if (show === "modes")
    return { thin: poses.modes.filter((_, i) => i !== k), width: 2, alpha: 0.35, strong: poses.modes[k] || strong };
  return { thin: [], width: 1, alpha: 1, strong: (show === "one" && poses.hypotheses[k]) || strong };
}
function heat(mm) {
  const u = Math.min(1, mm / DATA.guessed_mm), stops = [[44, 123, 182], [255, 213, 74], [215, 25, 28]];
  const k = u < 0.5 ? 0 : 1, w = (u - 0.5 * k) * 2;
  return "rgb(" + stops[k].map((v, i) => Math.round(v + w * (stops[k + 1][i] - v))).join(",") + ")";
}
function colourOf(joint, person) {
  if ($("colour").value === "spread") return heat(person.spread[joint]);
  return DATA.right.includes(joint) ? RIGHT : DATA.left.includes(joint) ? LEFT : MIDDLE;
}
// A canvas as sharp as the screen; returns what draws on it and its width and height in CSS pixels.
function cleared(canvas) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  const context = canvas.getContext("2d");
  canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
  context.setTransform(ratio, 0, 0, ratio, 0, 0); context.clearRect(0, 0, width, height);
  return [context, width, height];
}
function ring(context, point, radius, colour) {
  context.strokeStyle = colour; context.lineWidth = 2; context.beginPath();
  context.arc(point[0], point[1], radius, 0, 2 * Math.PI); context.stroke();
}
// The joint whose point is nearest to a place, no further than a finger is wide; null where none is.
function nearestJoint(points, x, y) {
  let best = null, least = 22;
  (points || []).forEach((point, j) => {
    const apart = Math.hypot(point[0] - x, point[1] - y);
    if (apart < least) { least = apart; best = j; }
  });
  return best;
}
