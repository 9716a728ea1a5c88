// The live part: draw or open a picture, and the network answers. A worker computes; this draws what it says: the answer
// first, then what lies behind it.

const RESTING = 250, // milliseconds without a change before the heat map is computed
  SHOWN_CLASSES = 10,
  SHOWN_NEIGHBOURS = 5;

/** Count on the page's root what was shown, and say since when it was asked for: tests and benchmarks listen. */
function tally(name, since) {
  const { dataset } = document.documentElement;
  dataset[name] = String(Number(dataset[name] || 0) + 1);
  document.dispatchEvent(new CustomEvent(name, { detail: since }));
}

const button = (label, onclick) => h("button", { type: "button", class: "quiet", onclick }, label);

function live() {
  if (!LIVE)
    return fill(
      "live",
      note(
        "This page was made without its live part. ",
        h("code", {}, "make page-assets"),
        " fetches what it needs (26 MB, with npm); then ",
        h("code", {}, "dvc repro page"),
        " makes the page again.",
      ),
    );
  const { network } = LIVE,
    answer = answerView(network),
    heat = heatView(network),
    layers = layersView(network),
    place = placeView(network),
    [, height, width] = network.shape;
  const status = h("p", { class: "hint", role: "status", id: "live-status" }, "The network is loading …"),
    seen = h("canvas", { width, height, role: "img", "aria-label": "The picture as the network sees it" });
  let opened = null, // the picture that was opened; null while the drawing is what is asked about
    turn = 0,
    since = null, // the time of the first change that is not answered yet
    resting = 0;

  const ask = latest(
    async (superseded) => {
      const asked = turn,
        begun = since,
        picture = opened || board.pixels();
      since = null;
      const found = await engine.call("answer", picture, opened ? [] : [picture.rgba.buffer]);
      answer.show(found);
      status.textContent = `Answered in ${whole(Math.max(1, performance.now() - begun))} ms.`;
      tally("answered", begun);
      const behind = await engine.call("look");
      paint(seen, rgbaOf(found.pixels, network.shape), width, height);
      heat.show(found);
      layers.show(behind.sheets);
      place.show(behind);
      tally("looked", begun);
      if (!superseded()) resting = setTimeout(() => heat.explain(found, () => turn === asked), RESTING);
    },
    (error) => (status.textContent = `No answer: ${error.message}.`),
  );
  function changed(picture) {
    opened = picture;
    since ??= performance.now();
    turn++;
    clearTimeout(resting);
    ask();
  }
  const board = drawingBoard(() => changed(null));

  async function open(file) {
    if (!file) return;
    try {
      const { bitmap, rgba, width: wide, height: high } = await readPicture(file);
      board.show(bitmap, wide, high);
      changed({ rgba, width: wide, height: high });
    } catch (error) {
      status.textContent = `${file.name || "The picture"} cannot be read${error.message.startsWith("it has") ? `: ${error.message}` : ""}.`;
    }
  }
  function testPicture() {
    const tile = thumbnailOf(Math.floor(Math.random() * DATA.maps.labels.length), "");
    whenLoaded(() => {
      const { data } = tile.getContext("2d").getImageData(0, 0, tile.width, tile.height);
      board.show(tile, tile.width, tile.height);
      changed({ rgba: data, width: tile.width, height: tile.height });
    });
  }
  receive(document.getElementById("live"), board.box, open);

  fill(
    "live",
    prose(
      `Draw something, or drop, paste, photograph or choose a picture. ${network.title} answers in this page: nothing leaves your computer.`,
    ),
    h(
      "div",
      { class: "live-grid" },
      boardWithTools(board, open, dataset.height <= THUMB_SIDE && testPicture),
      h("div", {}, answer.box, status),
      h(
        "div",
        { class: "views" },
        figure(h("div", { class: "plate" }, seen), `What the network sees: ${width} × ${height} pixels, prepared as cnnlab predict does it.`),
        heat.box,
      ),
    ),
    calibration(),
    h("div", { class: "live-more" }, layers.box, place.box),
    h("p", { class: "hint" }, `Weights stored in 8 bits: the same answer as models/${network.name}.onnx on ${percent(network.agreement, 2)} of ${whole(dataset.n_test)} test pictures.`),
  );
  engine.ready().then(
    () => {
      status.textContent = "Ready: draw something.";
      document.documentElement.dataset.live = String(Math.round(performance.now()));
    },
    (error) => (status.textContent = `The network could not be loaded: ${error.message}.`),
  );
}

