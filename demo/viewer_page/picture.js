// The picture around the person, with the poses projected back into it.

const overlay = $("overlay");
let picturePoints = null;  // of the thick pose's joints, where they were drawn last

// Where the points of a pose are in the picture, as shares of it: by the weak perspective, share = scale * (x, -y) +
// offset, that fits the detector's 2D joints best. Null where too few of these are seen.
function reproject(pose, person) {
  const pairs = [];
  person.joints.forEach((at, k) => { if (at) pairs.push([pose[DATA.seen_as[k]], at]); });
  if (pairs.length < 2) return null;
  const mean = (value) => pairs.reduce((sum, pair) => sum + value(pair), 0) / pairs.length;
  const x = mean(([p]) => p[0]), y = mean(([p]) => -p[1]), u = mean(([, q]) => q[0]), v = mean(([, q]) => q[1]);
  const size = mean(([p]) => (p[0] - x) ** 2 + (-p[1] - y) ** 2);
  const along = mean(([p, q]) => (p[0] - x) * (q[0] - u) + (-p[1] - y) * (q[1] - v));
  const scale = Math.max(0, along / Math.max(size, 1e-6));
  return pose.map((p) => [(scale * (p[0] - x) + u) / DATA.grid, (scale * (-p[1] - y) + v) / DATA.grid]);
}
// The newest picture of the person up to this frame, and the frame it was taken from.
function lastPicture() {
  for (let k = state.frame; k >= 0; k--) {
    const person = DATA.frames[k].people.find((one) => one.person === state.person && one.picture);
    if (person) return [person.picture, k];
  }
  return [null, state.frame];
}
function drawFlat(context, points, person, width, alpha) {
  context.globalAlpha = alpha; context.lineWidth = width; context.lineCap = "round";
  for (const [a, b] of DATA.bones) {
    context.strokeStyle = colourOf(b, person); context.beginPath();
    context.moveTo(points[a][0], points[a][1]); context.lineTo(points[b][0], points[b][1]); context.stroke();
  }
  context.globalAlpha = 1;
}
function drawOverlay(person) {
  const [context, width, height] = cleared(overlay);
  picturePoints = null;
  if (!person || !DATA.seen_as || !$("reproject").checked) return;
  const place = (pose) => {
    const shares = reproject(pose, person);
    return shares && shares.map((p) => [p[0] * width, p[1] * height]);
  };
  const shown = chosenPoses(person), strong = place(shown.strong);
  if (!strong) return;
  for (const pose of shown.thin) drawFlat(context, place(pose), person, shown.width, shown.alpha);
  drawFlat(context, strong, person, 4, 1);
  context.fillStyle = "#ffffff"; context.strokeStyle = "#222222"; context.lineWidth = 1;
  for (const at of person.joints) {
    if (!at) continue;
    context.beginPath();
    context.arc(at[0] / DATA.grid * width, at[1] / DATA.grid * height, 3, 0, 2 * Math.PI);
    context.fill(); context.stroke();
  }
  if (state.joint !== null) ring(context, strong[state.joint], 6, CHOSEN);
  picturePoints = strong;
}
function drawPicture() {
  const person = current(), [source, from] = lastPicture(), stale = from !== state.frame || !person;
  if (source) $("picture").src = source; else $("picture").removeAttribute("src");
  $("picture").title = "the thin square is the crop, turned with the body, that the poses were lifted from";
  $("picture").classList.toggle("stale", stale);
  drawOverlay(stale ? null : person);
  const over = picturePoints ? " with the poses over it" : "";
  overlay.title = $("picture").title;
  overlay.setAttribute("aria-label", source ? "picture of person " + state.person + over : "no picture");
  const fitted = "Each pose at the size and place that fit the detector's 2D joints (white) best.";
  $("caption").textContent = !source ? "No picture." : stale ? "Picture of " + DATA.frames[from].label + "."
    : picturePoints ? fitted : "";
}
overlay.addEventListener("click", (event) => {
  chooseJoint(nearestJoint(picturePoints, event.offsetX, event.offsetY));
});
