// The live part: draw or open a picture, and the network answers. A worker computes; this draws what it says.

const SIDE = 280, // pixels of the drawing
  RESTING = 250, // milliseconds without a change before the heat map is computed
  MOST_PIXELS = 64e6,
  SHOWN_CLASSES = 10,
  SHOWN_NEIGHBOURS = 5;
const LIVE = DATA.live && DATA.live.network ? DATA.live : null;

/** The worker, started once the page stands: call(task, values) gives its answer. */
const engine = (() => {
  const waiting = new Map();
  let worker = null,
    count = 0,
    ready = null;
  const call = (task, values = {}) =>
    new Promise((resolve, reject) => {
      waiting.set(++count, { resolve, reject });
      worker.postMessage({ id: count, task, ...values });
    });
  const source = (id) => document.getElementById(id).textContent;
  function start() {
    const address = URL.createObjectURL(new Blob([source("worker")], { type: "text/javascript" }));
    worker = new Worker(address);
    worker.addEventListener("message", ({ data: { id, value, error } }) => {
      const { resolve, reject } = waiting.get(id);
      waiting.delete(id);
      if (error) reject(new Error(error));
      else resolve(value);
    });
    const { network, vae } = LIVE;
    return call("start", {
      script: source("blob-script"),
      wasm: source("blob-wasm"),
      network: { ...network, model: source("blob-network") },
      vae: vae.shape ? { ...vae, model: source("blob-decoder") } : {},
    });
  }
  return {
    call,
    /** A promise that the models are open. */
    ready: () => (ready ??= start()),
  };
})();

/** Values 0 … 255 of [channels × height × width] on a canvas of that size. */
function paint(canvas, values, [channels, height, width], colour = null) {
  if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d"),
    image = context.createImageData(width, height),
    plane = width * height;
  for (let i = 0; i < plane; i++) {
    const rgba = colour ? colour(values[i]) : [0, 1, 2].map((c) => values[channels === 3 ? c * plane + i : i]).concat(255);
    image.data.set(rgba, 4 * i);
  }
  context.putImageData(image, 0, 0);
}

/** Dark for what changes nothing, warm for what the answer rests on; values from 0 to 1. */
const heatColour = (v) => [255, 190 - 120 * v, 60 * (1 - v), 215 * Math.max(0, v)];