/** Files that are dropped on the section, and pictures that are pasted anywhere, are opened. */
function receive(section, box, open) {
  const over = (event, shown) => {
    event.preventDefault();
    box.classList.toggle("over", shown);
  };
  section.addEventListener("dragover", (event) => over(event, true));
  section.addEventListener("dragleave", (event) => over(event, false));
  section.addEventListener("drop", (event) => {
    over(event, false);
    open(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
    if (file) open(file);
  });
}

function boardWithTools({ box, state, clear, undo }, open, testPicture) {
  const chooser = (label, extra) => {
    const input = h("input", { type: "file", accept: "image/*", class: "sr", ...extra, onchange: () => open(input.files[0]) });
    return h("label", { class: "quiet" }, label, input);
  };
  const pen = picker("Pen", [[false, "draw"], [true, "erase"]], false, (erase) => (state.erase = erase)),
    width = h("input", {
      type: "range", min: 6, max: 60, value: state.width, "aria-label": "Pen width",
      oninput: (event) => (state.width = Number(event.target.value)),
    });
  return h(
    "div",
    {},
    box,
    h("div", { class: "tools" }, pen, h("label", { class: "slider" }, "width", width)),
    h(
      "div",
      { class: "tools" },
      button("Clear", clear),
      button("Undo", undo),
      testPicture && button("A test picture", testPicture),
      chooser("Choose a picture"),
      chooser("Take a photo", { capture: "environment" }),
    ),
    h("p", { class: "hint", id: "board-keys" }, "With the keyboard: focus the drawing, move with the arrow keys (Shift for small steps), Space lowers and lifts the pen."),
  );
}

/** The answer in words, and the probabilities as bars; of many classes, the likeliest. */
function answerView({ class_names: names }) {
  const verdict = h("p", { class: "verdict", "aria-live": "polite", id: "live-verdict" }, "–"),
    rows = names.slice(0, SHOWN_CLASSES).map(() => {
      const [name, bar, share] = [h("span"), h("i"), h("b")];
      return { name, bar, share, item: h("li", {}, name, bar, share) };
    });
  function show({ probabilities, unlike, inverted, transparent }) {
    const order = probabilities.map((_, c) => c),
      ranked = order.toSorted((a, b) => probabilities[b] - probabilities[a]),
      [top] = ranked;
    rows.forEach(({ name, bar, share, item }, row) => {
      const label = order.length > SHOWN_CLASSES ? ranked[row] : row;
      name.textContent = names[label];
      bar.style.setProperty("--share", `${100 * probabilities[label]}%`);
      share.textContent = percent(probabilities[label], 0);
      item.classList.toggle("top", label === top);
    });
    const remarks = [
      unlike && "Unlike the data: do not trust this answer.",
      inverted && "Darker than its background, inverted.",
      transparent && "Transparent parts, laid on white or black.",
    ].filter(Boolean);
    const text = [`${names[top]}, ${percent(probabilities[top], 0)}.`, ...remarks].join(" ");
    // Updated only when it changes: a screen reader would repeat it.
    if (verdict.textContent !== text) verdict.textContent = text;
    verdict.classList.toggle("unlike", unlike);
  }
  const bars = h("ol", { class: "bars", "aria-label": "Probabilities" }, rows.map((row) => row.item));
  return { box: [verdict, figure(bars, "How likely each class is, calibrated; all classes together make 100 %.")], show };
}

/** Dark for what changes nothing, warm for what the answer rests on; values from 0 to 1. */
const heatColour = (v) => [255, 190 - 120 * v, 60 * (1 - v), 215 * v];

/** The picture, and over it what the answer rests on. */
function heatView({ shape: [channels, height, width] }) {
  const canvas = h("canvas", { width, height, role: "img", "aria-label": "What the answer rests on" }),
    over = h("canvas");
  const show = ({ pixels }) => paint(canvas, rgbaOf(pixels, [channels, height, width]), width, height);
  /** Given up once `still` says that the picture is another. */
  async function explain(found, still) {
    const label = found.probabilities.indexOf(Math.max(...found.probabilities)),
      values = await heatOf(found.pixels, label, still);
    if (!values) return;
    const top = Math.max(...values, 1e-9);
    show(found);
    paint(over, Uint8ClampedArray.from([...values].flatMap((v) => heatColour(Math.max(0, v / top)))), width, height);
    canvas.getContext("2d").drawImage(over, 0, 0);
    tally("explained", null);
  }
  const caption =
    "What the answer rests on: the stronger a part's colour, the less likely the answer becomes when that part is covered. The same as cnnlab explain.";
  return { box: figure(h("div", { class: "plate" }, canvas), caption), show, explain };
}

/** Each pixel's heat for a class, in nats: the mean effect of the patches that cover it; null once `still` says no. */
async function heatOf(pixels, label, still = () => true) {
  const [, height, width] = LIVE.network.shape,
    sum = new Float64Array(height * width),
    times = new Float64Array(height * width);
  for (let next = 0; next !== null; ) {
    const part = await engine.call("occlude", { pixels, label, from: next });
    if (!still()) return null;
    part.patches.forEach(([top, left, bottom, right], i) => {
      for (let y = top; y < bottom; y++)
        for (let x = left; x < right; x++) {
          sum[y * width + x] += part.drops[i];
          times[y * width + x]++;
        }
    });
    next = part.next;
  }
  return sum.map((v, i) => v / times[i]);
}

/** The first channels of the first layers, a sheet for each layer. */
function layersView({ layers, channels }) {
  const sheets = layers.map((name) => h("canvas", { class: "sheet", width: 8, height: 2, role: "img", "aria-label": `Feature maps of ${name}` }));
  const caption = `Feature maps as you draw: the first ${channels} channels of ${listed(layers)}, before the activation. Bright means that a channel finds its pattern there.`;
  return {
    box: figure(layers.map((name, i) => [h("h3", {}, name), sheets[i]]), caption),
    show: (found) => found.forEach(({ rgba, width, height }, i) => paint(sheets[i], rgba, width, height)),
  };
}

/** Where the picture falls on the stored map, and its nearest test pictures. */
function placeView({ class_names: names, map: { layer, kept } }) {
  const map = placeMap(layer),
    near = h("div", { class: "near", role: "list", "aria-label": "Nearest test pictures" });
  let shown = "";
  function show({ at, nearest }) {
    map.mark(at);
    const rows = nearest.slice(0, SHOWN_NEIGHBOURS);
    if (shown === (shown = JSON.stringify(rows))) return;
    near.replaceChildren(
      ...rows.map(({ row, distance }) => {
        const name = names[DATA.maps.labels[row]],
          picture = thumbnailOf(row, `${name}, test picture ${DATA.maps.index[row]}`);
        return h("figure", { role: "listitem" }, picture, h("small", {}, name, h("br"), short(distance)));
      }),
    );
  }
  const box = h(
    "div",
    {},
    figure(map.box, `Where it falls on the map of layer ${layer}: each dot is a test picture, coloured by its class, and the ring is yours. Placed as cnnlab project does it.`),
    figure(near, `Its nearest test pictures by that layer's ${kept} principal components, with the distance: small means alike.`),
  );
  return { box, show };
}

/** The stored map, small; mark([x, y]) puts a ring on it. */
function placeMap(layer) {
  const side = 260,
    canvas = h("canvas", { width: side, height: side, role: "img", "aria-label": "The stored map" }),
    dots = h("canvas", { width: side, height: side }),
    { x, y } = DATA.maps.networks[LIVE.network.name].methods.tsne[layer];
  const at = (value) => 8 + (value / GRID) * (side - 16),
    within = (value) => Math.min(side - 4, Math.max(4, at(value)));
  const drawing = dots.getContext("2d"),
    context = canvas.getContext("2d");
  drawing.globalAlpha = 0.7;
  DATA.maps.labels.forEach((label, row) => {
    drawing.fillStyle = DATA.colours[label % DATA.colours.length];
    drawing.fillRect(at(x[row]) - 1, at(y[row]) - 1, 2.4, 2.4);
  });
  context.drawImage(dots, 0, 0);
  function mark(place) {
    context.clearRect(0, 0, side, side);
    context.drawImage(dots, 0, 0);
    context.strokeStyle = "#111";
    context.lineWidth = 2.5;
    context.beginPath();
    context.arc(within(place[0]), within(place[1]), 8, 0, 2 * Math.PI);
    context.stroke();
    canvas.dataset.at = place.map(Math.round).join(" ");
  }
  return { box: h("div", { class: "plate" }, canvas), mark };
}
