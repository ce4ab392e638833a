// A player: any number of videos of the same frames, one slider, tracks with a playhead, curves with their values.

// Creates an element. Texts are set as text, never as markup.
function element(tag, parent, properties = {}, attributes = {}) {
  const node = Object.assign(document.createElement(tag), properties);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  parent?.append(node);
  return node;
}

// Texts with the same first word have the same colour on the whole page.
const firstWords = new Map();
function colour(text) {
  const word = text.trim().split(/\s+/)[0];
  if (!firstWords.has(word)) firstWords.set(word, firstWords.size % 8);
  return `var(--c${firstWords.get(word)})`;
}

function number(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  return size && (size < 1e-3 || size >= 1e5) ? value.toExponential(1) : String(+value.toPrecision(3));
}

// Calls back once for each element, when it comes into view.
function whenSeen(elements, callback) {
  const observer = new IntersectionObserver(entries => {
    for (const entry of entries) if (entry.isIntersecting) { observer.unobserve(entry.target); callback(entry.target); }
  });
  for (const each of elements) observer.observe(each);
}

// The levels of a packed curve, one per `stride` frames: 0 at its low end, 1 at the high one, NaN for a missing value.
// See wla.html.curves.
function unpack({ data }) {
  const bytes = Uint8Array.from(atob(data), c => c.charCodeAt(0)), view = new DataView(bytes.buffer);
  return Array.from({ length: bytes.length / 2 }, (_, i) => {
    const level = view.getUint16(2 * i, true);
    return level === 65535 ? NaN : level / 65534;
  });
}

// An SVG path in a box of 100 units height, one frame wide per unit.
function curvePath(levels, { style, stride }) {
  let path = "", drawing = false;
  levels.forEach((level, i) => {
    if (!Number.isFinite(level)) { drawing = false; return; }
    const x = i * stride, y = (100 * (1 - level)).toFixed(1);
    if (style === "step") path += `${drawing ? "V" : `M${x} `}${y}H${x + stride}`;
    else path += `${drawing ? "L" : "M"}${x + .5} ${y}`;
    drawing = true;
  });
  return path;
}

class Player {
  // root: contains .videos, .play, .speed, .clock, .now, .scrub, and .tracks for lanes and curves.
  constructor(root, { frames, fps, lanes = [], curves = [] }) {
    Object.assign(this, { root, frames, fps, frame: 0, timer: null, speed: 1, curves: [] });
    this.part = name => root.querySelector(`.${name}`);
    this.videos = [...root.querySelectorAll("video")];
    this.scrub = this.part("scrub");
    this.scrub.max = frames - 1;
    this.text = () => "";
    const tracks = this.part("tracks");
    for (const lane of lanes) this.addLane(tracks, lane);
    if (lanes.length) this.text = frame => lanes[0].spans.find(([start, end]) => start <= frame && frame < end)?.[2] ?? "";
    for (const group of curves) this.addCurves(tracks, group);
    this.listen();
    this.go(0);
  }

  listen() {
    whenSeen(this.videos, video => this.load(video));
    this.part("play").addEventListener("click", () => this.toggle());
    this.part("speed").addEventListener("click", () => this.cycleSpeed());
    this.scrub.addEventListener("input", () => { this.stop(); this.go(+this.scrub.value); });
    this.scrub.addEventListener("keydown", event => {
      if (event.key !== " ") return;
      event.preventDefault();
      this.toggle();
    });
    for (const video of this.videos) {
      video.addEventListener("click", () => this.toggle());
      video.addEventListener("loadedmetadata", () => this.seek(video));
      video.addEventListener("error", () => this.missing(video));
    }
    // Every track is a slider for the pointer; for the keyboard there is the one above them.
    this.root.addEventListener("pointerdown", event => {
      const track = event.target.closest(".track");
      if (!track || event.button || event.target.closest("[data-handle]")) return;
      this.stop();
      const show = ({ clientX }) => this.go(this.frameAt(track, clientX));
      show(event);
      track.setPointerCapture?.(event.pointerId);
      track.addEventListener("pointermove", show);
      for (const end of ["pointerup", "pointercancel"])
        track.addEventListener(end, () => track.removeEventListener("pointermove", show), { once: true });
    });
  }

  frameAt(track, x) {
    const box = track.getBoundingClientRect();
    return Math.floor((x - box.left) / box.width * this.frames);
  }

  load(video) {
    if (video.src) return;
    video.preload = "auto";
    video.src = video.dataset.src;
  }

  missing(video) {
    const figure = video.closest("figure");
    if (!figure.querySelector(".missing"))
      element("div", figure, { className: "missing", textContent: "The video cannot be shown: its file is missing, or this browser does not play it." });
    video.hidden = true;
  }

