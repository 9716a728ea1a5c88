// The worker: onnxruntime-web with the network and the VAE; answers messages {id, task, ...}. The page stays free
// meanwhile. After the other scripts of the worker, in one script.

const CELLS = 14, // a side, of the coarse look that the rule of novelty compares
  COLUMNS = 8; // of a sheet of feature maps
let ort, net, network, codec, encoder, decoder, rule;
let asked, found; // the last picture that was asked about, and all that the network said of it

/** The file behind the text of live.packed: 13 bits in each two characters, compressed. */
async function unpacked(text) {
  const colon = text.indexOf(":"),
    zipped = new Uint8Array(Number(text.slice(0, colon))),
    digit = (i) => {
      const code = text.charCodeAt(i);
      return code - 35 - (code > 60 ? 1 : 0); // from "#" on, without "<"
    };
  let place = 0,
    held = 0,
    count = 0;
  for (let i = colon + 1; place < zipped.length; i += 2) {
    held = ((held & 0xff) << 13) | (digit(i) * 91 + digit(i + 1));
    count += 13;
    while (count >= 8 && place < zipped.length) zipped[place++] = held >> (count -= 8);
  }
  const stream = new Blob([zipped]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

const open = async (text) =>
  ort.InferenceSession.create(await unpacked(text), { executionProviders: ["wasm"], graphOptimizationLevel: "all" });

async function start(data) {
  const script = URL.createObjectURL(new Blob([await unpacked(data.script)], { type: "text/javascript" }));
  ort = await import(script);
  URL.revokeObjectURL(script);
  ort.env.wasm.numThreads = 1; // more would need SharedArrayBuffer, which a file has not
  ort.env.wasm.wasmBinary = (await unpacked(data.wasm)).buffer; // given, so that nothing is fetched
  ort.env.logLevel = "error";
  network = data.network;
  net = await open(network.model);
  const { novelty } = network;
  rule = { ...novelty, mean: halves(novelty.mean), basis: halves(novelty.basis) };
  openMap(network.map);
  await logitsOf(new Uint8Array(network.shape[0] * network.shape[1] * network.shape[2]), 1); // the first run is slow
  if (data.vae.decoder) {
    codec = data.vae;
    decoder = await open(codec.decoder);
    encoder = await open(codec.encoder);
  }
}

const run = (pixels, count, outputs) =>
  net.run({ image: new ort.Tensor("uint8", pixels, [count, ...network.shape]) }, outputs);
const logitsOf = async (pixels, count) => (await run(pixels, count, ["logits"])).logits.data;

function softmax(logits, temperature) {
  const top = Math.max(...logits),
    powers = Array.from(logits, (v) => Math.exp((v - top) / temperature)),
    total = powers.reduce((a, b) => a + b, 0);
  return powers.map((v) => v / total);
}

/** What the network says of a picture given as RGBA; the rest of what it found waits for `look`. */
async function answer(picture) {
  asked = picture;
  const { rgba, width, height } = picture,
    prepared = prepare(rgba, width, height, network.shape, network.object_share);
  found = await run(prepared.pixels, 1);
  const logits = found.logits.data;
  return {
    ...prepared,
    logits,
    probabilities: softmax(logits, network.temperature),
    unlike: unlike(prepared.pixels, logits),
  };
}

/** What lies behind the last answer: sheets of feature maps, the nearest pictures, and the place on the map. */
const look = () => ({ sheets: network.layers.map((name) => sheetOf(found[name])), ...place(found[network.map.layer].data) });

/** The first channels of a layer on one sheet as RGBA, each channel from its least value, black, to its greatest. */
function sheetOf({ dims: [, channels, high, wide], data }) {
  const count = Math.min(channels, network.channels),
    gap = Math.max(1, Math.round(wide / COLUMNS)),
    width = COLUMNS * (wide + gap) - gap,
    height = Math.ceil(count / COLUMNS) * (high + gap) - gap,
    rgba = new Uint8ClampedArray(4 * width * height);
  for (let channel = 0; channel < count; channel++) {
    const values = data.subarray(channel * high * wide, (channel + 1) * high * wide),
      corner = Math.floor(channel / COLUMNS) * (high + gap) * width + (channel % COLUMNS) * (wide + gap);
    let low = Infinity,
      top = -Infinity;
    for (const v of values) {
      if (v < low) low = v;
      if (v > top) top = v;
    }
    const scale = 255 / (top - low || 1);
    for (let i = 0; i < values.length; i++) {
      const to = 4 * (corner + Math.floor(i / wide) * width + (i % wide));
      rgba.fill((values[i] - low) * scale, to, to + 3);
      rgba[to + 3] = 255;
    }
  }
  return { rgba, width, height };
}

/** Whether a picture is unlike the data: no class is certain, or its coarse look is far from the data's. */
function unlike(pixels, logits) {
  const top = Math.max(...logits),
    energy = top + Math.log(Array.from(logits, (v) => Math.exp(v - top)).reduce((a, b) => a + b, 0));
  return energy < rule.energy_min || residual(coarse(pixels)) > rule.residual_max;
}

/** Grey values in [0, 1], averaged over 14 × 14 cells; pixels that cells share count by their overlap. */
function coarse(pixels) {
  const [channels, height, width] = network.shape,
    cells = new Float64Array(CELLS * CELLS);
  const overlap = (cell, pixel, size) =>
    Math.max(0, Math.min(((cell + 1) * size) / CELLS, pixel + 1) - Math.max((cell * size) / CELLS, pixel)) * (CELLS / size);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      let value = 0;
      for (let c = 0; c < channels; c++) value += pixels[(c * height + y) * width + x];
      value /= channels * 255;
      const rows = [Math.floor((y * CELLS) / height), Math.ceil(((y + 1) * CELLS) / height)],
        columns = [Math.floor((x * CELLS) / width), Math.ceil(((x + 1) * CELLS) / width)];
      for (let i = rows[0]; i < rows[1]; i++)
        for (let j = columns[0]; j < columns[1]; j++)
          cells[i * CELLS + j] += value * overlap(i, y, height) * overlap(j, x, width);
    }
  return cells;
}

function residual(look) {
  const centred = look.map((v, i) => v - rule.mean[i]),
    squares = (values) => values.reduce((a, v) => a + v * v, 0);
  let explained = 0;
  for (let row = 0; row < rule.basis.length; row += look.length)
    explained += centred.reduce((a, v, i) => a + v * rule.basis[row + i], 0) ** 2;
  return squares(centred) - explained;
}

/** The VAE's code of the last picture that was asked about: the posterior's mean. */
async function encode() {
  if (!asked) throw new Error("draw or open a picture first");
  const { pixels } = prepare(asked.rgba, asked.width, asked.height, codec.shape, codec.object_share),
    { mean: code } = await encoder.run({ image: new ort.Tensor("uint8", pixels, [1, ...codec.shape]) });
  return { code: code.data };
}

/** Codes to pictures: [n × z_dim] to [n × channels × height × width]. */
async function decode({ codes }) {
  const count = codes.length / codec.z_dim,
    found = await decoder.run({ z: new ort.Tensor("float32", codes, [count, codec.z_dim]) });
  return { pixels: found.image.data };
}

const TASKS = { start, answer, look, occlude, encode, decode };

let last = Promise.resolve(); // one task after another: a session runs one at a time

self.addEventListener("message", ({ data: { id, task, ...rest } }) => {
  last = last.then(async () => {
    try {
      self.postMessage({ id, value: await TASKS[task](rest) });
    } catch (error) {
      self.postMessage({ id, error: String(error.message || error) });
    }
  });
});
