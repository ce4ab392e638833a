// Cards of recorded episodes: each gets its player when it comes into view. The filter shows some of them.

function open(card) {
  if (card.player) return;
  card.player = new Player(card, JSON.parse(card.querySelector(".data").textContent));
  const pairs = [...card.querySelectorAll(".pair")];
  const mark = () => {
    // The pair whose ground-truth frame comes next.
    const next = pairs.find(pair => +pair.dataset.target >= card.player.frame);
    for (const pair of pairs) pair.classList.toggle("current", pair === next);
    if (next) next.parentElement.scrollLeft = next.offsetLeft - next.parentElement.offsetLeft - 8;
  };
  card.addEventListener("frame", mark);
  for (const pair of pairs)
    pair.querySelector("button").addEventListener("click", () => { card.player.stop(); card.player.go(+pair.dataset.target); });
  mark();
}

const cards = [...document.querySelectorAll(".episode")];
const filter = document.querySelector(".filter");

function applyFilter() {
  const outcome = filter.querySelector("[aria-pressed=true]").value;
  const task = filter.querySelector("select").value, search = filter.querySelector("input").value.trim().toLowerCase();
  for (const card of cards)
    card.hidden = (outcome && card.dataset.outcome !== outcome) || (task && card.dataset.task !== task)
      || !card.dataset.search.toLowerCase().includes(search);
  for (const group of document.querySelectorAll(".variant"))
    group.hidden = !group.querySelector(".episode:not([hidden])") && Boolean(outcome || search || (task && group.dataset.task !== task));
  const shown = cards.filter(card => !card.hidden).length;
  filter.querySelector("output").textContent = `${shown} of ${cards.length} shown`;
}

function showTarget() {
  const card = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!card) return;
  if (card.hidden) {
    press(filter.querySelector("button"));
    filter.querySelector("select").value = filter.querySelector("input").value = "";
    applyFilter();
  }
  card.scrollIntoView();
  card.focus({ preventScroll: true });
}

function press(button) {
  for (const each of filter.querySelectorAll("button")) each.setAttribute("aria-pressed", each === button);
}

whenSeen(cards, open);
if (filter) {
  for (const button of filter.querySelectorAll("button"))
    button.addEventListener("click", () => { press(button); applyFilter(); });
  for (const input of filter.querySelectorAll("select, input")) input.addEventListener("input", applyFilter);
  applyFilter();
}
addEventListener("hashchange", showTarget);
if (location.hash) showTarget();
