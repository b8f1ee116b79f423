// The poses in 3D: drawn on a canvas, turned by dragging, zoomed by wheel or pinch.

const canvas = $("canvas");
let scenePoints = null;  // of the thick pose's joints, where they were drawn last

function projector(width, height) {
  const cy = Math.cos(state.yaw), sy = Math.sin(state.yaw), cp = Math.cos(state.pitch), sp = Math.sin(state.pitch);
  const scale = state.zoom * Math.min(width, height) / 2300, distance = 6000;
  return (p) => {
    const x = cy * p[0] - sy * p[2], z = sy * p[0] + cy * p[2], y = cp * p[1] - sp * z, depth = sp * p[1] + cp * z;
    const near = scale * distance / (distance - depth);
    return [width / 2 + x * near, height / 2 - (y + 40) * near, depth];
  };
}
function drawFloor(context, person, project) {
  const y = person ? Math.min(...unpacked(person).consensus[0].map((p) => p[1])) - 40 : -900;
  context.strokeStyle = "#e2e2de"; context.lineWidth = 1; context.beginPath();
  for (let v = -1000; v <= 1000; v += 250)
    for (const [a, b] of [[[v, y, -1000], [v, y, 1000]], [[-1000, y, v], [1000, y, v]]]) {
      const p = project(a), q = project(b); context.moveTo(p[0], p[1]); context.lineTo(q[0], q[1]);
    }
  context.stroke();
}
function drawPose(context, pose, person, project, width, alpha) {
  const points = pose.map(project);
  const order = DATA.bones.map((bone) => [bone, points[bone[0]][2] + points[bone[1]][2]]).sort((a, b) => a[1] - b[1]);
  context.globalAlpha = alpha; context.lineWidth = width; context.lineCap = "round";
  for (const [[a, b]] of order) {
    const gradient = context.createLinearGradient(points[a][0], points[a][1], points[b][0], points[b][1]);
    const ends = $("colour").value === "spread" ? [a, b] : [b, b];
    gradient.addColorStop(0, colourOf(ends[0], person)); gradient.addColorStop(1, colourOf(ends[1], person));
    context.strokeStyle = gradient; context.beginPath();
    context.moveTo(points[a][0], points[a][1]); context.lineTo(points[b][0], points[b][1]); context.stroke();
  }
  context.globalAlpha = 1;
  return points;
}
function drawScene() {
  const [context, width, height] = cleared(canvas), project = projector(width, height), person = current();
  drawFloor(context, person, project); state.draws++; scenePoints = null;
  if (!person) {
    context.fillStyle = "#555"; context.font = "15px system-ui, sans-serif";
    const others = DATA.frames[state.frame].people.length;
    context.fillText((others ? "person " + state.person + " not" : "nobody") + " found in this frame", 16, 28); return;
  }
  const shown = chosenPoses(person);
  for (const pose of shown.thin) drawPose(context, pose, person, project, shown.width, shown.alpha);
  scenePoints = drawPose(context, shown.strong, person, project, 5, 1);
  person.guessed.forEach((flag, j) => { if (flag) ring(context, scenePoints[j], 9, "#d7191c"); });
  if (state.joint !== null) ring(context, scenePoints[state.joint], 6, CHOSEN);
}
function zoomBy(factor) { state.zoom = Math.min(6, Math.max(0.3, state.zoom * factor)); drawScene(); }
function turnBy(yaw, pitch) {
  state.yaw += yaw; state.pitch = Math.max(-1.57, Math.min(1.57, state.pitch + pitch)); drawScene();
}
function lookFrom(button) {
  state.pitch = button.dataset.top ? 1.57 : 0; state.yaw = Number(button.dataset.yaw || 0) * Math.PI / 180; drawScene();
}

const fingers = new Map();
let pinch = 0, press = null;
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId); fingers.set(event.pointerId, event); pinch = 0;
  press = fingers.size === 1 ? event : null;
});
canvas.addEventListener("pointermove", (event) => {
  const before = fingers.get(event.pointerId);
  if (!before) return;
  fingers.set(event.pointerId, event);
  if (press && Math.hypot(event.clientX - press.clientX, event.clientY - press.clientY) > 5) press = null;
  if (fingers.size === 2) {
    const [a, b] = [...fingers.values()], apart = Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY);
    if (pinch) zoomBy(apart / pinch);
    pinch = apart;
  } else turnBy((event.clientX - before.clientX) * 0.01, (event.clientY - before.clientY) * 0.01);
});
canvas.addEventListener("pointerup", (event) => {  // without a way between: a click on a joint, or beside all
  if (press) chooseJoint(nearestJoint(scenePoints, event.offsetX, event.offsetY));
});
for (const end of ["pointerup", "pointercancel"])
  canvas.addEventListener(end, (event) => { fingers.delete(event.pointerId); pinch = 0; press = null; });
canvas.addEventListener("wheel", (event) => {
  event.preventDefault(); zoomBy(Math.exp(-event.deltaY * 0.001));
}, { passive: false });
for (const button of document.querySelectorAll("#views button"))
  button.addEventListener("click", () => lookFrom(button));
