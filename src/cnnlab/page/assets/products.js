// What comes out: the autoencoder, the exported files. At the end everything is started.

const VAE_PICTURES = {
  reconstructions: "Test pictures and what their codes decode to",
  mixture_samples: "Decoded from draws of the mixture of Gaussians fitted to the codes",
  samples: "Decoded from draws of the prior N(0, I)",
  class_samples: "Decoded from draws of the Gaussian fitted to each class's codes",
  interpolation_prior: "On the way between two draws from the prior, straight and along the great circle",
  interpolation_between: "On the way between the codes of two test pictures of two classes",
  interpolation_within: "On the way between the codes of two test pictures of one class",
  interpolation_means: "On the way between the mean codes of two classes",
  interpolation_pictures: "On the way between the codes of two test pictures",
  traversal: "One dimension of a test picture's code at a time, from −3 to 3",
  manifold: "The plane of codes, decoded at quantiles of N(0, I)",
};

function vae() {
  const v = DATA.vae;
  if (!v.train) return fill("vae");
  const sheets = Object.keys(v.pictures).toSorted((a, b) => order(a) - order(b));
  return fill(
    "vae",
    h("div", { class: "pair" }, v.curve.epoch && vaeCurve(v), v.test.n && vaeJudged(v.test)),
    v.test.n && vaeFigures(v),
    h(
      "div",
      { class: "gallery" },
      sheets.map((name) =>
        figure(
          plate(v.pictures[name], `${VAE_PICTURES[name] || name}, as a sheet of small pictures`),
          `${VAE_PICTURES[name] || name}. Seed ${v.train.seed}.`,
        ),
      ),
    ),
  );
}

function vaeCurve({ curve, train, timing }) {
  const one = (part, title, faint) =>
    curve[`${part}_loss`] && {
      name: part,
      title,
      faint,
      colour: DATA.colours[7],
      marker: "o",
      dash: "",
      x: curve.epoch,
      y: curve[`${part}_loss`],
    };
  const chart = lineChart(
    () => ({
      ylabel: "nats a picture",
      log: false,
      yformat: short,
      series: [one("train", "training", true), one("validation", "validation", false)].filter(Boolean),
    }),
    {
      label: `The VAE's loss falls to ${short((curve.validation_loss || curve.train_loss).at(-1))} nats a picture`,
      xlabel: "epochs",
      xformat: short,
    },
  );
  return figure(
    chart.box,
    `The VAE's loss, reconstruction + weighted KL: validation marked, training thin. One run (n = 1), seed ${train.seed}, ${whole(train.parameters)} parameters${timing.train_seconds ? `, ${seconds(timing.train_seconds)} on ${timing.device}` : ""}.`,
  );
}

function vaeFigures({ test: t, z_dim: dimensions }) {
  const rows = [
    [
      "reconstruction + KL",
      `${fixed(t.reconstruction, 1)} + ${fixed(t.kl, 1)} = ${fixed(t.negative_elbo, 1)}`,
      "nats a picture: the negative evidence lower bound",
    ],
    "mixture_kl" in t && [
      "the same with the fitted mixture for a prior",
      `${fixed(t.reconstruction, 1)} + ${fixed(t.mixture_kl, 1)} = ${fixed(t.mixture_negative_elbo, 1)}`,
      "nats a picture",
    ],
    "floor" in t && [
      "over the floor",
      fixed(t.negative_elbo_over_floor, 1),
      `nats over the least that this likelihood can reach, ${fixed(t.floor, 1)}`,
    ],
    [
      "importance-weighted bound",
      fixed(t.importance_weighted_bound, 1),
      `nats, ${t.importance_weighted_draws} draws, n = ${whole(t.importance_weighted_n)}`,
    ],
    ["active units", `${t.active_units} of ${dimensions}`, "dimensions whose mean varies over the data"],
    ["mean squared error", short(t.mse), `${fixed(t.psnr_db, 1)} dB`],
    "neighbour_accuracy" in t && [
      "neighbours' accuracy on codes",
      percent(t.neighbour_accuracy),
      "10 nearest training codes",
    ],
  ];
  return tabled(
    table(
      "Figures of the VAE",
      [["figure"], ["value", "n"], ["", "t"]],
      rows.filter(Boolean).map((cells) => ({ cells })),
    ),
    `The VAE in figures: ${settings.vae_title}, n = ${whole(t.n)} test pictures unless another n is named, seed ${t.seed}.`,
  );
}

const JUDGED = {
  test_pictures: "test pictures",
  reconstructions: "reconstructions",
  class_samples: "classes' Gaussians",
  mixture_samples: "fitted mixture",
  samples: "prior N(0, I)",
};

