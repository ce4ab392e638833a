// Segments of all episodes, with undo and redo; every change is kept in this browser until it is exported.

// Returns the first invalid segment of an episode as [index of the segment, reason], or null.
function findInvalid({ segments, length }) {
  for (let i = 0; i < segments.length; i++) {
    const { first, last, text } = segments[i];
    if (!Number.isInteger(first) || !Number.isInteger(last) || first < 0 || last >= length)
      return [i, `frames must be 0 .. ${length - 1}`];
    if (first > last) return [i, "last frame is before first frame"];
    if (!text.trim()) return [i, "text is empty"];
    if (i && first <= segments[i - 1].last) return [i, "overlaps the previous segment"];
  }
  return null;
}

class Drafts {
  // changed: called with an episode whose segments were replaced by undo, redo or a restored draft.
  constructor(episodes, changed) {
    Object.assign(this, { episodes, changed, past: [], future: [], nextId: 0, key: `wla review ${data.key}` });
    for (const episode of episodes)
      episode.segments = episode.subtasks.map(([first, last, text]) => this.segment(first, last, text));
    // What the page was made with: a draft of other labels is offered, never restored unasked.
    this.base = JSON.stringify(episodes.map(e => e.subtasks));
    this.saved = this.csv();
  }

  segment(first, last, text) { return { id: this.nextId++, first, last, text }; }

  // Changes an episode's segments. Successive changes with the same `group` are undone together.
  change(episode, edit, group = null) {
    const before = episode.segments.map(s => ({ ...s }));
    edit(episode.segments);
    episode.segments.sort((a, b) => a.first - b.first);
    const last = this.past.at(-1);
    if (!(group !== null && last?.group === group && last.episode === episode)) this.past.push({ episode, before, group });
    this.future = [];
    this.save();
  }

  undo() { this.travel(this.past, this.future); }
  redo() { this.travel(this.future, this.past); }

  travel(from, to) {
    const step = from.pop();
    if (!step) return;
    const { episode, before } = step;
    to.push({ episode, before: episode.segments.map(s => ({ ...s })), group: null });
    // In place: whoever shows the episode holds this array.
    episode.segments.splice(0, Infinity, ...before);
    this.save();
    this.changed(episode);
  }

  csv() {
    const quoted = text => /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    const lines = this.episodes.flatMap(e => e.segments.map(s => [e.index, s.first, s.last, quoted(s.text.trim())].join(",")));
    return [HEADER.join(","), ...lines].join("\n") + "\n";
  }

  get unsaved() { return this.csv() !== this.saved; }

  save() {
    const episodes = this.episodes.filter(e => e.segments.some((s, i) => s.first !== e.subtasks[i]?.[0] || s.last !== e.subtasks[i]?.[1] || s.text !== e.subtasks[i]?.[2]) || e.segments.length !== e.subtasks.length);
    const draft = { base: this.base, time: Date.now(), episodes: episodes.map(e => [e.index, e.segments.map(({ first, last, text }) => [first, last, text])]) };
    try {
      if (episodes.length) localStorage.setItem(this.key, JSON.stringify(draft));
      else localStorage.removeItem(this.key);
      this.show(episodes.length ? `Draft kept in this browser, ${new Date().toLocaleTimeString()}` : "");
    } catch {
      this.show("This browser keeps no drafts: export before you close the page");
    }
  }

  show(text) {
    document.getElementById("saved").textContent = text;
    document.getElementById("undo").disabled = !this.past.length;
    document.getElementById("redo").disabled = !this.future.length;
  }

  // The draft in this browser: {base, time, episodes}, or null.
  stored() {
    try { return JSON.parse(localStorage.getItem(this.key)); } catch { return null; }
  }

  // Offers a draft of other labels than this page's; restores one of these labels at once.
  open() {
    const draft = this.stored();
    if (!draft) return;
    const when = new Date(draft.time).toLocaleString(), offer = document.getElementById("draft");
    if (draft.base === this.base) {
      this.restore(draft);
      this.show(`Draft of ${when} restored`);
      return;
    }
    offer.hidden = false;
    offer.querySelector("span").textContent = `This browser has a draft of ${when}, made with other labels of this dataset than this page shows (${draft.episodes.length} changed episode${draft.episodes.length === 1 ? "" : "s"}).`;
    offer.querySelector(".restore").addEventListener("click", () => { offer.hidden = true; this.restore(draft); this.save(); });
    offer.querySelector(".discard").addEventListener("click", () => { offer.hidden = true; this.save(); });
  }

  restore(draft) {
    for (const [index, segments] of draft.episodes) {
      const episode = this.episodes.find(e => e.index === index);
      if (!episode) continue;
      this.past.push({ episode, before: episode.segments.map(s => ({ ...s })), group: null });
      episode.segments.splice(0, Infinity, ...segments.map(s => this.segment(...s)));
      this.changed(episode);
    }
  }
}
