// One network at a time: confusion matrix, mistakes, feature maps, maps of inner layers.

/** A section that shows one network at a time: show(network) gives its content. */
function byNetwork(id, found, show, intro = null) {
  if (!found.length) return fill(id, notYet());
  const place = h("div", { class: "shown" }),
    draw = (name) => place.replaceChildren(...[show(found.find((n) => n.name === name))].flat(Infinity));
  const first = found.includes(best) ? best : found[0];
  draw(first.name);
  return fill(
    id,
    intro,
    h(
      "div",
      { class: "controls" },
      picker(
        "Network",
        found.map((n) => [n.name, n.title]),
        first.name,
        draw,
      ),
    ),
    place,
  );
}

const MOST_CLASSES = 20;

function confusion() {
  byNetwork(
    "confusion",
    networks.filter((n) => n.confusion),
    (n) => {
      const { counts, precision, recall, f1 } = n.confusion,
        names = dataset.class_names;
      const order = names.map((_, c) => c),
        shown =
          names.length > MOST_CLASSES
            ? order
                .toSorted((a, b) => f1[a] - f1[b])
                .slice(0, MOST_CLASSES)
                .toSorted((a, b) => a - b)
            : order;
      const totals = counts.map((row) => row.reduce((a, b) => a + b, 0));
      const share = (a, p) => counts[a][p] / Math.max(1, totals[a]);
      const matrix = h(
        "div",
        { class: "scroll", tabindex: 0, role: "region", "aria-label": "Confusion matrix" },
        h(
          "table",
          { class: "matrix" },
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              h("th", { scope: "col" }, "actual ↓ answered →"),
              shown.map((p) => h("th", { scope: "col", title: names[p] }, h("span", {}, names[p]))),
            ),
          ),
          h(
            "tbody",
            {},
            shown.map((a) =>
              h(
                "tr",
                {},
                h("th", { scope: "row", title: names[a] }, names[a]),
                shown.map((p) =>
                  h(
                    "td",
                    {
                      class:
                        (a === p ? "right" : "wrong") +
                        (share(a, p) > 0.55 ? " strong" : "") +
                        (counts[a][p] ? "" : " none"),
                      style: { "--share": `${(100 * (a === p ? share(a, p) : Math.sqrt(share(a, p)))).toFixed(0)}%` },
                      title: `${names[a]} classified as ${names[p]}: ${counts[a][p]} of ${totals[a]}`,
                    },
                    counts[a][p],
                  ),
                ),
              ),
            ),
          ),
        ),
      );
      const pairs = order
        .flatMap((a) => order.filter((p) => p !== a && counts[a][p]).map((p) => [a, p, counts[a][p]]))
        .toSorted((x, y) => y[2] - x[2])
        .slice(0, 6);
      return h(
        "div",
        { class: "beside" },
        figure(
          matrix,
          `${n.title}: each row is a true class, each column an answer; correct answers are on the diagonal. ${whole(dataset.n_test)} test pictures, ${seedText}` +
            (shown.length < names.length ? `; the ${MOST_CLASSES} classes with the lowest F1 of ${names.length}.` : "."),
        ),
        h(
          "div",
          {},
          pairs.length
            ? [
                h("h3", {}, "Most frequent confusions"),
                h(
                  "ol",
                  { class: "ranked" },
                  pairs.map(([a, p, count]) =>
                    h("li", {}, h("b", {}, names[a]), " as ", names[p], h("span", {}, whole(count))),
                  ),
                ),
              ]
            : prose("Every answer is correct."),
          h(
            "details",
            {},
            h("summary", {}, "Precision, recall and F1 of each class"),
            table(
              "Figures of each class",
              [["class"], ["precision", "n"], ["recall", "n"], ["F1", "n"]],
              order.map((c) => ({ cells: [names[c], fixed(precision[c], 3), fixed(recall[c], 3), fixed(f1[c], 3)] })),
            ),
          ),
        ),
      );
    },
  );
}

function mistakes() {
  byNetwork(
    "mistakes",
    networks.filter((n) => n.mistakes),
    (n) =>
      figure(
        plate(
          n.mistakes,
          `The test pictures that ${n.title} got wrong with the highest confidence, each with its true and its predicted class`,
        ),
        `${n.title}: above each picture is its true class, then the answer and its probability; ask yourself which of them you would have got right. The most confident mistakes among ${whole(dataset.n_test)} test pictures, ${seedText}.`,
      ),
    !LIVE && calibration(),
  );
}

/** Said where probabilities first occur: in the live part, or with the mistakes. */
const calibration = () =>
  term(
    "Calibration",
    "makes probabilities honest: of the answers given with 80 %, about 80 % should be correct. The logits are divided by one number, the temperature, before the softmax. It is fitted on the validation pictures.",
  );

function features() {
  byNetwork(
    "features",
    networks.filter((n) => n.features.length),
    (n) =>
      n.features.map(({ layer, uri }) =>
        figure(
          plate(
            uri,
            layer === "filters"
              ? `The filters of the first convolution of ${n.title}`
              : `Channels of ${layer} of ${n.title} for one test picture of each class`,
          ),
          layer === "filters"
            ? `${n.title}: the filters of its first convolution. Each responds most to the pattern that it looks like.`
            : `${n.title}, tap ${layer}: a row is one test picture (the first of its class), a column one channel; where the colour is strong, the channel found its pattern. The channels that vary most, before the activation.`,
        ),
      ),
    term(
      "A tap",
      "is a named place inside a network. The file models/ARCH.features.onnx gives the values at every tap, so that you can look at them, store them or draw a map of them.",
    ),
  );
}

function embeddings() {
  const found = networks.filter((n) => DATA.maps.networks && DATA.maps.networks[n.name]);
  if (!found.length) return fill("maps", notYet());
  return fill(
    "maps",
    prose(
      "A layer describes each picture by hundreds of numbers. PCA and t-SNE draw such descriptions in the plane. PCA keeps the directions of largest variance; t-SNE keeps neighbours together, so distances between far groups mean little.",
    ),
    term(
      "Perplexity",
      `is t-SNE's only setting here: about how many neighbours each picture tries to stay close to (${settings.perplexity}, or as many as the pictures allow).`,
    ),
    mapExplorer(found, found.includes(best) ? best : found[0]),
  );
}
