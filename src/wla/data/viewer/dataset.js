// A list of episodes, one of which is shown. The page decides what is shown beside its videos and curves.
const data = JSON.parse(document.getElementById("data").textContent);

const typing = () => document.activeElement?.matches("input:not([type=range]), textarea, select");

class DatasetBrowser {
  // lanes: the lanes of an episode. texts: its subtasks, for the list. opened: called with episode, player and section
  // when an episode is shown.
  constructor(episodes, { lanes, texts, opened }) {
    Object.assign(this, { episodes: episodes.filter(e => e.videos), lanes, texts, opened });
    this.list = document.querySelector(".episodes ol");
    this.search = document.querySelector(".episodes input");
    this.items = new Map(this.episodes.map(episode => [episode, this.addItem(episode)]));
    this.search.addEventListener("input", () => this.filter());
    this.list.addEventListener("keydown", event => this.move(event));
    addEventListener("keydown", event => {
      if (typing() || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "j") this.step(1);
      if (event.key === "k") this.step(-1);
    });
    addEventListener("hashchange", () => this.fromAddress());
    this.fromAddress();
  }

  addItem(episode) {
    const item = element("li", this.list, { tabIndex: -1 }, { role: "option", "aria-selected": "false" });
    element("span", item, { className: "index", textContent: episode.index });
    element("span", item, { className: "text", textContent: episode.instruction });
    element("span", item, { className: "facts" });
    item.addEventListener("click", () => this.show(episode));
    this.describe(episode, item);
    return item;
  }

  describe(episode, item = this.items.get(episode)) {
    const texts = this.texts(episode), outcome = { true: " · success", false: " · failure" }[episode.success] ?? "";
    item.querySelector(".facts").textContent = `${(episode.length / data.fps).toFixed(1)} s${outcome} · ${texts.length || "no"} subtask${texts.length === 1 ? "" : "s"}`;
  }

  filter() {
    const wanted = this.search.value.trim().toLowerCase();
    for (const [episode, item] of this.items)
      item.hidden = ![String(episode.index), episode.instruction, ...this.texts(episode)].some(text => text.toLowerCase().includes(wanted));
    const shown = [...this.items.values()].filter(item => !item.hidden).length;
    document.querySelector(".episodes p").textContent = wanted ? `${shown} of ${this.items.size} listed` : "";
  }

  // The next listed episode in a direction; the current one at the end of the list.
  neighbour(direction) {
    const listed = this.episodes.filter(episode => !this.items.get(episode).hidden), at = listed.indexOf(this.current);
    return listed[Math.max(0, Math.min(listed.length - 1, at + direction))] ?? this.current;
  }

  step(direction) { this.show(this.neighbour(direction)); }

  move(event) {
    const direction = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -Infinity, End: Infinity }[event.key];
    if (direction === undefined) return;
    event.preventDefault();
    this.step(direction);
    this.items.get(this.current).focus();
  }

  fromAddress() {
    const index = location.hash.match(/^#episode-(\d+)$/)?.[1];
    this.show(this.episodes.find(episode => String(episode.index) === index) ?? this.current ?? this.episodes[0]);
  }

  show(episode) {
    if (!episode || episode === this.current) return;
    this.player?.stop();
    this.current = episode;
    for (const [each, item] of this.items) {
      item.setAttribute("aria-selected", each === episode);
      item.tabIndex = each === episode ? 0 : -1;
    }
    this.items.get(episode).scrollIntoView({ block: "nearest" });
    history.replaceState(null, "", `#episode-${episode.index}`);
    const section = document.getElementById("detail").content.firstElementChild.cloneNode(true);
    section.querySelector("h2").textContent = episode.instruction || "(no instruction)";
    section.querySelector(".facts").textContent = `episode ${episode.index} · ${episode.length} frames`;
    section.querySelector(".previous").addEventListener("click", () => this.step(-1));
    section.querySelector(".next").addEventListener("click", () => this.step(1));
    episode.videos.forEach((url, number) => {
      const figure = element("figure", section.querySelector(".videos")), camera = data.cameras[number];
      const video = element("video", figure, { muted: true, playsInline: true, preload: "none" }, { "aria-label": `${camera}: ${episode.instruction}` });
      video.dataset.src = url;
      element("figcaption", figure, { textContent: camera });
    });
    const held = document.activeElement?.closest(".previous, .next")?.className;
    document.querySelector(".detail").replaceChildren(section);
    if (held) section.querySelector(`.${held}`).focus();
    this.player = new Player(section, { frames: episode.length, fps: data.fps, lanes: this.lanes(episode), curves: episode.curves });
    this.opened(episode, this.player, section);
  }
}
