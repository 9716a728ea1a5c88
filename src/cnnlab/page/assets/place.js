// Where a picture falls on the stored map, as embedding/tsne.py's `place` does it with openTSNE: it is drawn to its
// neighbours in the layer and pushed away by all other pictures, which stay where they are (Poličar, Stražar and Zupan
// 2023). Runs in the worker.

const NEAREST = 25, // pictures that are looked for: as many as openTSNE starts from
  STEPS = 250, // of gradient descent; this and the rates are openTSNE's own
  RATE = 0.1,
  MOMENTUM = 0.8,
  EXAGGERATION = 1.5,
  MOST_GRADIENT = 0.25;
let stored; // the layer's principal components, those of the pictures on the map, and their places in the map's units

function openMap({ mean, components, reduced, kept, perplexity, unit, x, y }) {
  const places = (values) => Float64Array.from(values, (value) => value * unit);
  stored = { mean: halves(mean), components: halves(components), reduced: halves(reduced), kept, perplexity, unit };
  Object.assign(stored, { x: places(x), y: places(y) });
}

/** The nearest pictures, nearest first, and the place, in steps of the page's grid. */
function place(features) {
  const nearest = nearestTo(componentsOf(features)),
    { unit } = stored,
    [x, y] = settled(nearest);
  return { nearest, at: [x / unit, y / unit] };
}

function componentsOf(features) {
  const { mean, components, kept } = stored,
    size = features.length,
    own = new Float64Array(kept);
  for (let k = 0; k < kept; k++)
    for (let i = 0; i < size; i++) own[k] += (features[i] - mean[i]) * components[k * size + i];
  return own;
}

function nearestTo(own) {
  const { reduced, kept } = stored,
    squares = new Float64Array(reduced.length / kept);
  for (let row = 0; row < squares.length; row++)
    for (let k = 0; k < kept; k++) squares[row] += (reduced[row * kept + k] - own[k]) ** 2;
  const rows = Array.from(squares.keys()).sort((a, b) => squares[a] - squares[b]);
  return rows.slice(0, NEAREST).map((row) => ({ row, distance: Math.sqrt(squares[row]) }));
}

/** The place in the map's units, after gradient descent from the middle of the neighbours. */
function settled(nearest) {
  const { x, y, perplexity } = stored;
  if (!perplexity) return [x[nearest[0].row], y[nearest[0].row]];
  const near = nearest.slice(0, Math.min(x.length - 1, Math.trunc(3 * perplexity))),
    middle = (values) => median(near.map(({ row }) => values[row])),
    at = [middle(x), middle(y)],
    update = [0, 0],
    gains = [1, 1],
    pull = affinities(near.map(({ distance }) => distance ** 2), perplexity);
  for (let step = 0; step < STEPS; step++) {
    const gradient = gradientAt(at, near, pull),
      length = Math.hypot(...gradient),
      shorter = Math.min(1, MOST_GRADIENT / (length + 1e-6));
    for (let axis = 0; axis < 2; axis++) {
      const slope = gradient[axis] * shorter;
      gains[axis] = Math.sign(update[axis]) === Math.sign(slope) ? gains[axis] * 0.8 + 0.01 : gains[axis] + 0.2;
      update[axis] = MOMENTUM * update[axis] - RATE * gains[axis] * slope;
      at[axis] += update[axis];
    }
  }
  return at;
}

function gradientAt([px, py], near, pull) {
  const { x, y } = stored;
  let total = 0,
    pushX = 0,
    pushY = 0;
  for (let i = 0; i < x.length; i++) {
    const dx = px - x[i],
      dy = py - y[i],
      q = 1 / (1 + dx * dx + dy * dy);
    total += q;
    pushX += q * q * dx;
    pushY += q * q * dy;
  }
  const gradient = [-pushX / total, -pushY / total];
  near.forEach(({ row }, i) => {
    const dx = px - x[row],
      dy = py - y[row],
      force = (EXAGGERATION * pull[i]) / (1 + dx * dx + dy * dy);
    gradient[0] += force * dx;
    gradient[1] += force * dy;
  });
  return gradient;
}

/** Gaussian affinities to neighbours at these squared distances, as wide as the perplexity asks; they sum to one. */
function affinities(squares, perplexity) {
  let low = 0,
    high = Infinity,
    precision = 1,
    powers = [];
  const least = Math.min(...squares);
  for (let round = 0; round < 200; round++) {
    powers = squares.map((square) => Math.exp(-precision * (square - least)));
    const total = powers.reduce((a, b) => a + b, 0),
      entropy = Math.log(total) + (precision * powers.reduce((a, p, i) => a + p * (squares[i] - least), 0)) / total,
      excess = entropy - Math.log(perplexity);
    powers = powers.map((p) => p / total);
    if (Math.abs(excess) < 1e-8) break;
    if (excess > 0) low = precision;
    else high = precision;
    precision = high === Infinity ? precision * 2 : (low + high) / 2;
  }
  return powers;
}
