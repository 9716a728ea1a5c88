// The drawing, and pictures that are opened.

const SIDE = 280, // pixels of the drawing
  MOST_PIXELS = 64e6;

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
