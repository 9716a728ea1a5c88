// A picture of any size, colour and background as a network's pixels: what inference/prepare.py does in Python,
// step by step, with Pillow's own arithmetic. Runs in the worker. Pictures are {width, height, bands, data}: `bands`
// values a pixel, 8 bits each.

const LIGHT = 127.5, // grey value: what is lighter counts as light
  TOLERANCE = 24, // grey values by which the object differs from its background
  SPECK = 0.01, // share of the longer side that a row or column must differ in to belong to the object
  BORDERS = 3, // plain borders that are cut off at most: the background's own, and frames around it
  EVEN = 0.98, // share of a border within the tolerance that makes it a plain background
  MAX_SIDE = 1024, // pixels: a larger picture is averaged down first
  CELL = 3; // samples a side for each pixel of the result

const picture = (width, height, bands) => ({ width, height, bands, data: new Uint8ClampedArray(width * height * bands) });

/** To the nearest whole number, halves to the even one, as NumPy and Python round. */
function even(value) {
  const floor = Math.floor(value),
    rest = value - floor;
  return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
}

const luma = (r, g, b) => (r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16; // ITU-R 601-2, as Pillow computes it

function laidOn(ground, value, alpha) {
  const sum = value * alpha + ground * (255 - alpha) + 128;
  return ((sum >> 8) + sum) >> 8;
}

/** What a transparent picture is laid on: black where what shows is light, else white. */
function groundFor(rgba) {
  let sum = 0,
    shown = 0;
  for (let from = 0; from < rgba.length; from += 4)
    if (rgba[from + 3] > 0) {
      sum += luma(rgba[from], rgba[from + 1], rgba[from + 2]);
      shown++;
    }
  return shown && sum / shown > LIGHT ? 0 : 255;
}

/** RGBA laid on white, or on black where what shows is light, in grey (1 band) or in colour (3). */
function flatten(rgba, width, height, bands) {
  const made = picture(width, height, bands);
  let ground = null;
  for (let i = 0, from = 0; i < width * height; i++, from += 4) {
    const alpha = rgba[from + 3];
    let r = rgba[from],
      g = rgba[from + 1],
      b = rgba[from + 2];
    if (alpha < 255) {
      ground ??= groundFor(rgba);
      r = laidOn(ground, r, alpha);
      g = laidOn(ground, g, alpha);
      b = laidOn(ground, b, alpha);
    }
    if (bands === 1) made.data[i] = luma(r, g, b);
    else {
      made.data[3 * i] = r;
      made.data[3 * i + 1] = g;
      made.data[3 * i + 2] = b;
    }
  }
  return { ...made, transparent: ground !== null };
}

function grey(from) {
  if (from.bands === 1) return from;
  const made = picture(from.width, from.height, 1);
  for (let i = 0; i < made.data.length; i++)
    made.data[i] = luma(from.data[3 * i], from.data[3 * i + 1], from.data[3 * i + 2]);
  return made;
}

/** Averages over blocks of factor × factor pixels, as Pillow's Image.reduce. */
function reduce(from, factor) {
  const { width, height, bands } = from,
    made = picture(Math.ceil(width / factor), Math.ceil(height / factor), bands);
  for (let y = 0; y < made.height; y++)
    for (let x = 0; x < made.width; x++) {
      const right = Math.min(width, (x + 1) * factor),
        bottom = Math.min(height, (y + 1) * factor),
        count = (right - x * factor) * (bottom - y * factor),
        multiplier = Math.trunc(Math.fround(4294967296 / (256 * count)));
      for (let band = 0; band < bands; band++) {
        let sum = count >> 1;
        for (let v = y * factor; v < bottom; v++)
          for (let u = x * factor; u < right; u++) sum += from.data[(v * width + u) * bands + band];
        made.data[(y * made.width + x) * bands + band] = Math.floor((sum * multiplier) / 16777216);
      }
    }
  return made;
}

const sinc = (x) => (x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI));
const FILTERS = {
  lanczos: [3, (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0)],
  box: [0.5, (x) => (x > -0.5 && x <= 0.5 ? 1 : 0)],
};
const PRECISION = 2 ** 22; // Pillow's weights are whole numbers of this unit

