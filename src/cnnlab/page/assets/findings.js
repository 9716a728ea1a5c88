// Comparisons: the ablation, and what the reports tell beside what we found.

/** Limits of an interval chart: all means and dots, and the ends of intervals up to three times as far. */
function limitsOf(rows, around) {
  const core = rows.flatMap((r) => [r.mean, ...(r.dots || [])]).concat(around),
    [low, high] = range(core, 0.08),
    room = high - low;
  return [
    Math.max(Math.min(low, ...rows.map((r) => r.low)), low - room),
    Math.min(Math.max(high, ...rows.map((r) => r.high)), high + room),
  ];
}

function ablation() {
  if (!DATA.ablation.length) return fill("ablation", note("There is no ablation to show."));
  fill("ablation", FIRST_LOOK);
  return DATA.ablation.forEach((group) => {
    const rates = [...new Set(group.rows.map((r) => r.rate))],
      place = h("div", { class: "shown" });
    const draw = (rate) => place.replaceChildren(...ablationOf(group, rate));
    draw(rates[0]);
    fillMore(
      "ablation",
      h("h3", {}, `${group.baseline} and its variants`),
      rates.length > 1 &&
        h(
          "div",
          { class: "controls" },
          picker(
            "Learning rate",
            rates.map((r) => [r, r === "usual" ? "the usual one" : "each variant's own best"]),
            rates[0],
            draw,
          ),
        ),
      place,
    );
  });
}

function ablationOf(group, rate) {
  const rows = group.rows.filter((r) => r.rate === rate),
    variants = rows.filter((r) => r.difference !== null),
    n = rows[0].n;
  const how = `Budget ${group.budget}, recipe ${group.recipe}, ${plural(group.epochs, "epoch")}, n = ${n} seeds, ${whole(group.n_test)} test pictures`;
  const accuracies = rows.map((r) => ({
    title: r.name,
    mean: r.test_accuracy,
    low: r.test_accuracy - r.std,
    high: r.test_accuracy + r.std,
    dots: r.seeds,
  }));
  const differences = variants.map((r) => ({
    title: r.name,
    detail: r.change,
    mean: r.difference,
    low: r.low,
    high: r.high,
  }));
  const start = rows
    .filter((r) => r.difference === null)
    .map((r) => ({ title: r.name, detail: "baseline", mean: null }));
  return [
    h(
      "div",
      { class: "pair" },
      differences.length > 0 &&
        figure(
          intervalChart([...start, ...differences], {
            label:
              `Difference in test accuracy from ${group.baseline}: ` +
              variants.map((r) => `${r.name} ${points(r.difference)} points`).join(", "),
            xlabel: `points of test accuracy against ${group.baseline}`,
            xformat: (v) => (v > 0 ? "+" : "") + short(100 * v),
            zero: 0,
            limits: limitsOf(differences, [0]),
          }).box,
          `Difference from ${group.baseline}, paired by seed, with Student's 95 % interval; an arrow marks an end beyond the frame. ${how}.`,
        ),
      figure(
        intervalChart(accuracies, {
          label: "Test accuracy: " + rows.map((r) => `${r.name} ${percent(r.test_accuracy)}`).join(", "),
          xlabel: "test accuracy",
          xformat: percentTick,
          limits: limitsOf(accuracies, []),
        }).box,
        `Test accuracy: mean (diamond) ± one standard deviation, and below it each seed. ${how}.`,
      ),
    ),
    tabled(
      table(
        `The ablation of ${group.baseline}`,
        [
          ["variant"],
          ["change", "t"],
          ["rate", "n"],
          ["test accuracy", "n"],
          ["difference", "n"],
          ["95 % interval", "n"],
          ["p", "n"],
          ["p, Holm", "n"],
          ["p, McNemar", "n"],
          ["training − test", "n"],
          ["dead ReLUs", "n"],
        ],
        rows.map((r) => ({
          className: r.difference === null ? "best" : null,
          cells: [
            r.name,
            r.change || "baseline",
            short(r.learning_rate),
            `${fixed(100 * r.test_accuracy, 1)} ± ${fixed(100 * r.std, 1)}`,
            r.difference === null ? "–" : points(r.difference),
            r.difference === null ? "–" : `${points(r.low)} to ${points(r.high)}`,
            pvalue(r.p),
            pvalue(r.p_holm),
            pvalue(r.mcnemar_p),
            points(r.gap),
            r.dead_relus === null ? "–" : percent(r.dead_relus, 0),
          ],
        })),
      ),
      `Accuracies in per cent, differences in points. p: paired t-test over seeds; Holm: adjusted for the ${plural(variants.length, "variant")}; McNemar: the first seed's network against the baseline's, picture by picture. ${how}.`,
    ),
  ];
}

const REPORTED = [
  ["train_loss", "training loss", (v) => fixed(v, 3)],
  ["train_accuracy", "training accuracy", (v) => fixed(v, 3)],
  ["test_accuracy", "test accuracy", (v) => fixed(v, 3)],
  ["examples_per_second", "examples a second", whole],
  ["train_seconds", "seconds", whole],
];

function reportedSection() {
  const mean = (summary, key, format) =>
    !summary || !summary[key]
      ? null
      : summary[key][1] === null
        ? format(summary[key][0])
        : `${format(summary[key][0])} ± ${format(summary[key][1])}`;
  const told = (values) =>
    values && (values.map((v) => (v.includes(".") ? v : whole(Number(v)))).join(" to ") || "not legible");
  const cell = (above, below) => [
    above && h("span", { class: "told" }, above),
    below && h("span", { class: "ours" }, below),
  ];
  const modern = ({ modern: m }) =>
    !m
      ? "–"
      : m.run
        ? [mean(m, "test_accuracy", (v) => fixed(v, 3)), h("small", {}, `${plural(m.epochs, "epoch")}, n = ${m.n}`)]
        : h("small", {}, "not run");
  const rows = [];
  let source = null;
  for (const entry of DATA.reported) {
    if (entry.source !== source) rows.push({ heading: (source = entry.source)[0].toUpperCase() + source.slice(1) });
    rows.push({
      cells: [
        [entry.title, entry.note && h("small", {}, entry.note)],
        [
          entry.epochs === null ? "–" : whole(entry.epochs),
          entry.ours && h("small", {}, entry.ours.run ? `n = ${entry.ours.n}` : "not run"),
        ],
        ...REPORTED.map(([key, , format]) => cell(told(entry.reported[key]), mean(entry.ours, key, format))),
        modern(entry),
      ],
    });
  }
  const devices = [...new Set(DATA.reported.flatMap((e) => [e.ours, e.modern]).flatMap((r) => (r && r.devices) || []))];
  fill(
    "reported",
    prose(
      "The upper figure is the reported one, as printed; the lower ours, by the same recipe and for as many epochs: mean ± standard deviation over n seeds. What the reports call validation is the test set, so it stands beside our test accuracy. The last column is the test accuracy of the same network by the modern recipe.",
    ),
    tabled(
      table(
        "Reported against reproduced",
        [["run"], ["epochs; ours", "n"], ...REPORTED.map(([, name]) => [name, "n"]), ["modern recipe", "n"]],
        rows,
        "wordy",
      ),
      `Reported and reproduced: Fashion-MNIST at full scale, whatever this page's own data set and budget. ${devices.length ? `Ours ran on ${devices.join("; ")}, beside other work: speeds compare with no other machine's.` : "No run of ours is recorded in benchmarks/results/full_scale.json."}`,
    ),
  );
}
