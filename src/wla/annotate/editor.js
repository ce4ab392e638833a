// The segments of the shown episode: a lane with boundaries, and a list of rows. Elements are kept from one change to
// the next, so that the focus stays where it is.
class Editor {
  constructor(episode, player, section, drafts, refreshed) {
    Object.assign(this, { episode, player, drafts, refreshed, rows: new Map(), handles: new Map() });
    const box = element("div", null, { className: "editor" });
    section.querySelector(".scrub").after(box);
    element("span", element("div", box, { className: "label" }), { textContent: "subtask" });
    this.track = element("div", box, { className: "track" });
    this.reason = element("p", box, { className: "invalid-reason" }, { role: "status" });
    this.list = element("ol", box, { className: "segments" }, { "aria-label": "Segments" });
    this.button(box, "Add segment", "From the shown frame to the next segment (a)", () => this.add());
    player.text = frame => this.at(frame)?.text ?? "";
    section.addEventListener("frame", () => this.mark());
    this.refresh();
  }

  get segments() { return this.episode.segments; }
  at(frame) { return this.segments.find(s => s.first <= frame && frame <= s.last); }

  button(parent, name, title, run) {
    const button = element("button", parent, { type: "button", textContent: name, title });
    button.addEventListener("click", run);
    return button;
  }

  change(edit, group) { this.drafts.change(this.episode, edit, group); this.refresh(); }

  // Shows the segments as they are now.
  refresh() {
    const ids = new Set(this.segments.map(s => s.id));
    for (const [id, row] of this.rows) if (!ids.has(id)) { row.remove(); this.rows.delete(id); }
    this.segments.forEach((segment, i) => this.updateRow(segment, i));
    this.drawLane();
    const invalid = findInvalid(this.episode);
    this.reason.textContent = invalid ? `segment ${invalid[0] + 1}: ${invalid[1]}` : "";
    this.segments.forEach((segment, i) => this.rows.get(segment.id).classList.toggle("invalid", invalid?.[0] === i));
    this.player.go(this.player.frame, false);
    this.refreshed(this.episode);
  }

  updateRow(segment, i) {
    if (!this.rows.has(segment.id)) this.rows.set(segment.id, this.makeRow(segment.id));
    const row = this.rows.get(segment.id), [first, last, text] = row.querySelectorAll("input");
    if (this.list.children[i] !== row) this.place(row, i);
    for (const [input, value] of [[first, segment.first], [last, segment.last], [text, segment.text]])
      if (input !== document.activeElement || input.value.trim() !== String(value).trim()) if (input.value !== String(value)) input.value = value;
    row.querySelector(".swatch").style.background = colour(segment.text);
    for (const [input, name] of [[first, "First frame"], [last, "Last frame"], [text, "Text"]]) input.ariaLabel = `${name} of segment ${i + 1}`;
    row.querySelector(".merge").disabled = i + 1 === this.segments.length;
    row.querySelector(".split").disabled = segment.first >= segment.last;
  }

  // Moving an element takes the focus from what is in it.
  place(row, i) {
    const focused = row.contains(document.activeElement) ? document.activeElement : null;
    this.list.insertBefore(row, this.list.children[i] ?? null);
    focused?.focus();
  }

  makeRow(id) {
    const row = element("li", null), own = () => this.segments.find(s => s.id === id);
    element("span", row, { className: "swatch" });
    for (const end of ["first", "last"]) {
      const input = element("input", row, { type: "number", min: 0, max: this.episode.length - 1 });
      input.addEventListener("change", () => this.change(() => { own()[end] = input.valueAsNumber; }));
      input.addEventListener("focus", () => this.player.go(own()[end]));
    }
    const text = element("input", row, { type: "text" }, { list: "texts" });
    text.addEventListener("focus", () => { if (this.at(this.player.frame) !== own()) this.player.go(own().first); });
    text.addEventListener("input", () => this.change(() => { own().text = text.value; }, `text ${id}`));
    text.addEventListener("keydown", event => { if (event.key === "Escape") this.player.scrub.focus(); });
    const actions = element("span", row, { className: "actions" });
    this.button(actions, "Split", "Before the shown frame, or in the middle (s)", () => this.split(own())).className = "split";
    this.button(actions, "Merge", "With the next segment", () => this.merge(own())).className = "merge";
    this.button(actions, "Remove", "Its frames will have no subtask", () => this.remove(own())).className = "remove";
    return row;
  }

  split(segment) {
    const now = this.player.frame;
    if (!segment || segment.last <= segment.first) return;
    const inside = segment.first < now && now <= segment.last;
    const frame = inside ? now : Math.ceil((segment.first + segment.last + 1) / 2);
    this.change(segments => {
      segments.push(this.drafts.segment(frame, segment.last, segment.text));
      segment.last = frame - 1;
    });
  }

  merge(segment) {
    const i = this.segments.indexOf(segment);
    if (i + 1 === this.segments.length) return;
    this.change(segments => { segment.last = segments[i + 1].last; segments.splice(i + 1, 1); });
  }

