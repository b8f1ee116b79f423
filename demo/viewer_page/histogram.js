// How the hypotheses of one joint spread in depth, which no single picture tells.

const STEPS = [5, 10, 20, 50, 100, 200, 500], MOST_BARS = 24;

function quantile(sorted, share) {
  const place = share * (sorted.length - 1), k = Math.floor(place);
  return sorted[k] + (place - k) * ((sorted[k + 1] ?? sorted[k]) - sorted[k]);
}
// Bars of an even width, mm: {start, all, mode}, the last two counts of all hypotheses and of those of one mode.
function bars(depths, members, mode) {
  const low = Math.min(...depths), high = Math.max(...depths);
  const step = STEPS.find((one) => Math.floor(high / one) - Math.floor(low / one) < MOST_BARS) || 1000;
  const first = Math.floor(low / step), found = [];
  for (let k = first; k <= Math.floor(high / step); k++) found.push({ start: k * step, all: 0, mode: 0 });
  depths.forEach((depth, i) => {
    const bar = found[Math.floor(depth / step) - first];
    bar.all++; if (members[i] === mode) bar.mode++;
  });
  return [found, step];
}
// An SVG picture of the bars, with a line where the one pose is.
function histogramPicture(found, step, strong, mode) {
  const start = found[0].start, end = start + step * found.length, top = Math.max(...found.map((bar) => bar.all));
  const place = (mm) => 10 + 280 * (mm - start) / (end - start), width = Math.max(1, 280 / found.length - 1);
  const block = (bar, count, colour) => {
    const height = 84 * count / top, corner = `x="${place(bar.start) + 0.5}" y="${94 - height}"`;
    return `<rect ${corner} width="${width}" height="${height}" fill="${colour}"/>`;
  };
  const text = (x, y, anchor, words) => `<text x="${x}" y="${y}" text-anchor="${anchor}">${words}</text>`;
  return `<svg viewBox="0 0 300 128" role="img">`
    + found.map((bar) => block(bar, bar.all, mode === null ? "#2c7bb6" : "#a9c9e2")).join("")
    + (mode === null ? "" : found.map((bar) => block(bar, bar.mode, "#1f4e79")).join(""))
    + `<path d="M10 94.5H290M${place(strong)} 6V94" stroke="#222" stroke-width="1.5" fill="none"/>`
    + text(10, 108, "start", start) + text(150, 108, "middle", (start + end) / 2 + " mm") + text(290, 108, "end", end)
    + text(10, 123, "start", "away from the camera") + text(290, 123, "end", "towards it") + "</svg>";
}
function histogramText(depths, joint, mode) {
  const sorted = [...depths].sort((a, b) => a - b);
  const [low, middle, high] = [0.1, 0.5, 0.9].map((share) => Math.round(quantile(sorted, share) / 5) * 5);
  return `Depth of ${DATA.joints[joint]} from the ${DATA.joints[0]}: median ${middle} mm, 80 % of the hypotheses `
    + `between ${low} and ${high} mm; the line is the one pose made of them`
    + (mode === null ? "" : `, dark is mode ${mode + 1}`)
    + (depths.length < DATA.drawn ? ` (${depths.length} of ${DATA.drawn} hypotheses).` : ".");
}
function drawHistogram() {
  const person = current(), joint = state.joint;
  $("joint").value = joint === null ? "" : joint;
  $("histogram").replaceChildren();
  const hint = "Click a joint, in 3D or in the picture, for a histogram of its depth.";
  $("depth").textContent = joint === null ? hint : "";
  if (joint === null || !person) return;
  const poses = unpacked(person), depths = poses.hypotheses.map((pose) => pose[joint][2]);
  const mode = $("show").value === "modes" ? Number($("index").value) : null;
  const [found, step] = bars(depths, person.members, mode), text = histogramText(depths, joint, mode);
  $("histogram").innerHTML = histogramPicture(found, step, poses.consensus[0][joint][2], mode);
  $("histogram").firstChild.setAttribute("aria-label", text);
  $("depth").textContent = text;
}
function chooseJoint(joint) { state.joint = joint; update(); }
$("joint").append(new Option("none", ""), ...DATA.joints.map((name, j) => new Option(name, j)));
$("joint").addEventListener("change", () => chooseJoint($("joint").value === "" ? null : Number($("joint").value)));