/** The RGBA values of a file that shows a picture, upright and without colour management, as Pillow reads it. */
async function readPicture(file) {
  const options = { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(file, options);
  const { width, height } = bitmap;
  if (width * height > MOST_PIXELS) throw new Error(`it has over ${whole(MOST_PIXELS)} pixels`);
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  return { bitmap, width, height, rgba: context.getImageData(0, 0, width, height).data };
}

/** The drawing: a canvas for mouse, finger, pen and arrow keys; changed() is called after each stroke's step. */
function drawingBoard(changed) {
  const canvas = h("canvas", {
    width: SIDE,
    height: SIDE,
    tabindex: 0,
    role: "application",
    "aria-roledescription": "drawing",
    "aria-label": "Drawing: white on black",
    "aria-describedby": "board-keys",
  });
  const cursor = h("span", { class: "cursor", hidden: true }),
    box = h("div", { class: "board" }, canvas, cursor),
    context = canvas.getContext("2d", { willReadFrequently: true });
  const state = { width: 24, erase: false, at: null, down: false, keys: [SIDE / 2, SIDE / 2], undo: [] };
  const keep = () => {
    state.undo.push(context.getImageData(0, 0, SIDE, SIDE));
    if (state.undo.length > 30) state.undo.shift();
  };
  function line(to) {
    const from = state.at || to;
    context.strokeStyle = state.erase ? "#000" : "#fff";
    context.lineWidth = state.width;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(to[0] + 0.01, to[1]);
    context.stroke();
    state.at = to;
    changed();
  }
  const place = (event) => {
    const frame = canvas.getBoundingClientRect();
    return [((event.clientX - frame.left) / frame.width) * SIDE, ((event.clientY - frame.top) / frame.height) * SIDE];
  };
  canvas.addEventListener("pointerdown", (event) => {
    keep();
    canvas.setPointerCapture(event.pointerId);
    state.at = null;
    state.down = true;
    line(place(event));
  });
  canvas.addEventListener("pointermove", (event) => state.down && line(place(event)));
  for (const end of ["pointerup", "pointercancel"])
    canvas.addEventListener(end, () => Object.assign(state, { down: false, at: null }));

  const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  let pen = false;
  function showCursor(visible) {
    cursor.hidden = !visible;
    cursor.classList.toggle("down", pen);
    cursor.style.setProperty("left", `${(100 * state.keys[0]) / SIDE}%`);
    cursor.style.setProperty("top", `${(100 * state.keys[1]) / SIDE}%`);
  }
  canvas.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "z") return undo();
    if (event.key === " ") {
      pen = !pen;
      state.at = null;
      if (pen) {
        keep();
        line([...state.keys]);
      }
    } else if (event.key in STEPS) {
      const step = event.shiftKey ? 2 : 10;
      state.keys = state.keys.map((v, i) => Math.min(SIDE, Math.max(0, v + step * STEPS[event.key][i])));
      if (pen) line([...state.keys]);
    } else return undefined;
    event.preventDefault();
    return showCursor(true);
  });
  canvas.addEventListener("blur", () => {
    pen = false;
    state.at = null;
    showCursor(false);
  });
  function clear() {
    keep();
    context.fillStyle = "#000";
    context.fillRect(0, 0, SIDE, SIDE);
    changed();
  }
  function undo() {
    const before = state.undo.pop();
    if (before) context.putImageData(before, 0, 0);
    changed();
  }
  /** Show an opened picture, whole, in the middle. */
  function show(image, width, height) {
    keep();
    const scale = SIDE / Math.max(width, height);
    context.fillStyle = "#000";
    context.fillRect(0, 0, SIDE, SIDE);
    context.imageSmoothingEnabled = scale < 1;
    context.drawImage(image, (SIDE - width * scale) / 2, (SIDE - height * scale) / 2, width * scale, height * scale);
  }
  context.fillRect(0, 0, SIDE, SIDE);
  const pixels = () => ({ rgba: context.getImageData(0, 0, SIDE, SIDE).data, width: SIDE, height: SIDE });
  return { box, canvas, state, clear, undo, show, pixels };
}

