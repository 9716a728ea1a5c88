// The maps: a canvas of dots that mouse, finger and arrow keys can visit.

const GRID = 9999;

const THUMB_SIDE = 32; // pixels: pictures up to this are whole on the sheet of thumbnails
const sheet = new Image();
if (DATA.maps.sprite) sheet.src = DATA.maps.sprite.uri;
const whenLoaded = (then) => (sheet.complete ? then() : sheet.addEventListener("load", then));

/** The thumbnail of a test picture on the maps, as a canvas. */
function thumbnailOf(i, alt) {
  const { columns, width, height } = DATA.maps.sprite,
    zoom = Math.max(1, Math.floor(96 / Math.max(width, height)));
  const picture = h("canvas", {
    width,
    height,
    role: "img",
    "aria-label": alt,
    style: { width: `${width * zoom}px`, height: `${height * zoom}px` },
  });
  whenLoaded(() =>
    picture
      .getContext("2d")
      .drawImage(sheet, (i % columns) * width, Math.floor(i / columns) * height, width, height, 0, 0, width, height),
  );
  return picture;
}

function mapExplorer(networks, first) {
  const maps = DATA.maps,
    classes = DATA.dataset.class_names;
  const state = { network: first.name, method: null, layer: null, hidden: new Set(), mistakes: false, chosen: -1 };
  const canvas = h("canvas", {
    tabindex: 0,
    role: "application",
    "aria-roledescription": "map",
    "aria-describedby": "map-keys",
  });
  const tip = h("div", { class: "tip", hidden: true });
  const live = h("p", { class: "live", "aria-live": "polite", id: "map-detail" });
  const controls = h("div", { class: "controls" }),
    legend = h("div", { class: "legend", role: "group", "aria-label": "Classes shown" });
  const caption = h("span"),
    stage = h("div", { class: "stage plate" }, canvas, tip);
  let places = [],
    side = 0;

  const entry = () => maps.networks[state.network];
  const map = () => entry().methods[state.method][state.layer];
  const title = () => networks.find((n) => n.name === state.network).title;
  const wrong = (i) => entry().predicted && entry().predicted[i] !== maps.labels[i];
  const shown = (i) => !state.hidden.has(maps.labels[i]) && (!state.mistakes || wrong(i));

  /** Keep what was picked where the new network has it too; the last layer otherwise. */
  function settle() {
    const methods = Object.keys(entry().methods);
    if (!methods.includes(state.method)) state.method = methods.at(-1);
    const layers = Object.keys(entry().methods[state.method]);
    if (!layers.includes(state.layer)) state.layer = layers.includes("final") ? "final" : layers.at(-1);
    const focused = [...controls.children].findIndex((group) => group.contains(document.activeElement));
    controls.replaceChildren(
      picker(
        "Network",
        networks.map((n) => [n.name, n.title]),
        state.network,
        (v) => {
          state.network = v;
          settle();
        },
      ),
      picker(
        "Method",
        methods.map((m) => [m, maps.titles[m]]),
        state.method,
        (v) => {
          state.method = v;
          settle();
        },
      ),
      picker(
        "Layer",
        layers.map((l) => [l, l]),
        state.layer,
        (v) => {
          state.layer = v;
          settle();
        },
      ),
    );
    if (focused >= 0) controls.children[focused].querySelector("input:checked").focus();
    canvas.setAttribute(
      "aria-label",
      `Map of ${title()}, layer ${state.layer}, by ${maps.titles[state.method]}: ${maps.labels.length} test pictures as dots.`,
    );
    caption.replaceChildren(...describe());
    choose(-1);
  }

  function describe() {
    const f = map().figures,
      figures = [];
    if ("accuracy" in f)
      figures.push(
        `a vote of the ${f.neighbours} nearest dots names the right class for ${percent(f.accuracy)} of them (${percent(f.accuracy_features)} in the layer itself)`,
      );
    if ("trustworthiness" in f) figures.push(`trustworthiness ${fixed(f.trustworthiness, 3)}`);
    if ("silhouette" in f) figures.push(`silhouette ${fixed(f.silhouette, 2)}`);
    if ("worst_class" in f) figures.push(`worst class ${f.worst_class}`);
    const thinned =
      maps.labels.length < maps.pictures
        ? `${whole(maps.labels.length)} of ${whole(maps.pictures)}`
        : whole(maps.pictures);
    const told = figures.join("; "),
      perplexity = "perplexity" in f ? `, perplexity ${short(f.perplexity)}` : "";
    return [
      `Each dot is a test picture; dots that lie close together are alike to layer ${state.layer} of ${title()}. ${maps.titles[state.method]} of ${thinned} pictures, seed ${DATA.settings.seed}${perplexity}. `,
      told && `${told[0].toUpperCase()}${told.slice(1)}.`,
    ];
  }

  function draw() {
    const pixels = Math.min(2, devicePixelRatio || 1),
      context = canvas.getContext("2d"),
      m = map();
    canvas.width = canvas.height = side * pixels;
    context.scale(pixels, pixels);
    const room = side - 28,
      r = side < 420 || m.x.length > 2000 ? 2.7 : 3.6;
    places = m.x.map((x, i) => [14 + (x / GRID) * room, 14 + (m.y[i] / GRID) * room]);
    for (let label = 0; label < classes.length; label++) {
      const path = new Path2D(),
        shape = new Path2D(SHAPES[markerOf(label)](r));
      places.forEach(([x, y], i) => {
        if (maps.labels[i] === label && shown(i)) path.addPath(shape, new DOMMatrix([1, 0, 0, 1, x, y]));
      });
      context.fillStyle = DATA.colours[label % DATA.colours.length];
      context.globalAlpha = 0.85;
      context.fill(path);
    }
    if (state.chosen >= 0) {
      const [x, y] = places[state.chosen];
      context.globalAlpha = 1;
      context.lineWidth = 2;
      context.strokeStyle = "#111";
      context.beginPath();
      context.arc(x, y, 9, 0, 2 * Math.PI);
      context.stroke();
    }
  }

  /** Show one dot's picture, class and prediction; −1 shows none. */
  function choose(i) {
    state.chosen = i;
    draw();
    tip.hidden = i < 0;
    if (i < 0) {
      live.textContent = "";
      return;
    }
    const actual = classes[maps.labels[i]],
      predicted = entry().predicted && classes[entry().predicted[i]];
    const answer =
      predicted === null ? "no answer" : predicted === actual ? "correct" : `classified as ${predicted}`;
    tip.replaceChildren(
      thumbnailOf(i, `${actual}, test picture ${maps.index[i]}`),
      h("b", {}, actual),
      h("span", { class: wrong(i) ? "wrong" : null }, answer),
      h("small", {}, `test picture ${maps.index[i]}`),
    );
    live.textContent = `${actual}, ${answer}; test picture ${maps.index[i]}.`;
    const [x, y] = places[i],
      right = x > side / 2;
    tip.style.setProperty("left", right ? "auto" : `${x + 16}px`);
    tip.style.setProperty("right", right ? `${side - x + 16}px` : "auto");
    tip.style.setProperty("top", `${Math.min(Math.max(8, y - 60), side - 150)}px`);
  }

  function nearest(x, y, most, allowed = () => true) {
    let best = -1,
      least = most * most;
    places.forEach(([px, py], i) => {
      const far = (px - x) ** 2 + (py - y) ** 2;
      if (far < least && shown(i) && allowed(px - x, py - y)) {
        best = i;
        least = far;
      }
    });
    return best;
  }

  function point(event) {
    const frame = canvas.getBoundingClientRect();
    const found = nearest(event.clientX - frame.left, event.clientY - frame.top, 18);
    if (found !== state.chosen) choose(found);
  }

  const AHEAD = {
    ArrowRight: (x, y) => x > Math.abs(y),
    ArrowLeft: (x, y) => -x > Math.abs(y),
    ArrowDown: (x, y) => y > Math.abs(x),
    ArrowUp: (x, y) => -y > Math.abs(x),
  };
  function key(event) {
    if (event.key === "Escape") return choose(-1);
    if (!(event.key in AHEAD)) return undefined;
    event.preventDefault();
    const [x, y] = state.chosen < 0 ? [side / 2, side / 2] : places[state.chosen];
    const next = state.chosen < 0 ? nearest(x, y, Infinity) : nearest(x, y, Infinity, AHEAD[event.key]);
    if (next >= 0) choose(next);
    return undefined;
  }

  function keep(change) {
    change();
    if (state.chosen >= 0 && !shown(state.chosen)) state.chosen = -1;
    choose(state.chosen);
  }

  function classButtons() {
    legend.replaceChildren(
      ...classes.map((name, label) =>
        h(
          "label",
          { class: "chip" },
          h("input", {
            type: "checkbox",
            checked: !state.hidden.has(label),
            onchange: () => keep(() => state.hidden.delete(label) || state.hidden.add(label)),
          }),
          h(
            "span",
            {},
            svg(
              "svg",
              { viewBox: "-7 -7 14 14", width: 14, height: 14, "aria-hidden": "true" },
              svg("path", { d: SHAPES[markerOf(label)](4.6), fill: DATA.colours[label % DATA.colours.length] }),
            ),
            name,
          ),
        ),
      ),
      h(
        "button",
        {
          type: "button",
          class: "quiet",
          onclick: () =>
            keep(() => {
              if (state.hidden.size) state.hidden.clear();
              else classes.forEach((_, label) => state.hidden.add(label));
              classButtons();
            }),
        },
        "all or none",
      ),
    );
  }

  canvas.addEventListener("pointermove", point);
  canvas.addEventListener("pointerdown", point);
  canvas.addEventListener("pointerleave", (event) => {
    if (event.pointerType === "mouse") choose(-1);
  });
  canvas.addEventListener("keydown", key);
  canvas.addEventListener("blur", () => choose(-1));
  new ResizeObserver(([area]) => {
    const now = Math.floor(Math.min(area.contentRect.width, 720));
    if (now && now !== side) {
      side = now;
      canvas.style.setProperty("width", `${side}px`);
      canvas.style.setProperty("height", `${side}px`);
      choose(-1);
    }
  }).observe(stage);
  classButtons();
  settle();
  const mistakesOnly = h(
    "label",
    { class: "chip" },
    h("input", {
      type: "checkbox",
      id: "mistakes-only",
      onchange: (event) =>
        keep(() => {
          state.mistakes = event.target.checked;
        }),
    }),
    h("span", {}, "only wrong answers"),
  );
  const hint = h(
    "p",
    { class: "hint", id: "map-keys" },
    "Point at a dot to see its picture, its class and the network's answer. With the keyboard, focus the map and move from dot to dot with the arrow keys; Escape ends.",
  );
  return [
    controls,
    h(
      "div",
      { class: "beside map" },
      figure([stage, live], caption),
      h("div", { class: "side" }, hint, legend, h("div", { class: "legend" }, mistakesOnly)),
    ),
  ];
}

/** The second ten classes have the colours of the first and other markers, as in the printed maps. */
function markerOf(label) {
  const count = DATA.colours.length;
  return DATA.markers[(label + Math.floor(label / count)) % DATA.markers.length];
}
