// The images: filters, the gallery, and the images of a cell of the confusion matrix.
const every = data.paths.map((_, number) => number);
const filters = document.getElementById("filters").elements;
const gallery = document.getElementById("gallery");
const more = document.getElementById("more");
const PART = 48;
let chosen = every;
let shown = 0;

const has = (numbers, wanted) => (wanted.startsWith("!") ? !numbers.includes(Number(wanted.slice(1))) : numbers.includes(Number(wanted)));

function matching(wanted) {
  return every.filter((number) =>
    (!wanted.actual || has(data.actual[number], wanted.actual)) &&
    (!wanted.predicted || has(data.predicted[number], wanted.predicted)) &&
    (!wanted.evaluation || data.evaluation[number] === Number(wanted.evaluation)) &&
    (!wanted.group || data.group[number] === Number(wanted.group)) &&
    (!wanted.wrong || !data.right[number]));
}

const probability = (a, b) => data.probability[a] - data.probability[b];
const orders = {
  errors: (a, b) => data.right[a] - data.right[b] || probability(b, a) || a - b,
  unsure: (a, b) => probability(a, b) || a - b,
  path: (a, b) => a - b,
};

function showMore() {
  const part = chosen.slice(shown, shown + PART);
  gallery.append(...part.map((number) => element("li", {}, figure(number))));
  shown += part.length;
  more.hidden = shown >= chosen.length;
  more.textContent = `Show ${Math.min(PART, chosen.length - shown)} more of ${(chosen.length - shown).toLocaleString("en")}`;
}

function apply() {
  const value = (name) => (filters[name] ? filters[name].value : "");
  chosen = matching({
    actual: value("actual"), predicted: value("predicted"), evaluation: value("evaluation"), group: value("group"),
    wrong: filters.wrong.checked,
  }).sort(orders[value("order")]);
  const wrong = chosen.filter((number) => !data.right[number]).length;
  document.getElementById("status").textContent =
    `${chosen.length.toLocaleString("en")} of ${every.length.toLocaleString("en")} images, ${wrong.toLocaleString("en")} wrong`;
  gallery.replaceChildren();
  shown = 0;
  showMore();
  document.dispatchEvent(new Event("imagesfiltered"));
}

function choices(name, texts, negated) {
  if (!filters[name]) { return; }
  texts.forEach((text, number) => filters[name].append(element("option", { value: `${number}`, textContent: text })));
  if (negated) { texts.forEach((text, number) => filters[name].append(element("option", { value: `!${number}`, textContent: `not ${text}` }))); }
}

choices("actual", data.classes, data.multi_label);
choices("predicted", data.classes, data.multi_label);
choices("evaluation", data.evaluations.map((name) => (name === "cv" ? "cross-validated" : name)), false);
choices("group", data.groups, false);
document.getElementById("filters").addEventListener("change", apply);
document.getElementById("filters").addEventListener("reset", () => setTimeout(apply));
document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
more.addEventListener("click", () => {
  const first = shown;
  showMore();
  const added = gallery.children[first];
  added.tabIndex = -1;
  added.focus();
});

for (const button of document.querySelectorAll("button[data-class]")) {
  button.addEventListener("click", () => {
    document.getElementById("filters").reset();
    filters.actual.value = button.dataset.class;
    filters.evaluation.value = `${data.evaluations.indexOf(data.reported)}`;
    apply();
    document.getElementById("images").scrollIntoView();
    document.getElementById("status").focus({ preventScroll: true });
  });
}

const panel = document.getElementById("cell-images");
const cells = [...document.querySelectorAll("button[data-actual]")];
let opened = null;

function close() {
  panel.hidden = true;
  if (opened) {
    opened.setAttribute("aria-pressed", "false");
    opened.focus();
    opened = null;
  }
}

for (const button of cells) {
  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", () => {
    if (opened === button) { close(); return; }
    if (opened) { opened.setAttribute("aria-pressed", "false"); }
    opened = button;
    button.setAttribute("aria-pressed", "true");
    const evaluation = `${data.evaluations.indexOf(data.reported)}`;
    const found = matching({ actual: button.dataset.actual, predicted: button.dataset.predicted, evaluation });
    found.sort((a, b) => probability(b, a) || a - b);
    const total = Number(button.dataset.images);
    const images = total === 1 ? "1 image" : `${total.toLocaleString("en")} images`;
    const part = found.length < total ? `, ${found.length} of them on this page` : "";
    document.getElementById("cell-title").textContent = `${button.dataset.says}: ${images}${part}`;
    document.getElementById("cell-gallery").replaceChildren(...found.slice(0, 200).map((number) => element("li", {}, figure(number))));
    panel.hidden = false;
    document.getElementById("cell-title").focus({ preventScroll: true });
    panel.scrollIntoView({ block: "nearest" });
  });
}
document.getElementById("cell-close").addEventListener("click", close);
panel.addEventListener("keydown", (event) => { if (event.key === "Escape") { close(); } });

apply();
