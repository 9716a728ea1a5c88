// Comparisons: the ablation study, and the figures of the two reports next to ours.

/** Limits of an interval chart: all means and dots, and the ends of intervals up to three times as far. */
function limitsOf(rows, around) {
  const core = rows.flatMap((r) => [r.mean, ...(r.dots || [])]).concat(around),
    [low, high] = range(core, 0.08),
    room = high - low;
  return [
    Math.max(Math.min(low, ...rows.map((r) => r.low ?? r.mean)), low - room),
    Math.min(Math.max(high, ...rows.map((r) => r.high ?? r.mean)), high + room),
  ];
}

function ablation() {
  if (!DATA.ablation.length) return fill("ablation", notYet());
  fill(
    "ablation",
    prose(
      "An ablation study changes one part of a network at a time, trains each variant with several seeds, and asks whether the accuracy changes by more than chance.",
    ),
    FIRST_LOOK,
  );
  return DATA.ablation.forEach((group) => {
    const rates = [...new Set(group.rows.map((r) => r.rate))],
      place = h("div", { class: "shown" });
    const draw = (rate) => place.replaceChildren(...ablationOf(group, rate));
    draw(rates[0]);
    fill(
      "ablation",
      h("h3", {}, `${group.baseline} and its variants`),
      rates.length > 1 &&
        h(
          "div",
          { class: "controls" },
          picker(
            "Learning rate",
            rates.map((r) => [r, r === "usual" ? "the same for all" : "the best for each variant"]),
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
  const intervals = variants.some((r) => r.low !== null); // none below three seeds
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
          `Difference from ${group.baseline}, paired by seed. ` +
            (intervals
              ? "An interval that crosses the zero line shows no clear effect; one wholly to its right is a gain. Student's 95 % interval; an arrow marks an end outside the chart. "
              : "Dots alone: fewer than three seeds give no interval. ") +
            `${how}.`,
        ),
      figure(
        intervalChart(accuracies, {
          label: "Test accuracy: " + rows.map((r) => `${r.name} ${percent(r.test_accuracy)}`).join(", "),
          xlabel: "test accuracy",
          xformat: percentTick,
          limits: limitsOf(accuracies, []),
        }).box,
        `Test accuracy. The diamond is the mean, the bar is ± one standard deviation, and each small dot is one seed. ${how}.`,
      ),
    ),
    tabled(
      table(
        `The ablation of ${group.baseline}`,
        [
          ["variant"],
          ["learning rate", "n"],
          ["test accuracy", "n"],
          ["difference", "n"],
          ["p", "n"],
          ["p, Holm", "n"],
          ["p, McNemar", "n"],
          ["training − test", "n"],
          ["dead ReLUs", "n"],
        ],
        rows.map((r) => ({
          className: r.difference === null ? "best" : null,
          cells: [
            [r.name, h("small", {}, r.change || "baseline")],
            short(r.learning_rate),
            `${fixed(100 * r.test_accuracy, 1)} ± ${fixed(100 * r.std, 1)}`,
            r.difference === null
              ? "–"
              : [points(r.difference), r.low !== null && h("small", {}, `${points(r.low)} to ${points(r.high)}`)],
            pvalue(r.p),
            pvalue(r.p_holm),
            pvalue(r.mcnemar_p),
            points(r.gap),
            r.dead_relus === null ? "–" : percent(r.dead_relus, 0),
          ],
        })),
      ),
      `Accuracies in per cent; differences in percentage points, with the 95 % interval below; intervals and p need three seeds. p: paired t-test over seeds. Holm: p adjusted for testing ${plural(variants.length, "variant")}. McNemar: the first seed's network compared with the baseline's, picture by picture. A p below .05 would be rare by chance alone. Training − test is the accuracy on 5,000 pictures that trained the network (or all, if there are fewer) minus test accuracy. Dead ReLUs output zero for each of them. ${how}.`,
    ),
  ];
}

/** How busy the machine was while our runs were timed, by its load average. */
function busy(entries) {
  const loads = entries.map((e) => e.ours && e.ours.load && e.ours.load[0]).filter(Boolean);
  if (!loads.length) return "";
  return `On average ${fixed(Math.min(...loads), 1)} to ${fixed(Math.max(...loads), 1)} processes wanted that machine while it was timed (its load average): where that is more than its cores, the seconds are those of a busy machine.`;
}

const REPORTED = [
  ["train_loss", "training loss", (v) => fixed(v, 3)],
  ["train_accuracy", "training accuracy", (v) => fixed(v, 3)],
  ["test_accuracy", "test accuracy", (v) => fixed(v, 3)],
  ["examples_per_second", "examples a second", whole],
  ["seconds", "seconds", whole],
];

function reportedSection() {
  if (!DATA.reported.length) return;
  const mean = (summary, key, format) =>
    !summary || !summary[key]
      ? null
      : summary[key][1] === null
        ? format(summary[key][0])
        : `${format(summary[key][0])} ± ${format(summary[key][1])}`;
  const printed = (values) =>
    values && (values.map((v) => (v.includes(".") ? v : whole(Number(v)))).join(" to ") || "not legible");
  const cell = (above, below) => [
    above && h("span", { class: "theirs" }, above),
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
          entry.ours &&
            h("small", {}, entry.ours.run ? `n = ${entry.ours.n}, ${plural(entry.ours.epochs, "epoch")}` : "not run"),
        ],
        ...REPORTED.map(([key, , format]) => cell(printed(entry.reported[key]), mean(entry.ours, key, format))),
        modern(entry),
      ],
    });
  }
  const devices = [...new Set(DATA.reported.flatMap((e) => [e.ours, e.modern]).flatMap((r) => (r && r.devices) || []))];
  fill(
    "reported",
    prose(
      "In each cell the upper figure is the one that a report or paper printed. The lower one, in colour, is ours with the same recipe: mean ± standard deviation over n seeds, after the last epoch. What the reports call validation is the test set, so it is compared with our test accuracy. The last column is the test accuracy of the same network with recipe modern.",
    ),
    tabled(
      table(
        "Reported and reproduced figures",
        [["run"], ["epochs", "n"], ...REPORTED.map(([, name]) => [name, "n"]), ["modern recipe", "n"]],
        rows,
        "wordy",
      ),
      `Reported and reproduced figures on Fashion-MNIST, from the study. They do not depend on your own run. Examples a second are those of the training steps alone; seconds include the measurements after each epoch. ${devices.length ? `Ours ran on ${devices.join("; ")}. ${busy(DATA.reported)}` : "None of these runs is in study/ yet."}`,
    ),
  );
}