/** For each of `size` results between `low` and `high` of `length` values: where to start, and the weights. */
function weights(length, low, high, size, [reach, filter]) {
  const scale = (high - low) / size,
    wide = Math.max(scale, 1),
    support = reach * wide;
  return Array.from({ length: size }, (_, place) => {
    const centre = low + (place + 0.5) * scale,
      start = Math.max(0, Math.trunc(centre - support + 0.5)),
      end = Math.min(length, Math.trunc(centre + support + 0.5)),
      raw = Array.from({ length: end - start }, (_, i) => filter((i + start - centre + 0.5) / wide)),
      total = raw.reduce((a, b) => a + b, 0) || 1;
    return [start, raw.map((w) => Math.trunc((w / total) * PRECISION + (w < 0 ? -0.5 : 0.5)))];
  });
}

/** Scale the part `box` (left, top, right, bottom) to size × size, as Pillow's Image.resize. */
function resize(from, size, name, box = [0, 0, from.width, from.height]) {
  const { width, height, bands } = from,
    filter = FILTERS[name],
    [left, top, right, bottom] = box.map(Math.fround);
  if (width === size && height === size && !left && !top && right === size && bottom === size) return from;
  let current = from;
  if (width !== size || left || right !== size) {
    const across = weights(width, left, right, size, filter),
      made = picture(size, height, bands);
    for (let y = 0; y < height; y++)
      across.forEach(([start, kernel], x) => {
        for (let band = 0; band < bands; band++) {
          let sum = PRECISION / 2;
          for (let i = 0; i < kernel.length; i++)
            sum += current.data[(y * width + start + i) * bands + band] * kernel[i];
          made.data[(y * size + x) * bands + band] = Math.floor(sum / PRECISION);
        }
      });
    current = made;
  }
  if (height !== size || top || bottom !== size) {
    const down = weights(height, top, bottom, size, filter),
      made = picture(size, size, bands);
    down.forEach(([start, kernel], y) => {
      for (let x = 0; x < size * bands; x++) {
        let sum = PRECISION / 2;
        for (let i = 0; i < kernel.length; i++) sum += current.data[(start + i) * size * bands + x] * kernel[i];
        made.data[y * size * bands + x] = Math.floor(sum / PRECISION);
      }
    });
    current = made;
  }
  return current;
}