  remove(segment) {
    const i = this.segments.indexOf(segment);
    this.change(segments => segments.splice(i, 1));
    const next = this.segments[Math.min(i, this.segments.length - 1)];
    (next ? this.rows.get(next.id).querySelector(".remove") : this.player.scrub).focus();
  }

  add() {
    const now = this.player.frame;
    if (this.at(now)) {
      this.reason.textContent = `frame ${now} is in a segment already: split it`;
      return;
    }
    const next = this.segments.find(s => s.first > now);
    const added = this.drafts.segment(now, next ? next.first - 1 : this.episode.length - 1, "");
    this.change(segments => segments.push(added));
    this.edit(added);
  }

  edit(segment = this.at(this.player.frame)) { this.rows.get(segment?.id)?.querySelector("[type=text]").focus(); }

  // To the nearest boundary before or after the shown frame.
  jump(direction) {
    const frames = this.segments.flatMap(s => [s.first, s.last + 1]).filter(f => f < this.episode.length).sort((a, b) => a - b);
    const now = this.player.frame, found = direction > 0 ? frames.find(f => f > now) : frames.findLast(f => f < now);
    if (found !== undefined) this.player.go(found);
  }

  // A boundary belongs to the segment on its left, on its right, or to both where they are adjacent.
  boundaries() {
    return this.segments.flatMap((segment, i) => {
      const before = this.segments[i - 1], adjacent = before && before.last + 1 === segment.first;
      const start = { key: `start ${segment.id}`, left: adjacent ? before : null, right: segment, frame: segment.first };
      const open = this.segments[i + 1]?.first !== segment.last + 1;
      return open ? [start, { key: `end ${segment.id}`, left: segment, right: null, frame: segment.last + 1 }] : [start];
    });
  }

  drawLane() {
    const { length } = this.episode, percent = frame => `${100 * frame / length}%`;
    this.track.querySelectorAll(".span").forEach(node => node.remove());
    for (const { first, last, text } of this.segments) {
      const span = element("div", null, { className: "span", textContent: text, title: text });
      Object.assign(span.style, { left: percent(first), width: percent(Math.max(0, last + 1 - first)), background: colour(text) });
      this.track.prepend(span);
    }
    const boundaries = this.boundaries(), keys = new Set(boundaries.map(b => b.key));
    for (const [key, handle] of this.handles) if (!keys.has(key)) { handle.remove(); this.handles.delete(key); }
    for (const boundary of boundaries) {
      if (!this.handles.has(boundary.key)) this.handles.set(boundary.key, this.makeHandle(boundary.key));
      const handle = this.handles.get(boundary.key), { left, right, frame } = boundary;
      handle.style.left = percent(frame);
      handle.ariaLabel = right ? `Start of ${right.text || "a segment"}` : `End of ${left.text || "a segment"}`;
      Object.assign(handle, { ariaValueMin: 0, ariaValueMax: length, ariaValueNow: frame, ariaValueText: `frame ${frame}` });
    }
  }

  makeHandle(key) {
    const handle = element("div", this.track, { tabIndex: 0 }, { role: "slider", "data-handle": "" });
    let drag = null;
    const move = (frame, group) => this.moveBoundary(key, frame, group);
    const now = () => this.boundaries().find(b => b.key === key).frame;
    handle.addEventListener("pointerdown", event => { drag = `drag ${event.timeStamp}`; handle.setPointerCapture(event.pointerId); });
    handle.addEventListener("pointermove", event => {
      const box = this.track.getBoundingClientRect();
      if (drag) move(Math.round((event.clientX - box.left) / box.width * this.episode.length), drag);
    });
    for (const end of ["pointerup", "pointercancel"]) handle.addEventListener(end, () => { drag = null; });
    handle.addEventListener("keydown", event => {
      const by = { ArrowLeft: -1, ArrowRight: 1, PageDown: -10, PageUp: 10 }[event.key];
      if (!by) return;
      event.preventDefault();
      move(now() + by, `keys ${key}`);
    });
    return handle;
  }

  // A boundary between two adjacent segments moves both of them; it cannot pass the next boundary.
  moveBoundary(key, frame, group) {
    const { left, right, frame: before } = this.boundaries().find(b => b.key === key), segments = this.segments;
    const low = left ? left.first + 1 : (segments[segments.indexOf(right) - 1]?.last ?? -1) + 1;
    const high = right ? right.last : segments[segments.indexOf(left) + 1]?.first ?? this.episode.length;
    const after = Math.max(low, Math.min(high, frame));
    if (after !== before)
      this.change(() => { if (left) left.last = after - 1; if (right) right.first = after; }, group);
    this.player.go(right ? after : after - 1);
  }

  mark() {
    const current = this.at(this.player.frame);
    for (const [id, row] of this.rows) row.classList.toggle("current", id === current?.id);
    if (!current) this.player.part("now").textContent = "no subtask";
  }
}
