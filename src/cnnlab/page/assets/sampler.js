// The VAE, live: sliders for its strongest dimensions, samples, and a walk between two pictures.

function sampler() {
  if (!LIVE || !LIVE.vae.shape) return null;
  const { shape, z_dim: dims, dimensions, kl, titles, class_names: names, gaussians } = LIVE.vae,
    codes = halves(LIVE.vae.codes);
  const code = (place) => codes.slice(place * dims, (place + 1) * dims);
  let z = code(0),
    busy = false,
    again = false,
    playing = 0;
  const canvas = h("canvas", { width: shape[2], height: shape[1], role: "img", "aria-label": "The decoded picture" });
  const status = h("p", { class: "hint", role: "status" }, "The decoder is loading …");

  async function decode() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      await engine.ready();
      do {
        again = false;
        const begun = performance.now(),
          { pixels } = await engine.call("decode", { codes: Float32Array.from(z) });
        paint(canvas, pixels, shape);
        status.textContent = `Decoded in ${whole(Math.max(1, performance.now() - begun))} ms.`;
        canvas.dataset.decoded = String(Number(canvas.dataset.decoded || 0) + 1);
      } while (again);
    } catch (error) {
      status.textContent = `No picture: ${error.message}.`;
    } finally {
      busy = false;
    }
  }

  const sliders = dimensions.map((dimension, place) => {
    const input = h("input", {
      type: "range", min: -3, max: 3, step: 0.05, "data-dimension": dimension,
      oninput: () => {
        z[dimension] = Number(input.value);
        decode();
      },
    });
    return { dimension, input, row: h("label", { class: "slider" }, `z${dimension} (${fixed(kl[place], 1)} nats)`, input) };
  });
  /** Take a code, show it on the sliders and decode it. */
  function take(values) {
    z = Float32Array.from(values);
    sliders.forEach(({ dimension, input }) => (input.value = z[dimension]));
    decode();
  }
  const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  const draws = () => Float32Array.from({ length: dims }, normal);
  function drawn({ mean, factor }) {
    const centre = halves(mean),
      lower = halves(factor),
      noise = draws();
    return centre.map((v, i) => v + noise.reduce((a, n, k) => a + n * lower[i * dims + k], 0));
  }
  const from = h("select", { "data-walk": "from", onchange: () => walk() }, titles.map((t, i) => h("option", { value: i }, t))),
    to = h("select", { "data-walk": "to", onchange: () => walk() }, titles.map((t, i) => h("option", { value: i, selected: i === Math.min(2, titles.length - 1) }, t))),
    way = h("input", { type: "range", min: 0, max: 1, step: 0.01, value: 0, "aria-label": "How far on the walk", oninput: () => walk() });
  const walk = () => take(spherical(code(Number(from.value)), code(Number(to.value)), Number(way.value)));
  const play = h("button", { type: "button", class: "quiet", onclick: () => (playing ? stop() : begin()) }, "Play the walk");
  function stop() {
    clearInterval(playing);
    playing = 0;
    play.textContent = "Play the walk";
  }
  function begin() {
    play.textContent = "Stop";
    if (Number(way.value) >= 1) way.value = 0;
    playing = setInterval(() => {
      way.value = Number(way.value) + 0.02;
      walk();
      if (Number(way.value) >= 1) stop();
    }, 60);
  }
  take(z);
  return h(
    "div",
    { class: "sampler", id: "sampler" },
    h("h3", {}, "Try it"),
    h(
      "div",
      { class: "live-grid two" },
      h("div", {}, figure(h("div", { class: "plate" }, canvas), "The picture that the decoder makes of the code."), status),
      h(
        "div",
        {},
        h("div", { class: "tools" },
          h("button", { type: "button", class: "quiet", onclick: () => take(draws()) }, "Another sample"),
          gaussians.length > 0 && gaussians.length <= 20 && gaussians.map((g, i) => h("button", { type: "button", class: "quiet", onclick: () => take(drawn(g)) }, names[i]))),
        h("h3", {}, "Dimensions of the code"),
        prose("Those that the VAE uses most, by their KL divergence. Move one to see what it stands for."),
        h("div", { class: "sliders" }, sliders.map((s) => s.row)),
        h("h3", {}, "A walk between two pictures"),
        h("div", { class: "tools" }, h("label", { class: "slider" }, "from", from), h("label", { class: "slider" }, "to", to), h("label", { class: "slider" }, "way", way), play),
      ),
    ),
  );
}

/** From one code to another along the great circle, lengths going over from one to the other (Shoemake 1985). */
function spherical(a, b, share) {
  const length = (v) => Math.sqrt(v.reduce((s, x) => s + x * x, 0)),
    [la, lb] = [length(a), length(b)],
    cosine = Math.min(1, Math.max(-1, a.reduce((s, x, i) => s + x * b[i], 0) / (la * lb || 1))),
    angle = Math.acos(cosine);
  if (!la || !lb || Math.sin(angle) < 1e-6) return a.map((x, i) => (1 - share) * x + share * b[i]);
  const reach = (1 - share) * la + share * lb;
  return a.map(
    (x, i) =>
      (reach * ((Math.sin((1 - share) * angle) * x) / la + (Math.sin(share * angle) * b[i]) / lb)) / Math.sin(angle),
  );
}
