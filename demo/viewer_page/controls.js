// Choices, time, keys, and the address that leads back to a frame.

function fillControls() {
  const frame = DATA.frames[state.frame], select = $("person"), ids = frame.people.map((one) => one.person);
  if (state.person === null && ids.length) state.person = ids[0];
  const shown = ids.includes(state.person) || state.person === null ? ids : [...ids, state.person];
  select.replaceChildren(...shown.map((id) => new Option("person " + id, id, false, id === state.person)));
  select.parentElement.style.display = DATA.frames.some((one) => one.people.length > 1) ? "" : "none";
  const person = current(), show = $("show").value, index = $("index");
  const numbered = person ? { modes: person.weights, one: unpacked(person).hypotheses }[show] : null;
  const count = numbered ? numbered.length : 0;
  index.max = Math.max(0, count - 1); index.disabled = count < 2;
  if (Number(index.value) >= count) index.value = 0;
  const k = Number(index.value);
  $("choice").textContent = !count ? "all" : show === "modes"
    ? "mode " + (k + 1) + ": " + Math.round(100 * person.weights[k]) + " %" : "number " + (k + 1);
  const guessed = person ? DATA.joints.filter((_, j) => person.guessed[j]) : [];
  $("note").textContent = (guessed.length ? "Guessed: " + guessed.join(", ") + ". " : "")
    + "Drag to rotate, wheel or pinch to zoom. The thick pose is one made of all hypotheses; sizes are an average "
    + "body's unless a height was given.";
  $("clock").textContent = frame.label;
  $("frame").value = state.frame;
  $("frame").setAttribute("aria-valuetext", frame.label);
}
function draw() { drawScene(); drawPicture(); }
function update() { fillControls(); draw(); drawHistogram(); writeLink(); }

function goTo(frame) { state.frame = Math.max(0, Math.min(DATA.frames.length - 1, frame)); update(); }
function pause() {
  const now = DATA.frames[state.frame].time, later = (DATA.frames[state.frame + 1] || {}).time;
  return later > now ? Math.min(later - now, 2) : 1 / (DATA.fps || 5);
}
let timer = null;
function play() {
  if (!state.playing) return;
  goTo((state.frame + 1) % DATA.frames.length);
  timer = setTimeout(play, 1000 * pause());
}
function togglePlay() {
  if (DATA.frames.length < 2) return;
  state.playing = !state.playing; $("play").textContent = state.playing ? "stop" : "play"; clearTimeout(timer);
  if (state.playing) play(); else writeLink();
}

// #frame=12&person=1&joint=RWrist, with the numbers of poses.json; a frame that is left out leads to the one before.
function readLink() {
  const wanted = new URLSearchParams(location.hash.slice(1)), whole = /^\d+$/;
  const frame = wanted.get("frame") || "", person = wanted.get("person") || "";
  if (whole.test(frame))
    state.frame = Math.max(0, DATA.frames.findLastIndex((one) => one.number <= Number(frame)));
  if (whole.test(person) && DATA.frames.some((one) => one.people.some((some) => some.person === Number(person))))
    state.person = Number(person);
  const joint = DATA.joints.indexOf(wanted.get("joint"));
  if (whole.test(frame)) state.joint = joint < 0 ? null : joint;
  return whole.test(frame);
}
function writeLink() {
  if (state.playing) return;  // browsers allow few changes a second
  const hash = "#frame=" + DATA.frames[state.frame].number + (state.person === null ? "" : "&person=" + state.person)
    + (state.joint === null ? "" : "&joint=" + DATA.joints[state.joint]);
  try { if (hash !== location.hash) history.replaceState(null, "", hash); }
  catch (error) { /* inside another page's frame the address is not ours */ }
}

function next(select, by = 1) {
  const count = select.options.length;
  if (!count) return;
  select.selectedIndex = (select.selectedIndex + by + count) % count;
  select.dispatchEvent(new Event("change"));
}
function nextIndex(by) {
  $("index").value = Number($("index").value) + by; update();
}
const views = document.querySelectorAll("#views button");
const KEYS = {
  ArrowLeft: () => goTo(state.frame - 1), ArrowRight: () => goTo(state.frame + 1),
  Home: () => goTo(0), End: () => goTo(DATA.frames.length - 1), " ": togglePlay,
  "Shift+ArrowLeft": () => turnBy(-0.1, 0), "Shift+ArrowRight": () => turnBy(0.1, 0),
  "Shift+ArrowUp": () => turnBy(0, -0.1), "Shift+ArrowDown": () => turnBy(0, 0.1),
  "+": () => zoomBy(1.15), "=": () => zoomBy(1.15), "-": () => zoomBy(1 / 1.15),
  1: () => lookFrom(views[0]), 2: () => lookFrom(views[1]), 3: () => lookFrom(views[2]),
  p: () => next($("person")), j: () => next($("joint")), J: () => next($("joint"), -1), Escape: () => chooseJoint(null),
  s: () => next($("show")), "[": () => nextIndex(-1), "]": () => nextIndex(1), c: () => next($("colour")),
  o: () => { $("reproject").checked = !$("reproject").checked; drawPicture(); },
  "?": () => { $("help").open = !$("help").open; if ($("help").open) $("help").scrollIntoView(); },
};
// What an element with the focus does itself with a key: lists take all, sliders move, buttons are pressed.
function ownKey(element, key) {
  if (element.tagName === "SELECT") return key !== "Escape";
  if (element.type === "range") return /^(Arrow|Home|End)/.test(key);
  return ["BUTTON", "SUMMARY", "INPUT"].includes(element.tagName) && key === " ";
}
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || ownKey(event.target, event.key)) return;
  const arrow = event.shiftKey && event.key.startsWith("Arrow"), act = KEYS[(arrow ? "Shift+" : "") + event.key];
  if (!act || (event.key.length === 1 && !$("shortcuts").checked)) return;
  event.preventDefault(); act();
});

$("person").addEventListener("change", () => { state.person = Number($("person").value); update(); });
$("show").addEventListener("change", () => { $("index").value = 0; update(); });
for (const name of ["index", "colour", "reproject"]) $(name).addEventListener("input", update);
$("colour").addEventListener("change", update);
$("frame").addEventListener("input", () => goTo(Number($("frame").value)));
$("play").addEventListener("click", togglePlay);
window.addEventListener("resize", draw);
window.addEventListener("hashchange", () => { readLink(); update(); });
window.viewer = { state, DATA, pause, current, unpacked, reproject };

$("title").textContent = DATA.title;
$("limit").textContent = "guessed, " + DATA.guessed_mm + " mm and more";
if (DATA.frames.length > 1) { $("time").style.display = "flex"; $("frame").max = DATA.frames.length - 1; }
if (!readLink())
  for (let i = 0; i < DATA.frames.length && !DATA.frames[state.frame].people.length; i++) state.frame = i;
update();
