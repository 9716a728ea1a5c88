// What an answer rests on, by occlusion (Zeiler and Fergus 2014, section 4.2): the algorithm of inference/explain.py,
// in parts, so that a new stroke is answered in between. Runs in the worker.

const AT_A_TIME = 24; // patches
const halfUp = (value) => Math.floor(value + 0.5);

/** Where patches begin along a side of the picture. */
function edges(length, side) {
  const places = [];
  for (let at = 0; at <= length - side; at += Math.max(1, halfUp(side / 4))) places.push(at);
  if (places.at(-1) !== length - side) places.push(length - side);
  return places;
}

/** From patch number `from` on: where they lie (top, left, bottom, right), their effects in nats, what comes next. */
async function occlude({ pixels, label, from }) {
  const [channels, height, width] = network.shape,
    plane = height * width,
    side = Math.min(Math.max(2, halfUp(Math.min(height, width) / 4)), height, width),
    all = edges(height, side).flatMap((y) => edges(width, side).map((x) => [y, x, y + side, x + side])),
    patches = all.slice(from, from + AT_A_TIME),
    batch = new Uint8Array((patches.length + 1) * pixels.length);
  const cover = Array.from({ length: channels }, (_, c) =>
    network.object_share === null ? halfUp(mean([...pixels.subarray(c * plane, (c + 1) * plane)])) : 0,
  );
  batch.set(pixels);
  patches.forEach(([top, left, bottom, right], i) => {
    const start = (i + 1) * pixels.length;
    batch.set(pixels, start);
    for (let c = 0; c < channels; c++)
      for (let y = top; y < bottom; y++)
        batch.fill(cover[c], start + (c * height + y) * width + left, start + (c * height + y) * width + right);
  });
  const logits = await logitsOf(batch, patches.length + 1),
    classes = network.class_names.length;
  const logChance = (row) => {
    const own = Array.from(logits.subarray(row * classes, (row + 1) * classes), (v) => v / network.temperature),
      top = Math.max(...own);
    return own[label] - top - Math.log(own.reduce((a, v) => a + Math.exp(v - top), 0));
  };
  const next = from + AT_A_TIME;
  return {
    patches,
    effects: patches.map((_, i) => logChance(0) - logChance(i + 1)),
    next: next < all.length ? next : null,
  };
}
