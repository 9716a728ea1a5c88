// The head of the page and its first sections: the run, accuracy against size and time, training curves.

const networks = DATA.networks,
  settings = DATA.settings,
  dataset = DATA.dataset;
const seedText = `seed ${settings.seed}`;
const datasetName = dataset.title;
const FIRST_LOOK =
  settings.budget === "full"
    ? null
    : h(
        "p",
        { class: "note" },
        h("b", {}, "A first look, not a finding. "),
        `Budget ${settings.budget} trains for a fraction of the length that the two reports used. Draw conclusions from budget full only.`,
      );

/** A value as text, or a dash where there is none. */
const or = (value, format) => (value === undefined || value === null ? "–" : format(value));

/** Add content to a section. */
const fill = (id, ...content) => document.getElementById(id).append(...content.flat(Infinity).filter(Boolean));

const described = (network) => network.test.accuracy !== undefined;
// Where classes are of unequal size, plain accuracy flatters who knows the largest: balanced accuracy comes first.
const unequal = new Set(DATA.classes.map((row) => row.test)).size > 1;
const ranked = unequal && networks.some((n) => "balanced_accuracy" in n.test) ? "balanced_accuracy" : "accuracy";
const best = networks.filter((n) => ranked in n.test).toSorted((a, b) => b.test[ranked] - a.test[ranked])[0];

function masthead() {
  const tested = networks.filter(described);
  document
    .getElementById("abstract")
    .append(
      `${listed(networks.map((n) => n.title)) || "No network"}, trained on the ${whole(dataset.n_train)} training pictures of ${datasetName} `,
      `(${plural(dataset.class_names.length, "class", "classes")}) with budget ${settings.budget} and recipe ${settings.recipe}, ${seedText}. `,
      `Each network was exported to ONNX and measured on ${whole(dataset.n_test)} test pictures. The code makes no choice by the test pictures.`,
    );
  const cells = [];
  if (best)
    cells.push([
      ranked === "accuracy" ? "best test accuracy" : "best balanced test accuracy",
      percent(best.test[ranked]),
      `${best.title}; ${ranked === "accuracy" ? "" : `accuracy ${percent(best.test.accuracy)}, `}95 % interval ${fixed(100 * best.test.accuracy_95_low, 1)} to ${percent(best.test.accuracy_95_high)}`,
    ]);
  const small = tested
    .filter((n) => n.export.int8_bytes)
    .toSorted((a, b) => a.export.int8_bytes - b.export.int8_bytes)[0];
  if (small)
    cells.push([
      "smallest file",
      megabytes(small.export.int8_bytes),
      `${small.title}, int8, at ${percent(small.test.int8_accuracy)}`,
    ]);
  const fast = tested
    .filter((n) => n.export_timing.milliseconds_batch_1)
    .toSorted((a, b) => a.export_timing.milliseconds_batch_1 - b.export_timing.milliseconds_batch_1)[0];
  if (fast)
    cells.push([
      "fastest answer",
      `${short(1000 * fast.export_timing.milliseconds_batch_1)} µs`,
      `${fast.title}, one picture on this run's machine`,
    ]);
  const times = networks.map((n) => n.timing.train_seconds).filter(Boolean);
  if (times.length)
    cells.push([
      "total training time",
      seconds(times.reduce((a, b) => a + b, 0)),
      `${plural(times.length, "network")} on ${networks.find((n) => n.timing.device).timing.device}`,
    ]);
  document
    .getElementById("glance")
    .append(
      ...cells.map(([name, value, detail]) =>
        h("div", {}, h("span", {}, name), h("b", {}, value), h("small", {}, detail)),
      ),
    );
}

function contents() {
  const toc = document.getElementById("toc");
  if (!DATA.study) for (const id of ["study", "reported"]) document.getElementById(id).remove();
  document.querySelectorAll("main > section").forEach((section, place) => {
    const heading = section.querySelector("h2");
    toc.append(h("li", {}, h("a", { href: "#" + section.id }, heading.textContent)));
    heading.prepend(h("span", { class: "number" }, String(place + 1)));
  });
  if (matchMedia("(max-width: 1080px)").matches) toc.parentElement.open = false;
}

