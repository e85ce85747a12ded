// The map: one dot for each image, by the principal components of its features.
const canvas = document.getElementById("map");
if (canvas) {
  const colors = {
    light: ["#2f6d9e", "#d5812b", "#4d9468", "#b8473f", "#7d5ba6", "#8a6d3b", "#c2559d", "#5b6770", "#8f9a1f", "#1f9aa8"],
    dark: ["#7cb8e6", "#f0ab62", "#83cf9f", "#f28b82", "#b9a0e6", "#cfb083", "#f0a0d4", "#b4bec8", "#d3dc6b", "#69d3df"],
  };
  const SHAPES = 3; // beyond ten classes the colors come again as squares, then as triangles
  const MARKS = colors.light.length * SHAPES;
  const OTHERS = data.classes.length; // stands for the classes that have no mark of their own
  const RADIUS = 4;
  const EDGE = 14;
  const context = canvas.getContext("2d");
  const placed = every.filter((number) => data.x[number] !== null);
  const select = document.getElementById("color");
  const legend = document.getElementById("legend");
  const detail = document.getElementById("point");
  let current = null;
  let scale = 1;

  const style = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const dark = () => getComputedStyle(root).colorScheme === "dark";
  const sizes = data.classes.map(() => 0);
  for (const number of placed) { for (const value of data.actual[number].slice(0, 1)) { sizes[value] += 1; } }
  const largest = [...sizes.keys()].sort((a, b) => sizes[b] - sizes[a]).slice(0, MARKS).sort((a, b) => a - b);
  const marks = new Map(largest.map((value, mark) => [value, mark]));
  const first = (numbers) => (numbers.length ? (marks.has(numbers[0]) ? numbers[0] : OTHERS) : -1);
  const names = [...data.classes, "other classes"];
  const kinds = {
    actual: { names, of: (number) => first(data.actual[number]) },
    predicted: { names, of: (number) => first(data.predicted[number]) },
    evaluation: { names: data.evaluations, of: (number) => data.evaluation[number] },
    right: { names: ["wrong", "right"], of: (number) => data.right[number] },
  };
  const ofClasses = (kind) => kind === "actual" || kind === "predicted";
  const colorOf = (kind, value) => {
    const palette = dark() ? colors.dark : colors.light;
    if (kind === "right") { return value ? palette[0] : style("--wrong"); }
    const mark = ofClasses(kind) ? marks.get(value) : value;
    return mark === undefined ? style("--soft") : palette[mark % palette.length];
  };
  const shapeOf = (kind, value) => {
    if (!ofClasses(kind)) { return 0; }
    return value === OTHERS ? 1 : Math.floor((marks.get(value) || 0) / colors.light.length);
  };
  const at = (number) => [
    EDGE + data.x[number] * (canvas.clientWidth - 2 * EDGE),
    EDGE + data.y[number] * (canvas.clientHeight - 2 * EDGE),
  ];

  function dot(x, y, radius, shape) {
    context.beginPath();
    if (shape === 0) { context.arc(x, y, radius, 0, 2 * Math.PI); }
    if (shape === 1) { context.rect(x - radius, y - radius, 2 * radius, 2 * radius); }
    if (shape === 2) { context.moveTo(x, y - radius); context.lineTo(x + radius, y + radius); context.lineTo(x - radius, y + radius); }
    context.fill();
  }

  function draw() {
    scale = devicePixelRatio || 1;
    canvas.width = canvas.clientWidth * scale;
    canvas.height = Math.round(canvas.clientWidth * 0.7) * scale;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    const kind = select.value;
    const matches = new Set(chosen);
    const faint = style("--line");
    for (const pass of [false, true]) {
      for (const number of placed) {
        if (matches.has(number) !== pass) { continue; }
        const value = kinds[kind].of(number);
        context.fillStyle = pass ? colorOf(kind, value) : faint;
        context.globalAlpha = pass ? 0.85 : 1;
        dot(...at(number), pass ? RADIUS : RADIUS - 1, shapeOf(kind, value));
      }
    }
    context.globalAlpha = 1;
    if (current !== null) {
      context.strokeStyle = style("--ink");
      context.lineWidth = 2;
      context.beginPath();
      context.arc(...at(current), RADIUS + 4, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  function drawLegend() {
    const kind = select.value;
    const counts = new Map();
    for (const number of placed) { counts.set(kinds[kind].of(number), (counts.get(kinds[kind].of(number)) || 0) + 1); }
    const values = [...counts.keys()].sort((a, b) => a - b);
    legend.replaceChildren(...values.map((value) => {
      const mark = element("i", {});
      mark.style.background = colorOf(kind, value);
      if (shapeOf(kind, value) > 0) { mark.style.borderRadius = "0"; }
      if (shapeOf(kind, value) === 2) { mark.style.clipPath = "polygon(50% 0, 100% 100%, 0 100%)"; }
      const name = kinds[kind].names[value] || "none";
      return element("li", {}, mark, element("bdi", { textContent: name }), element("span", { className: "soft", textContent: counts.get(value).toLocaleString("en") }));
    }));
  }

  function point(number) {
    if (number === current) { return; }
    current = number;
    detail.replaceChildren(...(number === null ? [] : [figure(number)]));
    draw();
  }

  function nearest(x, y, limit) {
    let best = null;
    let least = limit * limit;
    for (const number of placed) {
      const [left, top] = at(number);
      const distance = (left - x) ** 2 + (top - y) ** 2;
      if (distance < least) { least = distance; best = number; }
    }
    return best;
  }

  const directions = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  function step([right, down]) {
    const matches = new Set(chosen);
    const possible = placed.filter((number) => matches.has(number));
    if (current === null) { return possible.length ? possible[0] : null; }
    const [x, y] = at(current);
    let best = current;
    let least = Infinity;
    for (const number of possible) {
      const [left, top] = at(number);
      const along = (left - x) * right + (top - y) * down;
      const aside = Math.abs((left - x) * down) + Math.abs((top - y) * right);
      if (number !== current && along > 0 && aside <= 2 * along && along + 2 * aside < least) { least = along + 2 * aside; best = number; }
    }
    return best;
  }

  function toPointer(event) {
    const box = canvas.getBoundingClientRect();
    const found = nearest(event.clientX - box.left, event.clientY - box.top, 24);
    if (found !== null) { point(found); }
  }
  canvas.addEventListener("pointermove", toPointer);
  canvas.addEventListener("pointerdown", toPointer);
  canvas.addEventListener("focus", () => { if (current === null && canvas.matches(":focus-visible")) { point(step([0, 0])); } });
  canvas.addEventListener("keydown", (event) => {
    if (directions[event.key]) {
      event.preventDefault();
      point(step(directions[event.key]));
    }
  });
  select.addEventListener("change", () => { drawLegend(); draw(); });
  document.addEventListener("imagesfiltered", draw);
  document.addEventListener("themechange", () => { drawLegend(); draw(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { drawLegend(); draw(); });
  new ResizeObserver(draw).observe(canvas.parentElement);
  drawLegend();
  draw();
}
