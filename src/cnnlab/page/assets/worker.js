// The worker: onnxruntime-web with the network and the VAE's decoder; answers messages {id, task, ...}. The page
// stays free meanwhile. After prepare.js, in one script.

const GRID = 14, // of the coarse look that the rule of novelty compares
  NEIGHBOURS = 10;
let ort, net, network, codec, decoder, rule, stored;

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
  const { novelty, map } = network;
  rule = { ...novelty, mean: halves(novelty.mean), basis: halves(novelty.basis) };
  stored = { mean: halves(map.mean), components: halves(map.components), reduced: halves(map.reduced), kept: map.kept };
  await logitsOf(new Uint8Array(network.shape[0] * network.shape[1] * network.shape[2]), 1); // the first run is slow
  if (data.vae.model) {
    codec = data.vae;
    decoder = await open(codec.model);
  }
  return { agreement: network.agreement };
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

/** What the network says of a picture given as RGBA. */
async function answer({ rgba, width, height }) {
  const prepared = prepare(rgba, width, height, network.shape, network.object_share);
  const found = await run(prepared.pixels, 1),
    logits = found.logits.data;
  return {
    ...prepared,
    logits,
    probabilities: softmax(logits, network.temperature),
    unlike: unlike(prepared.pixels, logits),
    layers: network.layers.map((name) => mapsOf(found[name])),
    ...place(found[network.map.layer].data),
  };
}

/** The first channels of a layer, each scaled to 0 … 255. */
function mapsOf({ dims: [, channels, height, width], data }) {
  const count = Math.min(channels, network.channels);
  return {
    height,
    width,
    maps: Array.from({ length: count }, (_, channel) => {
      const values = data.subarray(channel * height * width, (channel + 1) * height * width);
      let low = Infinity,
        high = -Infinity;
      for (const v of values) {
        if (v < low) low = v;
        if (v > high) high = v;
      }
      return Uint8Array.from(values, (v) => (255 * (v - low)) / (high - low || 1));
    }),
  };
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
    cells = new Float64Array(GRID * GRID);
  const overlap = (cell, pixel, size) =>
    Math.max(0, Math.min(((cell + 1) * size) / GRID, pixel + 1) - Math.max((cell * size) / GRID, pixel)) * (GRID / size);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      let value = 0;
      for (let c = 0; c < channels; c++) value += pixels[(c * height + y) * width + x];
      value /= channels * 255;
      const rows = [Math.floor((y * GRID) / height), Math.ceil(((y + 1) * GRID) / height)],
        columns = [Math.floor((x * GRID) / width), Math.ceil(((x + 1) * GRID) / width)];
      for (let i = rows[0]; i < rows[1]; i++)
        for (let j = columns[0]; j < columns[1]; j++)
          cells[i * GRID + j] += value * overlap(i, y, height) * overlap(j, x, width);
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

/** The nearest pictures of the map by the layer's principal components, nearest first. */
function place(features) {
  const { kept, components, reduced } = stored,
    size = features.length,
    own = new Float64Array(kept);
  for (let k = 0; k < kept; k++)
    for (let i = 0; i < size; i++) own[k] += (features[i] - stored.mean[i]) * components[k * size + i];
  const distances = Array.from({ length: reduced.length / kept }, (_, row) => {
    let sum = 0;
    for (let k = 0; k < kept; k++) sum += (reduced[row * kept + k] - own[k]) ** 2;
    return [Math.sqrt(sum), row];
  });
  return { near: distances.toSorted((a, b) => a[0] - b[0]).slice(0, NEIGHBOURS), reduced: own };
}

/** The first `dimensions` codes to pictures: [n × z_dim] to [n × channels × height × width]. */
async function decode({ codes }) {
  const count = codes.length / codec.z_dim,
    found = await decoder.run({ z: new ort.Tensor("float32", codes, [count, codec.z_dim]) });
  return { pixels: found.image.data };
}

const TASKS = { start, answer, occlude, decode };

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
