// The VAE, live: sliders for its strongest dimensions, samples, and a walk between two pictures, yours among them.

function sampler() {
  if (!LIVE || !LIVE.vae.shape) return null;
  const { shape, z_dim: dims, titles } = LIVE.vae,
    [, height, width] = shape,
    codes = halves(LIVE.vae.codes);
  let z = codes.slice(0, dims);
  const canvas = h("canvas", { width, height, role: "img", "aria-label": "The decoded picture" }),
    status = h("p", { class: "hint", role: "status", id: "sampler-status" }, "The decoder is loading …");
  const decode = latest(
    async () => {
      const begun = performance.now(),
        { pixels } = await engine.call("decode", { codes: Float32Array.from(z) });
      paint(canvas, rgbaOf(pixels, shape), width, height);
      status.textContent = `Decoded in ${whole(Math.max(1, performance.now() - begun))} ms.`;
      tally("decoded", begun);
    },
    (error) => (status.textContent = `No picture: ${error.message}.`),
  );
  /** The code of the picture in “Try it”; null, and a word to the reader, where there is none. */
  async function ownCode() {
    try {
      await engine.ready();
      return (await engine.call("encode")).code;
    } catch (error) {
      status.textContent = `No code of your picture: ${error.message}.`;
      return null;
    }
  }

  const sliders = codeSliders((dimension, value) => {
    z[dimension] = value;
    decode();
  });
  /** Take a code, show it on the sliders and decode it. */
  function take(values) {
    z = Float32Array.from(values);
    sliders.show(z);
    decode();
  }
  const stored = titles.map((title, i) => [title, codes.slice(i * dims, (i + 1) * dims)]),
    picture = figure(h("div", { class: "plate" }, canvas), "The picture that the decoder makes of the code: each slider is one of its numbers.");
  take(z);
  return h(
    "div",
    { class: "sampler", id: "sampler" },
    h("h3", {}, "Try it"),
    h(
      "div",
      { class: "live-grid two" },
      h("div", {}, picture, status),
      h(
        "div",
        {},
        sampleButtons(take, ownCode),
        h("h3", {}, "Dimensions of the code"),
        prose("The numbers that the VAE uses most, with their KL divergence in nats. Move one to see what it stands for."),
        sliders.box,
        h("h3", {}, "A walk between two pictures"),
        prose("Choose where it begins and ends: a test picture, or your own from the top of the page."),
        walkTools(stored, take, ownCode),
      ),
    ),
  );
}

/** A slider for each of the strongest dimensions; changed(dimension, value) is called when one moves. */
function codeSliders(changed) {
  const { dimensions, kl, moments } = LIVE.vae,
    [centres, deviations] = moments; // of the prior: a slider goes three deviations to each side
  const sliders = dimensions.map((dimension, place) => {
    const input = h("input", {
      type: "range", min: -3, max: 3, step: 0.05, "data-dimension": dimension,
      oninput: () => changed(dimension, centres[place] + deviations[place] * Number(input.value)),
    });
    return { dimension, input, row: h("label", { class: "slider" }, `z${dimension} (${fixed(kl[place], 1)} nats)`, input) };
  });
  const show = (z) =>
    sliders.forEach(({ dimension, input }, place) => (input.value = (z[dimension] - centres[place]) / deviations[place]));
  return { box: h("div", { class: "sliders" }, sliders.map(({ row }) => row)), show };
}

/** Buttons that take a code: of the prior, of each class, of the reader's picture. */
function sampleButtons(take, ownCode) {
  const { z_dim: dims, class_names: names, gaussians, prior } = LIVE.vae;
  const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random()),
    draws = () => Float32Array.from({ length: dims }, normal);
  function drawn({ mean, factor }) {
    const centre = halves(mean),
      lower = halves(factor),
      noise = draws();
    return centre.map((v, i) => v + noise.reduce((a, n, k) => a + n * lower[i * dims + k], 0));
  }
  const means = halves(prior.mean),
    deviations = halves(prior.deviation);
  function fromPrior() {
    const place = Math.random(),
      first = dims * Math.max(0, prior.shares.findIndex((share) => place < share));
    return draws().map((v, i) => means[first + i] + v * deviations[first + i]);
  }
  const classes = gaussians.length <= 20 ? gaussians : [];
  return h(
    "div",
    { class: "tools" },
    button("Another sample", () => take(fromPrior())),
    button("Your picture", async () => {
      const code = await ownCode();
      if (code) take(code);
    }),
    classes.map((gaussian, i) => button(names[i], () => take(drawn(gaussian)))),
  );
}

/** Where a walk begins and ends, how far it has come, and a button that plays it. stored: [title, code] of pictures. */
function walkTools(stored, take, ownCode) {
  const codes = [0, Math.min(2, stored.length - 1)].map((i) => stored[i][1]),
    way = h("input", { type: "range", min: 0, max: 1, step: 0.01, value: 0, "aria-label": "How far on the walk", oninput: () => walk() });
  let playing = 0;
  const walk = () => take(spherical(...codes, Number(way.value)));
  function end(label, place) {
    const choice = h(
      "select",
      { "data-walk": label, onchange: () => set(stored[choice.value][1]) },
      stored.map(([title, code], i) => h("option", { value: i, selected: code === codes[place] }, title)),
      h("option", { value: "own", hidden: true }, "your picture"),
    );
    function set(code) {
      codes[place] = code;
      walk();
    }
    const own = button("yours", async () => {
      const code = await ownCode();
      if (!code) return;
      choice.value = "own";
      set(code);
    });
    own.setAttribute("aria-label", `Your picture, ${label === "from" ? "as the beginning" : "as the end"}`);
    return [h("label", { class: "slider" }, label, choice), own];
  }
  const play = button("Play the walk", () => (playing ? stop() : begin()));
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
  return h("div", { class: "tools" }, end("from", 0), end("to", 1), h("label", { class: "slider" }, "way", way), play);
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
