// What all sections share: elements, numbers as text, pickers, tables, figures, the colour theme.

const DATA = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";

function build(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, v] of Object.entries(value)) node.style.setProperty(key, v);
    else node.setAttribute(name, value === true ? "" : value);
  }
  // Every text becomes a text node: nothing that comes from data is ever read as markup.
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false)
      node.append(child instanceof Node ? child : String(child).replaceAll(" %", "\u00a0%"));
  }
  return node;
}

const h = (tag, attributes, ...children) => build(document.createElement(tag), attributes, children);
const svg = (tag, attributes, ...children) => build(document.createElementNS(SVG, tag), attributes, children);

// Numbers. A minus sign is a minus sign, thousands have commas, whatever the browser's language.
const minus = (text) => text.replace("-", "−");
const fixed = (value, digits) => minus(value.toFixed(digits));
const whole = (value) => minus(Math.round(value).toLocaleString("en-GB"));
const percent = (value, digits = 1) => fixed(100 * value, digits) + " %";
const percentTick = (value) => short(100 * value) + " %";
const points = (value, digits = 1) => (value > 0 ? "+" : "") + fixed(100 * value, digits);
const short = (value) => minus(String(Number(value.toPrecision(3))));
const megabytes = (bytes) => (bytes < 1e6 ? fixed(bytes / 1e6, 2) : fixed(bytes / 1e6, 1)) + " MB";
const pvalue = (p) => (p === null || p === undefined ? "–" : p < 0.001 ? "< 0.001" : p.toFixed(3));
const seconds = (value) =>
  value < 120 ? fixed(value, 0) + " s" : value < 7200 ? fixed(value / 60, 1) + " min" : fixed(value / 3600, 1) + " h";
const plural = (count, word, many = word + "s") =>
  `${Number.isInteger(count) ? whole(count) : short(count)} ${count === 1 ? word : many}`;
const cut = (text, most) => (text.length > most ? text.slice(0, most - 1) + "…" : text);
const listed = (names) => (names.length < 2 ? names.join("") : names.slice(0, -1).join(", ") + " and " + names.at(-1));

function compact(value) {
  if (value >= 1e6) return short(value / 1e6) + " M";
  return value >= 1e4 ? short(value / 1e3) + " k" : short(value);
}

/** Choose one of several: radio buttons side by side; options are [value, label]. */
function picker(legend, options, chosen, onchange) {
  const name = "pick" + picker.count++;
  return h(
    "fieldset",
    { class: "picker" },
    h("legend", {}, legend),
    h(
      "div",
      { class: "segments" },
      options.map(([value, label]) =>
        h(
          "label",
          {},
          h("input", { type: "radio", name, value, checked: value === chosen, onchange: () => onchange(value) }),
          h("span", {}, label),
        ),
      ),
    ),
  );
}
picker.count = 0;

/** A table; columns are [heading, how to align], rows are lists of cells, the first a heading. On a phone each row is a list. */
function table(label, columns, rows, className = null) {
  const cell = (content, place) =>
    h(
      place ? "td" : "th",
      { scope: place ? null : "row", class: columns[place][1] || null, "data-label": place ? columns[place][0] : null },
      place ? h("div", {}, content) : content,
    );
  return h(
    "div",
    { class: "scroll", role: "region", "aria-label": label },
    h(
      "table",
      { class: ["rows", className].filter(Boolean).join(" ") },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          columns.map(([text, align]) => h("th", { scope: "col", class: align || null }, text)),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map((row) =>
          row.heading
            ? h("tr", { class: "group" }, h("th", { colspan: columns.length, scope: "rowgroup" }, row.heading))
            : h("tr", { class: row.className || null }, row.cells.map(cell)),
        ),
      ),
    ),
  );
}

// The style sheet counts figures and tables.
const figure = (content, caption) => h("figure", {}, content, h("figcaption", {}, caption));
/** A word of the field where it first occurs, and what it means. */
const term = (word, meaning) => h("p", { class: "term" }, h("dfn", {}, word), " ", meaning);
const tabled = (content, caption) => h("figure", { class: "tabled" }, h("figcaption", {}, caption), content);

const note = (...text) => h("p", { class: "note" }, text);
const notYet = () => note("Nothing here yet. ", h("code", {}, "dvc repro"), " makes it.");
const prose = (...text) => h("p", {}, text);

/** A printed picture: on a light plate in both themes. */
const plate = (uri, alt) => h("div", { class: "plate" }, h("img", { src: uri, alt, decoding: "async" }));

/** Redraw when the width changes: draw(width) gives the new content. */
function responsive(draw) {
  const box = h("div", { class: "chart" });
  let width = 0;
  const redraw = () => width && box.replaceChildren(draw(width));
  new ResizeObserver(([entry]) => {
    const now = Math.round(entry.contentRect.width);
    if (now && now !== width) {
      width = now;
      redraw();
    }
  }).observe(box);
  return { box, redraw };
}

function theme() {
  const button = document.getElementById("theme"),
    root = document.documentElement;
  const preferred = matchMedia("(prefers-color-scheme: dark)");
  let kept = null;
  try {
    kept = localStorage.getItem("cnnlab-theme");
  } catch {
    /* a page opened from disk may not be allowed to store anything */
  }
  const apply = (name) => {
    root.dataset.theme = name;
    button.textContent = name === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to ${name === "dark" ? "light" : "dark"} colours`);
  };
  apply(kept || (preferred.matches ? "dark" : "light"));
  preferred.addEventListener("change", () => {
    if (!kept) apply(preferred.matches ? "dark" : "light");
  });
  button.addEventListener("click", () => {
    kept = root.dataset.theme === "dark" ? "light" : "dark";
    apply(kept);
    try {
      localStorage.setItem("cnnlab-theme", kept);
    } catch {
      /* as above */
    }
  });
}
