"use strict";
// What the other scripts share: the data, thumbnails, and elements made from text (never from HTML: names are hostile).
const data = JSON.parse(document.getElementById("data").textContent);
const root = document.documentElement;
root.classList.add("scripted");

function element(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function fill(image, number) {
  const encoded = data.thumbnail[number];
  const frame = element("span", { className: "frame" });
  if (!image.hasAttribute("data-named")) { image.replaceWith(frame); }
  if (!encoded) {
    if (image.hasAttribute("data-named")) { image.remove(); } else { frame.classList.add("empty"); }
    return;
  }
  image.addEventListener("load", () => image.classList.toggle("tiny", image.naturalWidth <= 48 && image.naturalHeight <= 48));
  image.alt = image.alt || data.paths[number];
  image.title = data.paths[number];
  image.src = `data:${data.kind};base64,${encoded}`;
  if (!image.hasAttribute("data-named")) { frame.append(image); }
}

const names = (numbers) => numbers.map((number) => data.classes[number]).join(" | ") || "none";
const percent = (share) => `${(100 * share).toFixed(1)}\u00a0%`;

function figure(number) {
  const image = element("img", {});
  const caption = element("figcaption", {}, element("p", {}, element("bdi", { textContent: names(data.actual[number]) })));
  const answer = element("p", {}, element("bdi", { textContent: names(data.predicted[number]) }), `, ${percent(data.probability[number])}`);
  if (!data.right[number]) {
    answer.className = "wrong";
    answer.prepend("predicted ");
    caption.append(answer);
  } else {
    caption.append(element("p", { className: "soft", textContent: `right, ${percent(data.probability[number])}` }));
  }
  caption.append(element("p", { className: "path", textContent: data.paths[number] }));
  const made = element("figure", { className: "image" }, image, caption);
  fill(image, number);
  return made;
}

for (const image of document.querySelectorAll("img[data-image]")) { fill(image, Number(image.dataset.image)); }

// The theme: the system's until one is chosen.
const themes = ["system", "light", "dark"];
const themeButton = document.getElementById("theme");
function setTheme(theme) {
  if (theme === "system") { delete root.dataset.theme; } else { root.dataset.theme = theme; }
  themeButton.textContent = `Theme: ${theme}`;
  document.dispatchEvent(new Event("themechange"));
}
themeButton.hidden = false;
themeButton.addEventListener("click", () => {
  setTheme(themes[(themes.indexOf(root.dataset.theme || "system") + 1) % themes.length]);
});

// Tables: a heading sorts by its column.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => heading.firstElementChild.addEventListener("click", () => {
    const ascending = heading.getAttribute("aria-sort") !== "ascending";
    const numeric = heading.firstElementChild.dataset.kind === "number";
    const value = (row) => row.cells[column].dataset.value;
    const compare = numeric ? (a, b) => value(a) - value(b) : (a, b) => value(a).localeCompare(value(b), undefined, { numeric: true });
    const rows = [...table.tBodies[0].rows].sort((a, b) => (ascending ? compare(a, b) : compare(b, a)));
    table.tBodies[0].append(...rows);
    for (const other of headings) { other.setAttribute("aria-sort", "none"); }
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  }));
}

// Blocks to copy.
for (const button of document.querySelectorAll("button.copy")) {
  button.addEventListener("click", async () => {
    const text = button.closest(".block").querySelector("code");
    try {
      await navigator.clipboard.writeText(text.textContent);
    } catch {
      const range = document.createRange();
      range.selectNodeContents(text);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}
