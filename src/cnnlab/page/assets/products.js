// What the run produced: the variational autoencoder and the exported files.

const VAE_PICTURES = {
  reconstructions: "Test pictures, and below each what its code decodes to",
  mixture_samples: "Samples from the mixture of Gaussians that was fitted to the codes, class by class where there are classes",
  samples: "Samples from the prior",
  class_samples: "Samples of each class, from the Gaussian that was fitted to its codes",
  interpolation_prior: "From one sample of the prior to another, along a straight line and along the great circle",
  interpolation_between: "From the code of a test picture of one class to that of another class",
  interpolation_within: "From the code of a test picture to that of another one of the same class",
  interpolation_means: "From the mean code of one class to that of another",
  interpolation_pictures: "From the code of one test picture to that of another",
  traversal: "Each row changes one dimension of a test picture's code from −3 to 3",
  manifold: "The plane of codes, decoded at quantiles of N(0, I)",
};

function vae() {
  const v = DATA.vae;
  if (!v.train) return fill("vae", notYet());
  const sheets = Object.keys(v.pictures).toSorted((a, b) => order(a) - order(b));
  return fill(
    "vae",
    prose(
      `A variational autoencoder (VAE) has two networks. The encoder turns a picture into a code of ${v.z_dim} numbers; the decoder turns a code into a picture. Decoding random codes gives new pictures.`,
    ),
    term(
      "The loss",
      "of a VAE is how badly it reconstructs a picture plus the KL divergence, which measures how far the code departs from the prior. It is in nats; lower is better. " +
        ("floor" in v.test
          ? "Here the reconstruction is a cross-entropy of grey values, as in the report. Grey values have no probability under it, so the loss is not evidence for a model and compares with no published figure."
          : "Here it is the negative evidence lower bound (ELBO)."),
    ),
    sampler(),
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
    `The VAE's loss, reconstruction + weighted KL; lower is better. The line with a marker is validation, the thin one training. One run (n = 1), seed ${train.seed}, ${whole(train.parameters)} parameters${timing.train_seconds ? `, ${seconds(timing.train_seconds)} on ${timing.device}` : ""}.`,
  );
}

function vaeFigures({ test: t, z_dim: dimensions }) {
  const rows = [
    [
      "reconstruction + KL",
      `${fixed(t.reconstruction, 1)} + ${fixed(t.kl, 1)} = ${fixed(t.loss, 1)}`,
      "floor" in t ? "nats a picture: cross-entropy + KL" : "nats a picture: the negative ELBO",
    ],
    "mixture_kl" in t && [
      "the same, with the fitted mixture as prior",
      `${fixed(t.reconstruction, 1)} + ${fixed(t.mixture_kl, 1)} = ${fixed(t.mixture_loss, 1)}`,
      dataset.class_names.length > 1
        ? "nats a picture; the mixture was fitted class by class, so it knows the labels, and the prior does not"
        : "nats a picture",
    ],
    "floor" in t && [
      "above the floor",
      fixed(t.loss_over_floor, 1),
      `nats above the lowest value that this likelihood can reach, ${fixed(t.floor, 1)}`,
    ],
    [
      "importance-weighted loss",
      fixed(t.importance_weighted_loss, 1),
      `nats, tighter: ${whole(t.importance_weighted_draws)} draws, n = ${whole(t.importance_weighted_n)}; with one draw these pictures have ${fixed(t.importance_weighted_plain_loss, 1)}`,
    ],
    ["active units", `${t.active_units} of ${dimensions}`, "dimensions of the code that the VAE uses"],
    ["mean squared error", short(t.mse), `${fixed(t.psnr_db, 1)} dB`],
    "neighbour_accuracy" in t && [
      "accuracy of neighbours",
      percent(t.neighbour_accuracy),
      "class by a vote of the 10 nearest training codes",
    ],
  ];
  return tabled(
    table(
      "Figures of the VAE",
      [["figure"], ["value", "n"], ["", "t"]],
      rows.filter(Boolean).map((cells) => ({ cells })),
    ),
    `The VAE in figures: ${settings.vae_title}, n = ${whole(t.n)} test pictures unless the row says otherwise, seed ${t.seed}.`,
  );
}

