// What an answer rests on, by occlusion (Zeiler and Fergus 2014, section 4.2), as inference/explain.py says and does it:
// a patch covers one part after another, and the fall of the answer's log-probability is what lies under it.

const AT_A_TIME = 8; // patches: a stroke waits no longer than these take

/** From patch number `from` on: where they lie (top, left, bottom, right), the fall of the log-probability, what is next. */
async function occlude({ pixels, label, from }) {
  const [channels, height, width] = network.shape,
    side = Math.min(Math.max(2, Math.round(Math.min(height, width) / 4)), height, width),
    step = Math.max(1, Math.round(side / 4));
  const starts = (length) => {
    const places = [];
    for (let at = 0; at < length - side; at += step) places.push(at);
    return [...places, Math.max(0, length - side)];
  };
  const all = starts(height).flatMap((y) => starts(width).map((x) => [y, x, y + side, x + side])),
    patches = all.slice(from, from + AT_A_TIME),
    batch = new Uint8Array((patches.length + 1) * pixels.length);
  const plane = height * width,
    fills = Array.from({ length: channels }, (_, c) =>
      network.object_share === null ? Math.round(mean(pixels.subarray(c * plane, (c + 1) * plane))) : 0,
    );
  batch.set(pixels);
  patches.forEach(([top, left, bottom, right], i) => {
    const start = (i + 1) * pixels.length;
    batch.set(pixels, start);
    for (let c = 0; c < channels; c++)
      for (let y = top; y < bottom; y++)
        batch.fill(fills[c], start + (c * height + y) * width + left, start + (c * height + y) * width + right);
  });
  const logits = await logitsOf(batch, patches.length + 1),
    classes = network.class_names.length;
  const chance = (row) => {
    const values = Array.from(logits.subarray(row * classes, (row + 1) * classes), (v) => v / network.temperature),
      top = Math.max(...values);
    return values[label] - top - Math.log(values.reduce((sum, v) => sum + Math.exp(v - top), 0));
  };
  const whole = chance(0),
    next = from + AT_A_TIME;
  return { patches, drops: patches.map((_, i) => whole - chance(i + 1)), next: next < all.length ? next : null };
}