function live() {
  if (!LIVE)
    return fill(
      "live",
      note(
        "This page was made without its live part. ",
        h("code", {}, "make page-assets"),
        " fetches what it needs (33 MB, with npm); then ",
        h("code", {}, "dvc repro page"),
        " makes the page again.",
      ),
    );
  const { network } = LIVE,
    [channels, size] = network.shape;
  let opened = null, // the picture that was opened; null while the drawing is what is asked about
    busy = false,
    again = false,
    turn = 0,
    resting = 0;

  const status = h("p", { class: "hint", role: "status", id: "live-status" }, "The network is loading …");
  const verdict = h("p", { class: "verdict", "aria-live": "polite", id: "live-verdict" }, "–");
  const seen = h("canvas", { width: size, height: size, role: "img", "aria-label": "The picture as the network sees it" });
  const heat = h("canvas", { width: size, height: size, role: "img", "aria-label": "What the answer rests on" });
  const bars = h("ol", { class: "bars", "aria-label": "Probabilities" });
  const strips = network.layers.map((name) => {
    const tiles = Array.from({ length: network.channels }, () => h("canvas", { width: 1, height: 1, "aria-hidden": "true" }));
    return { name, tiles, row: h("div", { class: "strip", role: "img", "aria-label": `Feature maps of ${name}` }, tiles) };
  });
  const map = placeMap(network),
    near = h("div", { class: "near", role: "list", "aria-label": "Nearest test pictures" });

  const board = drawingBoard(() => {
    opened = null;
    ask();
  });

  /** Ask about what is shown now; while an answer is on its way, only the latest change is kept. */
  async function ask() {
    turn++;
    clearTimeout(resting);
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      await engine.ready();
      do {
        again = false;
        const asked = turn,
          begun = performance.now(),
          found = await engine.call("answer", opened || board.pixels());
        show(found, performance.now() - begun);
        if (!again) resting = setTimeout(() => explain(found, asked), RESTING);
      } while (again);
    } catch (error) {
      status.textContent = `No answer: ${error.message}.`;
    } finally {
      busy = false;
    }
  }

  function show(found, took) {
    const order = found.probabilities.map((_, c) => c);
    const ranked = order.toSorted((a, b) => found.probabilities[b] - found.probabilities[a]);
    const classes = order.length > SHOWN_CLASSES ? ranked.slice(0, SHOWN_CLASSES) : order;
    bars.replaceChildren(
      ...classes.map((c) =>
        h(
          "li",
          { class: c === ranked[0] ? "top" : null },
          h("span", {}, network.class_names[c]),
          h("i", { style: { "--share": `${100 * found.probabilities[c]}%` } }),
          h("b", {}, percent(found.probabilities[c], 0)),
        ),
      ),
    );
    const extra = [
      found.unlike && "Unlike the data: do not trust this answer.",
      found.inverted && "Light background, inverted.",
      found.transparent && "Transparent parts, laid on white.",
    ].filter(Boolean);
    const text = `${network.class_names[ranked[0]]}, ${percent(found.probabilities[ranked[0]], 0)}. ${extra.join(" ")}`.trim();
    if (verdict.textContent !== text) verdict.replaceChildren(...[text.replaceAll(" %", "\u00a0%")]);
    verdict.classList.toggle("unlike", found.unlike);
    paint(seen, found.pixels, network.shape);
    paint(heat, found.pixels, network.shape);
    found.layers.forEach(({ maps, height, width }, i) =>
      strips[i].tiles.forEach((tile, k) => maps[k] && paint(tile, maps[k], [1, height, width])),
    );
    map.mark(found.near.map(([, row]) => row));
    near.replaceChildren(
      ...found.near.slice(0, SHOWN_NEIGHBOURS).map(([distance, row]) => {
        const name = network.class_names[DATA.maps.labels[row]];
        return h(
          "figure",
          { role: "listitem" },
          thumbnailOf(row, `${name}, test picture ${DATA.maps.index[row]}`),
          h("small", {}, name, h("br"), short(distance)),
        );
      }),
    );
    status.textContent = `Answered in ${whole(Math.max(1, took))} ms.`;
    document.documentElement.dataset.answered = String(Number(document.documentElement.dataset.answered || 0) + 1);
  }

  /** Show what the answer rests on; given up when the picture changes. */
  async function explain(found, asked) {
    const label = found.probabilities.indexOf(Math.max(...found.probabilities)),
      values = await heatOf(found.pixels, label, () => turn === asked);
    if (!values) return;
    const top = Math.max(...values, 1e-9),
      over = h("canvas");
    paint(heat, found.pixels, network.shape);
    paint(over, values.map((v) => Math.max(0, v / top)), [1, size, size], heatColour);
    heat.getContext("2d").drawImage(over, 0, 0);
    heat.dataset.done = String(asked);
  }

  async function open(file) {
    if (!file) return;
    try {
      const read = await readPicture(file);
      board.show(read.bitmap, read.width, read.height);
      opened = { rgba: read.rgba, width: read.width, height: read.height };
      await ask();
    } catch (error) {
      status.textContent = `${file.name || "The picture"} cannot be read${error.message.startsWith("it has") ? `: ${error.message}` : ""}.`;
    }
  }

  const chooser = (label, extra) => {
    const input = h("input", { type: "file", accept: "image/*", class: "sr", ...extra, onchange: () => open(input.files[0]) });
    return h("label", { class: "quiet" }, label, input);
  };
  const button = (label, onclick) => h("button", { type: "button", class: "quiet", onclick }, label);
  const testPicture = () => {
    const row = Math.floor(Math.random() * DATA.maps.labels.length),
      tile = thumbnailOf(row, "");
    whenLoaded(() => {
      const { width, height } = tile;
      opened = { rgba: tile.getContext("2d").getImageData(0, 0, width, height).data, width, height };
      board.show(tile, width, height);
      ask();
    });
  };

  const section = document.getElementById("live");
  section.addEventListener("dragover", (event) => {
    event.preventDefault();
    board.box.classList.add("over");
  });
  section.addEventListener("dragleave", () => board.box.classList.remove("over"));
  section.addEventListener("drop", (event) => {
    event.preventDefault();
    board.box.classList.remove("over");
    open(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    const file = [...event.clipboardData.files].find((each) => each.type.startsWith("image/"));
    if (file) open(file);
  });

  const width = h("input", { type: "range", min: 6, max: 60, value: board.state.width, "aria-label": "Pen width", oninput: (event) => (board.state.width = Number(event.target.value)) });
  fill(
    "live",
    prose(
      `Draw something, or drop, paste, photograph or choose a picture. ${network.title} answers in this page: nothing leaves your computer.`,
    ),
    h(
      "div",
      { class: "live-grid" },
      h(
        "div",
        {},
        board.box,
        h("div", { class: "tools" }, picker("Pen", [[false, "draw"], [true, "erase"]], false, (v) => (board.state.erase = v)), h("label", { class: "slider" }, "width", width)),
        h("div", { class: "tools" }, button("Clear", board.clear), button("Undo", board.undo), dataset.height <= THUMB_SIDE && button("A test picture", testPicture), chooser("Choose a picture"), chooser("Take a photo", { capture: "environment" })),
        h("p", { class: "hint", id: "board-keys" }, "With the keyboard: focus the drawing, move with the arrow keys (Shift for small steps), Space lowers and lifts the pen."),
      ),
      h("div", {}, verdict, bars, status),
      h(
        "div",
        { class: "views" },
        figure(h("div", { class: "plate" }, seen), `What the network sees: ${size} × ${size} pixels, prepared as cnnlab predict does it.`),
        figure(h("div", { class: "plate" }, heat), "What the answer rests on: covering a part with a strong colour lowers its probability most. The same as cnnlab explain."),
      ),
    ),
    h(
      "div",
      { class: "live-more" },
      figure(
        strips.map(({ name, row }) => [h("h3", {}, name), row]),
        `Feature maps as you draw: the first ${network.channels} channels of ${listed(network.layers)}, before the activation. Bright means that a channel finds its pattern there.`,
      ),
      h(
        "div",
        {},
        figure(map.box, `Where it falls on the map of layer ${network.map.layer}: the ring is the median of its ${map.neighbours} nearest test pictures. cnnlab project refines the place.`),
        figure(near, `Its nearest test pictures by that layer's ${network.map.kept} principal components, with the distance.`),
      ),
    ),
    h("p", { class: "hint" }, `Weights stored in 8 bits: the same answer as models/mynet.onnx on ${percent(network.agreement, 2)} of ${whole(dataset.n_test)} test pictures.`),
  );
  board.canvas.getContext("2d");
  engine.ready().then(
    () => {
      status.textContent = "Ready: draw something.";
      document.documentElement.dataset.live = String(Math.round(performance.now()));
    },
    (error) => (status.textContent = `The network could not be loaded: ${error.message}.`),
  );
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

/** The stored map, small, with a ring where the picture falls. */
function placeMap(network) {
  const side = 260,
    neighbours = 10,
    canvas = h("canvas", { width: side, height: side, role: "img", "aria-label": "The stored map" });
  const { x, y } = DATA.maps.networks.mynet.methods.tsne[network.map.layer];
  const at = (values, row) => 8 + (values[row] / GRID) * (side - 16);
  const context = canvas.getContext("2d");
  const draw = () => {
    context.clearRect(0, 0, side, side);
    DATA.maps.labels.forEach((label, row) => {
      context.fillStyle = DATA.colours[label % DATA.colours.length];
      context.globalAlpha = 0.7;
      context.fillRect(at(x, row) - 1, at(y, row) - 1, 2.4, 2.4);
    });
  };
  const middle = (values) => values.toSorted((a, b) => a - b)[values.length >> 1];
  draw();
  return {
    neighbours,
    box: h("div", { class: "plate" }, canvas),
    mark(rows) {
      draw();
      context.globalAlpha = 1;
      context.strokeStyle = "#111";
      context.lineWidth = 2.5;
      context.beginPath();
      context.arc(middle(rows.map((row) => at(x, row))), middle(rows.map((row) => at(y, row))), 8, 0, 2 * Math.PI);
      context.stroke();
    },
  };
}