const JUDGED = {
  test_pictures: "test pictures",
  reconstructions: "reconstructions",
  class_samples: "samples of each class",
  mixture_samples: "samples of the mixture, fitted class by class",
  samples: "samples of the prior",
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
        "How a classifier judges the VAE's pictures",
        [["pictures"], ["Fréchet distance", "n"], ["confident", "n"], ["rarest class", "n"]],
        rows,
      ),
      `How MyNet judges test pictures, reconstructions and samples. A smaller Fréchet distance means closer to the training pictures; it is measured on MyNet's first fully connected layer (n = ${whole(t.mynet_frechet_n)} of each), so do not compare it with a published FID. Confident: the share of n = ${whole(t.mynet_test_pictures_n)} with a confidence above 0.8. Rarest class: the share of the class that it answers least. The mixture was fitted with the class labels, so that it has each class is nearly given by construction; the prior never saw a label.`,
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
  if (!found.length) return fill("onnx", notYet());
  fill(
    "onnx",
    tabled(
      table(
        "The exported files",
        [
          ["network"],
          ["size, float32", "n"],
          ["size, int8", "n"],
          ["accuracy, float32", "n"],
          ["accuracy, int8", "n"],
          ["largest difference from torch", "n"],
          ["time, float32", "n"],
          ["time, int8", "n"],
        ],
        found.map((n) => ({
          cells: [
            n.title,
            megabytes(n.export.onnx_bytes),
            [
              megabytes(n.export.int8_bytes),
              h("small", {}, `${fixed(n.export.onnx_bytes / n.export.int8_bytes, 1)} × smaller`),
            ],
            or(n.test.accuracy, (v) => percent(v, 2)),
            or(n.test.int8_accuracy, (v) => [
              percent(v, 2),
              n.test.int8_agreement && h("small", {}, `${percent(n.test.int8_agreement)} same answers`),
            ]),
            or(n.export.parity_largest_difference, powerOfTen),
            or(n.export_timing.milliseconds_batch_1, (v) => `${whole(1000 * v)} µs`),
            or(n.export_timing.int8_milliseconds_batch_1, (v) => `${whole(1000 * v)} µs`),
          ],
        })),
      ),
      `The files in models/. Each takes uint8 pixels and gives logits. int8 is smaller, but not faster everywhere: compare the two times. Accuracy on ${whole(dataset.n_test)} test pictures; difference in logits over the validation pictures; time for one picture with onnxruntime on the machine of this run.`,
    ),
  );
  return fill("onnx", benchmarks(found));
}

const ENGINES = {
  eager: "torch",
  compile: "torch.compile",
  onnxruntime: "onnxruntime",
  "onnxruntime int8": "onnxruntime, int8",
};

function benchmarks(found) {
  const measured = found.filter((n) => Object.keys(n.speed).length),
    { machine, torch, onnxruntime } = DATA.benchmark;
  if (!measured.length)
    return note(
      "benchmarks/results/inference.json holds no benchmark of these networks.",
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
  return [
    tabled(
      table(
        "Microseconds for one picture",
        heads,
        measured.map((n) => row(n, "p50_microseconds", Math.min)),
      ),
      `Median time for one picture in microseconds; the fastest is bold. Each engine with its best number of threads; ${where}.`,
    ),
    tabled(
      table(
        "Pictures a second",
        heads,
        measured.map((n) => row(n, "pictures_per_second", Math.max)),
      ),
      "Pictures a second in batches of 256; the highest is bold. From benchmarks/inference.py, as the other table.",
    ),
  ];
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
[live, studySection, reportedSection, run, size, curves, confusion, mistakes, features, embeddings, ablation, vae, onnx].forEach(
  (section) => section(),
);
following();
document.documentElement.dataset.ready = String(Math.round(performance.now()));