/** The values of the outermost pixels of `box`, one hundredth of the shorter side deep; corners count twice. */
function border({ data, width }, [left, top, right, bottom]) {
  const depth = Math.max(1, Math.trunc(Math.min(right - left, bottom - top) / 100)),
    values = [];
  const add = (x0, y0, x1, y1) => {
    for (let y = y0; y < y1; y++) for (let x = x0; x < x1; x++) values.push(data[y * width + x]);
  };
  add(left, top, right, Math.min(bottom, top + depth));
  add(left, Math.max(top, bottom - depth), right, bottom);
  add(left, top, Math.min(right, left + depth), bottom);
  add(Math.max(left, right - depth), top, right, bottom);
  return values;
}

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
function median(values) {
  const sorted = values.toSorted((a, b) => a - b),
    half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** Where the object lies, the grey value of its background, and whether the object is the darker one. */
function locate(image, borders) {
  let box = [0, 0, image.width, image.height],
    background = mean(border(image, box)),
    darker = background > LIGHT;
  for (let round = 0; round < borders; round++) {
    const [left, top, right, bottom] = box,
      values = border(image, box),
      middle = median(values);
    if (values.filter((v) => Math.abs(v - middle) <= TOLERANCE).length / values.length < EVEN) break;
    let sum = 0;
    const least = SPECK * Math.max(right - left, bottom - top),
      rows = new Int32Array(bottom - top),
      columns = new Int32Array(right - left);
    for (let y = top; y < bottom; y++)
      for (let x = left; x < right; x++)
        if (Math.abs(image.data[y * image.width + x] - middle) > TOLERANCE) {
          rows[y - top]++;
          columns[x - left]++;
          sum += image.data[y * image.width + x] - middle;
        }
    const within = (counts) => [counts.findIndex((n) => n > least), counts.findLastIndex((n) => n > least)];
    const [firstRow, lastRow] = within(rows),
      [firstColumn, lastColumn] = within(columns);
    if (firstRow < 0 || firstColumn < 0) break;
    background = middle;
    darker = sum < 0;
    box = [left + firstColumn, top + firstRow, left + lastColumn + 1, top + lastRow + 1];
  }
  return { box, background, darker };
}

/** The object in `box` laid on size × size cells, its longer side `share` of the whole; the sharper of two positions. */
function onGrid(image, [x0, y0, x1, y1], size, share, background) {
  const wide = x1 - x0,
    high = y1 - y0,
    cell = Math.max(wide, high) / (size * share),
    side = Math.ceil((size + 2) * cell) + 1,
    left = (side - wide) >> 1,
    top = (side - high) >> 1,
    { bands } = image,
    canvas = picture(side, side, bands);
  canvas.data.fill(even(background));
  for (let y = 0; y < high; y++) {
    const start = ((y0 + y) * image.width + x0) * bands;
    canvas.data.set(image.data.subarray(start, start + wide * bands), ((top + y) * side + left) * bands);
  }
  const alongRows = wide < high; // the shorter side is the width
  let best = null,
    sharpest = -1;
  for (const offset of Math.abs(wide - high) > cell / 2 ? [0, 0.5] : [0]) {
    const x = left + wide / 2 - (size / 2 + (alongRows ? offset : 0)) * cell,
      y = top + high / 2 - (size / 2 + (alongRows ? 0 : offset)) * cell,
      values = sampled(canvas, [x, y, x + size * cell, y + size * cell], size, cell);
    const step = alongRows ? bands : size * bands;
    let sharpness = 0;
    for (let i = 0; i < values.length; i++) {
      const last = alongRows ? Math.floor(i / bands) % size === size - 1 : i >= values.length - step;
      if (!last) sharpness += (values[i + step] - values[i]) ** 2;
    }
    if (sharpness > sharpest) {
      best = values;
      sharpest = sharpness;
    }
  }
  return best;
}

/** The middle of each cell of `box`, or a smooth scaling where the cells are too small for that. */
function sampled(canvas, box, size, cell) {
  const { bands } = canvas;
  if (cell < CELL / 2) return Float32Array.from(resize(canvas, size, "lanczos", box).data);
  const fine = resize(canvas, size * CELL, "box", box).data,
    half = CELL >> 1,
    values = new Float32Array(size * size * bands);
  for (let y = 0; y < size; y++)
    for (let x = 0; x < size; x++)
      for (let band = 0; band < bands; band++)
        values[(y * size + x) * bands + band] =
          fine[((y * CELL + half) * size * CELL + x * CELL + half) * bands + band];
  return values;
}

/** The middle square, scaled: ImageOps.fit of Pillow, for data that are no objects on a dark background. */
function middleSquare(image, size) {
  const side = Math.min(image.width, image.height),
    left = (image.width - side) * 0.5,
    top = (image.height - side) * 0.5;
  return resize(image, size, "lanczos", [left, top, left + side, top + side]).data;
}

/** Pixels [channels × size × size] of RGBA values, and whether they were inverted. */
function prepare(rgba, width, height, [channels, size], share) {
  const flat = flatten(rgba, width, height, channels === 1 ? 1 : 3);
  const { transparent } = flat;
  if (share === null) return { pixels: planes(middleSquare(flat, size), channels), inverted: false, transparent };
  const exact = width === size && height === size;
  let image = flat;
  if (Math.max(width, height) > MAX_SIDE) image = reduce(flat, Math.ceil(Math.max(width, height) / MAX_SIDE));
  let { box, background, darker: inverted } = locate(grey(image), exact ? 0 : BORDERS);
  if (inverted) {
    image = { ...image, data: image.data.map((v) => 255 - v) };
    background = 255 - background;
  }
  if (exact) return { pixels: planes(image.data, channels), inverted, transparent };
  const values = onGrid(image, box, size, share, background),
    level = Math.fround(255 / (255 - background)),
    black = Math.fround(background),
    levelled = values.map((v) => even(Math.fround(Math.fround(v - black) * level)));
  return { pixels: planes(levelled.map((v) => Math.min(255, Math.max(0, v))), channels), inverted, transparent };
}

/** Values that lie pixel by pixel as one plane for each channel. */
function planes(values, channels) {
  const count = values.length / channels,
    made = new Uint8Array(values.length);
  for (let i = 0; i < count; i++)
    for (let channel = 0; channel < channels; channel++) made[channel * count + i] = values[i * channels + channel];
  return made;
}
