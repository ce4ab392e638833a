// The review page: list of episodes, drafts, editor of the shown episode, export.
let editor = null, browser = null;
const drafts = new Drafts(data.episodes, episode => {
  if (!browser.items.has(episode)) return;  // an episode that this page does not show
  browser.show(episode);
  editor.refresh();
});
const texts = element("datalist", document.body, { id: "texts" });
const suggested = new Set();

function suggest({ segments }) {
  for (const { text } of segments)
    if (text.trim() && !suggested.has(text)) { suggested.add(text); element("option", texts, { value: text }); }
}

browser = new DatasetBrowser(data.episodes, {
  lanes: () => [],
  texts: ({ segments }) => segments.map(s => s.text),
  opened(episode, player, section) {
    suggest(episode);
    editor = new Editor(episode, player, section, drafts, changed => {
      browser?.describe(changed);  // not yet there while it opens its first episode
      document.getElementById("problem").textContent = "";
    });
  },
});

function exportCsv() {
  const invalid = data.episodes.find(findInvalid), problem = document.getElementById("problem");
  problem.textContent = "";
  if (invalid) {
    const [number, reason] = findInvalid(invalid);
    problem.textContent = `episode ${invalid.index}, segment ${number + 1}: ${reason}; correct it first`;
    if (!browser.items.has(invalid)) return;
    browser.show(invalid);
    editor.rows.get(invalid.segments[number].id).querySelector("input").focus();
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([drafts.csv()], { type: "text/csv;charset=utf-8" }));
  link.download = `${data.name}_subtasks.csv`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  drafts.saved = drafts.csv();
  drafts.show("Exported; the draft stays in this browser");
}

document.getElementById("export").addEventListener("click", exportCsv);
document.getElementById("undo").addEventListener("click", () => drafts.undo());
document.getElementById("redo").addEventListener("click", () => drafts.redo());
addEventListener("beforeunload", event => { if (drafts.unsaved && !drafts.stored()) event.preventDefault(); });
addEventListener("keydown", event => {
  const control = event.ctrlKey || event.metaKey, key = event.key.toLowerCase();
  if (control && (key === "z" || key === "y")) {
    event.preventDefault();
    key === "y" || event.shiftKey ? drafts.redo() : drafts.undo();
    return;
  }
  if (control || event.altKey || typing()) return;
  const actions = {
    s: () => editor.split(editor.at(editor.player.frame)), a: () => editor.add(), e: () => editor.edit(),
    "[": () => editor.jump(-1), "]": () => editor.jump(1),
    " ": () => { if (!document.activeElement.matches("button, summary, .scrub")) editor.player.toggle(); },
  };
  if (!actions[key]) return;
  // Keys that make an input of theirs would be typed into the field that gets the focus.
  if (key !== " " || !document.activeElement.matches("button, summary")) event.preventDefault();
  actions[key]();
});
drafts.open();