function run() {
  const shape = [dataset.channels, dataset.height, dataset.width].join(" × ");
  fill(
    "run",
    h(
      "dl",
      { class: "facts" },
      [
        [
          "data set",
          `${datasetName}: ${whole(dataset.n_train)} training and ${whole(dataset.n_test)} test pictures, ${shape}`,
        ],
        ["source", `${dataset.source}; ${dataset.licence}`],
        [
          "classes",
          dataset.class_names.length > 40
            ? `${dataset.class_names.slice(0, 40).join(", ")} and ${dataset.class_names.length - 40} more`
            : dataset.class_names.join(", "),
        ],
        [
          "budget",
          settings.budget +
            (settings.budget === "full" ? "" : ": short training, so the networks do not reach their best accuracy"),
        ],
        [
          "recipe",
          settings.recipe === "modern"
            ? "modern: AdamW, or SGD with momentum, with a one-cycle learning rate; the weights of the best validation point are kept"
            : "plain: SGD with a constant learning rate; the weights of the last epoch are kept",
        ],
        [
          "held out",
          settings.recipe === "modern"
            ? "a part of the training pictures, with the same share of every class, is kept for validation; every choice is made on it"
            : "nothing: recipe plain trains on every training picture",
        ],
        ["seed", settings.seed],
      ].map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
    ),
  );
  if (DATA.not_run.length)
    fill("run", note(`${listed(DATA.not_run)}: not trained yet. `, h("code", {}, "dvc repro"), " trains what is missing."));
  const tables = [
    networks.length && networkTable(),
    "svm_accuracy" in DATA.baselines && baselineTable(),
    DATA.classes.length && classTable(),
  ];
  fill("run", ranked === "accuracy" ? tables : [...tables.slice(1), tables[0]]);
}

const BASELINES = [
  ["largest_class", (b) => `always ${b.largest_class}, the largest class`],
  ["neighbours", (b) => `${b.neighbours} nearest neighbours by pixels`],
  ["svm", (b) => `support vector machine on ${b.components} principal components`],
];

function baselineTable() {
  const found = DATA.baselines;
  const rows = [
    ...BASELINES.map(([key, title]) => [
      title(found),
      percent(found[`${key}_balanced_accuracy`]),
      percent(found[`${key}_accuracy`]),
    ]),
    ...networks
      .filter((n) => "balanced_accuracy" in n.test)
      .map((n) => [n.title, percent(n.test.balanced_accuracy), percent(n.test.accuracy)]),
  ];
  const silent = networks.filter((n) => n.test.classes_answered === 1);
  return tabled(
    [
      table(
        "Baselines and networks",
        [["classifier"], ["balanced accuracy", "n"], ["test accuracy", "n"]],
        rows.map((cells) => ({ cells })),
      ),
      silent.length
        ? note(`${listed(silent.map((n) => n.title))}: one class is the answer to every test picture, so nothing was learnt.`)
        : "",
    ],
    `What a network must beat. Balanced accuracy is the mean of the classes' recalls: classes of few pictures count as much as large ones. The baselines were fitted to ${whole(found.n_train)} training pictures.`,
  );
}

function classTable() {
  const shown = networks.filter((n) => n.confusion);
  return tabled(
    table(
      "Classes",
      [["class"], ["training pictures", "n"], ["test pictures", "n"], ...shown.map((n) => [n.title, "n"])],
      DATA.classes.map((row, index) => ({
        cells: [
          row.class,
          whole(Number(row.train)),
          whole(Number(row.test)),
          ...shown.map((n) => percent(n.confusion.recall[index])),
        ],
      })),
    ),
    "The classes: how many pictures each has, and each network's recall, the share of its test pictures that are answered right.",
  );
}

const NETWORK_COLUMNS = [
  ["network"],
  ["parameters", "n"],
  ["epochs", "n"],
  ["training pictures", "n"],
  ["training accuracy", "n"],
  ["validation accuracy", "n"],
  ["test accuracy", "n"],
  ["training time", "n"],
];

function networkTable() {
  const row = ({ title, train, test, timing }) => [
    title,
    whole(train.parameters),
    [short(train.epochs), h("small", {}, `best at ${short(train.best_epoch)}`)],
    whole(train.n_train),
    percent(train.train_accuracy),
    or(train.validation_accuracy, percent),
    or(test.accuracy, () => [
      percent(test.accuracy),
      h("small", {}, `${fixed(100 * test.accuracy_95_low, 1)} to ${fixed(100 * test.accuracy_95_high, 1)}`),
    ]),
    or(timing.train_seconds, seconds),
  ];
  return tabled(
    table(
      "The networks and their figures",
      NETWORK_COLUMNS,
      networks.map((n) => ({ className: n === best ? "best" : null, cells: row(n) })),
    ),
    `The networks. Test accuracy is that of the exported file on ${whole(dataset.n_test)} pictures, with Wilson's 95 % interval below it. One run each (n = 1), ${seedText}: the interval covers the choice of test pictures, not the spread over seeds.`,
  );
}