  // The middle of the frame, so that rounding never shows the one before.
  seek(video) { if (video.readyState) video.currentTime = (this.frame + .5) / this.fps; }

  go(frame, seek = true) {
    this.frame = Math.max(0, Math.min(this.frames - 1, frame));
    if (seek) for (const video of this.videos) this.seek(video);
    const text = this.text(this.frame), seconds = n => (n / this.fps).toFixed(1);
    this.scrub.value = this.frame;
    this.scrub.setAttribute("aria-valuetext", `frame ${this.frame} of ${this.frames - 1}, ${seconds(this.frame)} s${text ? `, ${text}` : ""}`);
    this.part("tracks").style.setProperty("--at", (this.frame + .5) / this.frames);
    this.part("clock").textContent = `${seconds(this.frame)} / ${seconds(this.frames)} s · frame ${this.frame}`;
    this.part("now").textContent = text;
    for (const { output, levels, curve } of this.curves) {
      const level = levels[Math.floor(this.frame / curve.stride)];
      output.textContent = number(curve.low * (1 - level) + curve.high * level) + (curve.unit ? ` ${curve.unit}` : "");
    }
    this.root.dispatchEvent(new CustomEvent("frame"));
  }

  get playing() { return this.timer !== null; }
  toggle() { this.playing ? this.stop() : this.play(); }

  play() {
    for (const video of this.videos) this.load(video);
    if (this.frame === this.frames - 1) this.go(0);
    for (const video of this.videos) { video.playbackRate = this.speed; video.play().catch(() => {}); }
    let before = performance.now(), at = this.frame / this.fps;
    const tick = now => {
      // The first video that plays is the clock; without any, time passes by itself.
      const main = this.videos.find(video => !video.error && video.readyState > 1);
      const waiting = this.videos.some(video => video.src && !video.error && video.readyState < 2);
      at = main ? main.currentTime : at + (waiting ? 0 : (now - before) / 1000 * this.speed);
      before = now;
      for (const video of this.videos) if (video !== main && Math.abs(video.currentTime - at) > .15) video.currentTime = at;
      this.go(Math.floor(at * this.fps + .01), false);
      if (this.frame >= this.frames - 1 || main?.ended) return this.stop();
      this.timer = requestAnimationFrame(tick);
    };
    this.timer = requestAnimationFrame(tick);
    this.part("play").textContent = "Pause";
  }

  stop() {
    if (!this.playing) return;
    cancelAnimationFrame(this.timer);
    this.timer = null;
    for (const video of this.videos) { video.pause(); this.seek(video); }
    this.part("play").textContent = "Play";
  }

  cycleSpeed() {
    this.speed = { 1: 2, 2: .5, .5: 1 }[this.speed];
    for (const video of this.videos) video.playbackRate = this.speed;
    this.part("speed").textContent = `${this.speed}×`;
  }

  addLane(parent, { name, title, spans }) {
    const lane = element("div", parent, { className: "lane" });
    element("span", element("div", lane, { className: "label" }), { textContent: name, title });
    const track = element("div", lane, { className: "track" });
    for (const [start, end, text] of spans) {
      const span = element("div", track, { className: "span", textContent: text, title: text });
      Object.assign(span.style, { left: `${100 * start / this.frames}%`, width: `${100 * (end - start) / this.frames}%`, background: colour(text) });
    }
  }

  addCurves(parent, { name, curves, open = true }) {
    if (!curves.length) return;
    const group = element("details", parent, { open });
    element("summary", group, { textContent: name });
    const grid = element("div", group, { className: "curves" });
    for (const curve of curves) {
      const levels = unpack(curve), { low, high, unit } = curve, box = element("div", grid);
      const label = element("div", box, { className: "label" }), range = `${number(low)} to ${number(high)}${unit ? ` ${unit}` : ""}`;
      element("span", label, { textContent: curve.name });
      const output = element("output", label, { title: `range ${range}` });
      const track = element("div", box, { className: "track" });
      const axis = low < 0 && 0 < high ? 100 / (1 - low / high) : null;
      // Numbers only: nothing foreign enters this markup.
      track.innerHTML = `<svg viewBox="0 -5 ${this.frames} 110" preserveAspectRatio="none" role="img">${axis === null ? "" : `<path class="axis" d="M0 ${axis}H${this.frames}"/>`}<path d="${curvePath(levels, curve)}"/></svg>`;
      track.firstChild.setAttribute("aria-label", `${curve.name} over time, ${range}`);
      this.curves.push({ output, levels, curve });
    }
  }
}