function vaeJudged(t) {
  const rows = Object.entries(JUDGED)
    .filter(([key]) => `mynet_frechet_${key}` in t)
    .map(([key, name]) => ({
      cells: [
        name,
        fixed(t[`mynet_frechet_${key}`], 1),
        percent(t[`mynet_${key}_confident`]),
        percent(t[`mynet_${key}_rarest_class`]),
      ],
    }));
  return (
    rows.length > 0 &&
    tabled(
      table(
        "What a classifier makes of the VAE's pictures",
        [["pictures"], ["Fréchet distance", "n"], ["sure", "n"], ["rarest class", "n"]],
        rows,
      ),
      `What MyNet makes of test pictures, of their reconstructions, and of samples of three densities: the Fréchet distance in the features of its first fully connected layer (n = ${whole(t.mynet_frechet_n)} of each, against as many training pictures; no FID, it compares with nothing but itself), the share of n = ${whole(t.mynet_test_pictures_n)} that it is sure of (confidence over 0.8), and the share of the class it sees least.`,
    )
  );
}

const order = (name) => (name in VAE_PICTURES ? Object.keys(VAE_PICTURES).indexOf(name) : 99);

function powerOfTen(value) {
  const [digits, power] = value.toExponential(0).split("e");
  return [`${digits} × 10`, h("sup", {}, minus(power.replace("+", "")))];
}

function onnx() {
  const found = networks.filter((n) => n.export.onnx_bytes);
  if (!found.length) return fill("onnx", note("There are no exported files to tell of."));
  fill(
    "onnx",
    tabled(
      table(
        "The exported files",
        [
          ["network"],
          ["float32", "n"],
          ["int8", "n"],
          ["smaller", "n"],
          ["float32 accuracy", "n"],
          ["int8 accuracy", "n"],
          ["both agree", "n"],
          ["largest difference from torch", "n"],
          ["float32, one picture", "n"],
          ["int8, one picture", "n"],
        ],
        found.map((n) => ({
          cells: [
            n.title,
            megabytes(n.export.onnx_bytes),
            megabytes(n.export.int8_bytes),
            `${fixed(n.export.onnx_bytes / n.export.int8_bytes, 1)} ×`,
            or(n.test.accuracy, (v) => percent(v, 2)),
            or(n.test.int8_accuracy, (v) => percent(v, 2)),
            or(n.test.int8_agreement, percent),
            or(n.export.parity_largest_difference, powerOfTen),
            or(n.export_timing.milliseconds_batch_1, (v) => `${whole(1000 * v)} µs`),
            or(n.export_timing.int8_milliseconds_batch_1, (v) => `${whole(1000 * v)} µs`),
          ],
        })),
      ),
      `The files in models/: one input of uint8 pixels, logits out. Accuracy on ${whole(dataset.n_test)} test pictures; difference in logits over the validation pictures; times of this run's machine, onnxruntime, batch 1.`,
    ),
  );
  return fillMore("onnx", benchmarks(found));
}

const ENGINES = {
  eager: "torch",
  compile: "torch.compile",
  onnxruntime: "onnxruntime",
  "onnxruntime int8": "and int8",
};

function benchmarks(found) {
  const measured = found.filter((n) => Object.keys(n.speed).length),
    { machine, torch, onnxruntime } = DATA.benchmark;
  if (!measured.length)
    return note(
      "No benchmark of these networks: benchmarks/results/inference.json is missing, or is of networks of other sizes.",
    );
  const row = (n, key, best) => {
    const values = Object.keys(ENGINES).map((engine) => n.speed[engine] && n.speed[engine][key]),
      top = best(...values.filter(Boolean));
    return { cells: [n.title, ...values.map((v) => (v ? h(v === top ? "b" : "span", {}, whole(v)) : "–"))] };
  };
  const heads = [["network"], ...Object.values(ENGINES).map((name) => [name, "n"])];
  const where = [machine, torch && `torch ${torch}`, onnxruntime && `onnxruntime ${onnxruntime}`]
    .filter(Boolean)
    .join(", ");
  return h(
    "div",
    { class: "pair" },
    tabled(
      table(
        "Microseconds for one picture",
        heads,
        measured.map((n) => row(n, "p50_microseconds", Math.min)),
      ),
      `Microseconds for one picture, the median; the quickest in bold. Each engine at its best number of threads; ${where}.`,
    ),
    tabled(
      table(
        "Pictures a second",
        heads,
        measured.map((n) => row(n, "pictures_per_second", Math.max)),
      ),
      "Pictures a second in batches of 256; the most in bold. The same benchmark, benchmarks/inference.py.",
    ),
  );
}

/** Mark in the contents the section that is being read. */
function following() {
  const links = new Map([...document.querySelectorAll("#toc a")].map((a) => [a.getAttribute("href").slice(1), a]));
  const seen = new IntersectionObserver(
    (entries) =>
      entries
        .filter((e) => e.isIntersecting)
        .forEach((e) => {
          links.forEach((a, id) =>
            id === e.target.id ? a.setAttribute("aria-current", "true") : a.removeAttribute("aria-current"),
          );
        }),
    { rootMargin: "-20% 0px -70% 0px" },
  );
  document.querySelectorAll("main > section").forEach((section) => seen.observe(section));
}

theme();
contents();
masthead();
[run, size, curves, confusion, mistakes, features, embeddings, ablation, reportedSection, vae, onnx].forEach(
  (section) => section(),
);
following();
document.documentElement.dataset.ready = String(Math.round(performance.now()));