function size() {
  const tested = networks.filter(described);
  const dots = (x) =>
    tested
      .filter((n) => x(n))
      .map((n) => ({
        title: n.title,
        x: x(n),
        y: n.test.accuracy,
        low: n.test.accuracy_95_low,
        high: n.test.accuracy_95_high,
        colour: n.colour,
        marker: n.marker,
      }));
  const charts = [
    ["parameters", (n) => n.train.parameters, compact],
    ["multiply-adds a picture", (n) => n.export.multiply_adds, compact],
    ["seconds of training", (n) => n.timing.train_seconds, short],
  ]
    .map(([xlabel, x, xformat]) => [xlabel, dots(x), xformat])
    .filter(([, found]) => found.length)
    .map(([xlabel, found, xformat]) =>
      figure(
        dotChart(found, {
          label:
            `Test accuracy against ${xlabel}: ` +
            found.map((d) => `${d.title} ${percent(d.y)} at ${xformat(d.x)}`).join(", "),
          xlabel,
          ylabel: "test accuracy",
          xformat,
          yformat: percentTick,
        }).box,
        `Test accuracy against ${xlabel}. Higher is more accurate, further left is ${xlabel.startsWith("seconds") ? "faster" : "smaller"}; the bar through a dot is its 95 % interval. n = ${whole(dataset.n_test)} test pictures; one run each, ${seedText}.`,
      ),
    );
  if (!charts.length) return fill("size", notYet());
  return fill("size", h("div", { class: "pair three" }, charts));
}

function curves() {
  const drawn = networks.filter((n) => n.curve.epoch);
  if (!drawn.length) return fill("curves", notYet());
  const hidden = new Set(),
    state = {
      measure: "accuracy",
      part: "validation",
      log: Math.max(...drawn.map((n) => n.train.epochs)) > 4 * Math.min(...drawn.map((n) => n.train.epochs)),
    };
  const validated = drawn.some((n) => n.curve.validation_accuracy);
  if (!validated) state.part = "training";
  const one = (n, part, place, faint) =>
    n.curve[`${part}_${state.measure}`] && {
      name: n.name,
      title: n.title,
      colour: n.colour,
      marker: n.marker,
      faint,
      x: n.curve.epoch,
      y: n.curve[`${part}_${state.measure}`],
      dash: faint ? "" : DASHES[place % DASHES.length],
    };
  const parts = () =>
    [
      state.part === "both" && ["train", true],
      state.part === "training" ? ["train", false] : ["validation", false],
    ].filter(Boolean);
  const chart = lineChart(
    () => ({
      series: parts()
        .flatMap(([part, faint]) => drawn.map((n, place) => !hidden.has(n.name) && one(n, part, place, faint)))
        .filter(Boolean),
      ylabel: `${state.measure}${state.part === "both" ? "" : `, ${state.part}`}`,
      log: state.log,
      yformat: state.measure === "accuracy" ? percentTick : short,
    }),
    {
      label:
        "Training curves: " +
        drawn
          .map(
            (n) =>
              `${n.title} ends at ${percent((n.curve.validation_accuracy || n.curve.train_accuracy).at(-1))} after ${plural(n.train.epochs, "epoch")}`,
          )
          .join(", "),
      xlabel: "epochs",
      xformat: short,
    },
  );
  const toggles = h(
    "div",
    { class: "legend", role: "group", "aria-label": "Networks shown" },
    drawn.map((n, place) =>
      h(
        "label",
        { class: "chip" },
        h("input", {
          type: "checkbox",
          checked: true,
          "data-toggle": n.name,
          onchange: () => {
            if (!hidden.delete(n.name)) hidden.add(n.name);
            chart.redraw();
          },
        }),
        seriesKey(n, place, n.title),
      ),
    ),
  );
  return fill(
    "curves",
    h(
      "div",
      { class: "controls" },
      picker(
        "Measure",
        [
          ["accuracy", "accuracy"],
          ["loss", "loss"],
        ],
        state.measure,
        (v) => {
          state.measure = v;
          chart.redraw();
        },
      ),
      validated &&
        picker(
          "Pictures",
          [
            ["validation", "validation"],
            ["training", "training"],
            ["both", "both"],
          ],
          state.part,
          (v) => {
            state.part = v;
            chart.redraw();
          },
        ),
      picker(
        "Epochs",
        [
          ["log", "logarithmic"],
          ["linear", "linear"],
        ],
        state.log ? "log" : "linear",
        (v) => {
          state.log = v === "log";
          chart.redraw();
        },
      ),
    ),
    figure(
      [toggles, chart.box],
      "A curve that still rises (or a loss that still falls) at its end would gain from longer training; a validation curve that turns back shows overfitting. " +
        (validated
          ? "Shown on the validation pictures; under “both” the training figures are the thin lines. "
          : "Training figures, since recipe plain holds nothing out. ") +
        `Training figures are running means in training mode. One run each (n = 1), ${seedText}; networks may train for different numbers of epochs.`,
    ),
  );
}
