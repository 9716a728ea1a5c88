// The study: the reports' claims with their verdicts, the long runs, and their curves. It does not depend on the own run.

const VERDICTS = ["holds", "refuted", "open", "not run"];
const CURVES = [
  ["test_accuracy", "test accuracy"],
  ["train_accuracy", "training accuracy"],
  ["test_loss", "test loss"],
  ["train_loss", "training loss"],
];

function studySection() {
  if (!DATA.study) return;
  const { claims, refused } = DATA.study,
    made = DATA.study.runs.filter((r) => r.n),
    counted = VERDICTS.map((v) => [v, claims.filter((c) => c.verdict === v).length]).filter(([, count]) => count);
  fill(
    "study",
    prose(
      `The 14 claims of the two reports have ${claims.length} parts that can be tested. This section tests them on Fashion-MNIST, by long runs with report B's recipe and, for the two about speed, by a measurement. `,
      "It is the same on every page: your own settings do not change it. The sections from ",
      h("a", { href: "#run" }, "“Your own run”"),
      " on show what your settings gave.",
    ),
    prose(
      "So far: ",
      listed(counted.map(([verdict, count]) => `${count} ${verdict === "holds" && count > 1 ? "hold" : verdict}`)),
      `. ${made.length} of ${DATA.study.runs.length} planned runs have records.`,
    ),
    refused.length > 0 && note(h("b", {}, "Some records are left out. "), refused.join(" ")),
    tabled(
      table(
        "The reports' claims",
        [["claim"], ["verdict"], ["figures of our runs"], ["rule"], ["p, corrected", "n"]],
        claims.map((claim) => ({
          cells: [
            [claim.text, h("small", {}, `report ${claim.source.replace(/(?<=^.)(?=\d+$)/, ", claim ")}`)],
            [h("b", { class: `verdict ${claim.verdict.replace(" ", "-")}` }, claim.verdict), h("small", {}, claim.closes || "")],
            claim.figures.map((line) => h("p", {}, line)),
            claim.rule,
            claim.figures.length && claim.side ? [pvalue(claim.p), h("small", {}, claim.side)] : "–",
          ],
        })),
        "wordy",
      ),
      "A claim holds if the interval lies beyond the threshold; it is refuted if the interval lies on the other side or passes the threshold by less than a margin, half a point for differences of accuracy; otherwise it is open, and the line below says what is missing. Differences of accuracy are in percentage points, of the mean over the last five epochs, with 95 % intervals over seeds. p is that for or against the claim, whichever is smaller, corrected for all claims (Holm) and for the planned looks (Bonferroni); it decides. Speeds are one measurement each and have no p. docs/findings.md explains the rules, and which runs had been seen before they were fixed.",
    ),
    made.length > 0 && studyCurves(),
    studyRuns(),
  );
}

function studyCurves() {
  const drawn = DATA.study.curves.map((each, place) => ({
    ...each,
    colour: DATA.colours[place % DATA.colours.length],
    marker: DATA.markers[place % DATA.markers.length],
  }));
  const families = [
    ["lenet", "LeNet and its variants", (r) => r.network === "lenet" && !r.run.includes("@") && r.recipe === "plain"],
    ["rates", "LeNet by rate", (r) => r.run.includes("@")],
    ["others", "other networks", (r) => r.network !== "lenet" && r.recipe === "plain"],
    ["modern", "recipe modern", (r) => r.recipe === "modern"],
  ].map(([name, title, belongs]) => [name, title, drawn.filter((d) => belongs(DATA.study.runs.find((r) => r.run === d.run)))]);
  const there = families.filter(([, , found]) => found.length),
    state = { family: there[0][0], figure: "test_accuracy" };
  const chosen = () => there.find(([name]) => name === state.family)[2];
  const legend = h("div", { class: "legend" });
  const chart = lineChart(
    () => ({
      series: chosen()
        .filter((d) => d.curve[state.figure])
        .map((d, place) => ({
          name: d.run,
          title: d.run,
          colour: d.colour,
          marker: d.marker,
          x: d.curve.epoch,
          y: d.curve[state.figure],
          dash: DASHES[place % DASHES.length],
        })),
      ylabel: CURVES.find(([name]) => name === state.figure)[1],
      log: false,
      yformat: state.figure.endsWith("accuracy") ? percentTick : short,
    }),
    {
      label:
        "Curves of the long runs: " +
        drawn.map((d) => `${d.run} ends at ${percent(d.curve.test_accuracy.at(-1))}`).join(", "),
      xlabel: "epochs",
      xformat: short,
    },
  );
  const redraw = () => {
    legend.replaceChildren(
      ...chosen().map((d, place) =>
        seriesKey(d, place, `${d.run} (n = ${d.n})`),
      ),
    );
    chart.redraw();
  };
  redraw();
  const pick = (key, legendText, options) =>
    picker(legendText, options, state[key], (value) => {
      state[key] = value;
      redraw();
    });
  return [
    h(
      "div",
      { class: "controls" },
      there.length > 1 && pick("family", "Runs", there.map(([name, title]) => [name, title])),
      pick("figure", "Figure", CURVES),
    ),
    legend,
    figure(
      chart.box,
      "Curves of the study's runs, each the mean over its seeds. The training figures are running means over an epoch, in training mode; the test figures are measured after each epoch. No choice is made by them.",
    ),
  ];
}

function studyRuns() {
  const spread = (values, format) => {
    if (!values) return "–";
    if (values.length < 3) return values.map(format).join(", ");
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const deviation = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / (values.length - 1));
    return `${format(mean)} ± ${format(deviation)}`;
  };
  const three = (value) => fixed(value, 3);
  const machines = [...new Set(DATA.study.runs.flatMap((r) => r.machines))];
  return tabled(
    table(
      "The runs of the study",
      [
        ["run"],
        ["seeds", "n"],
        ["training loss", "n"],
        ["training accuracy", "n"],
        ["the same, evaluated", "n"],
        ["test accuracy", "n"],
        ["last five epochs", "n"],
        ["pictures a second", "n"],
        ["seconds", "n"],
      ],
      DATA.study.runs.map((r) => ({
        cells: [
          [
            r.run,
            h(
              "small",
              {},
              [r.recipe, r.epochs && plural(r.epochs, "epoch"), r.rate && `rate ${short(r.rate)}`].filter(Boolean).join(", "),
            ),
          ],
          [`${r.n} of ${r.planned}`, !r.n && r.missing_seconds > 0 && h("small", {}, `about ${seconds(r.missing_seconds)}`)],
          spread(r.figures.train_loss, three),
          spread(r.figures.train_accuracy, three),
          spread(r.figures.evaluated_train_accuracy, three),
          spread(r.figures.test_accuracy, three),
          spread(r.figures.tail_test_accuracy, three),
          spread(r.figures.examples_per_second, whole),
          spread(r.figures.seconds, whole),
        ],
      })),
      "wordy",
    ),
    `Every run of the study, mean ± standard deviation over seeds; below three seeds, the values themselves. Training loss and accuracy are running means over the last epoch, as the reports have them; “evaluated” is the accuracy in evaluation mode at the end. A run without seeds shows what it would take. ${machines.length ? `Machines: ${machines.join("; ")}.` : ""} cnnlab study makes what is missing.`,
  );
}
