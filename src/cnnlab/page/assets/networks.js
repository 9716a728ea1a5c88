// One network at a time: confusion, mistakes, feature maps, maps of inner layers.

/** A section that shows one network at a time: show(network) gives its content. */
function byNetwork(id, found, show) {
  if (!found.length) return fill(id, note("There is nothing to show here."));
  const place = h("div", { class: "shown" }),
    draw = (name) => place.replaceChildren(...[show(found.find((n) => n.name === name))].flat(Infinity));
  const first = found.includes(best) ? best : found[0];
  draw(first.name);
  return fill(
    id,
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
                      title: `${names[a]} taken for ${names[p]}: ${counts[a][p]} of ${totals[a]}`,
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
          `${n.title}: answers to ${whole(dataset.n_test)} test pictures, ${seedText}. Rows are the true classes` +
            (shown.length < names.length ? `; the ${MOST_CLASSES} classes of lowest F1 out of ${names.length}.` : "."),
        ),
        h(
          "div",
          {},
          pairs.length
            ? [
                h("h3", {}, "Most often taken for another"),
                h(
                  "ol",
                  { class: "ranked" },
                  pairs.map(([a, p, count]) =>
                    h("li", {}, h("b", {}, names[a]), " for ", names[p], h("span", {}, whole(count))),
                  ),
                ),
              ]
            : prose("Every picture was answered right."),
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
          true,
        ),
        `${n.title}: its most confident mistakes among ${whole(dataset.n_test)} test pictures, ${seedText}; above each picture its true class, then the answer and its calibrated probability.`,
      ),
  );
}

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
              : `What the channels of ${layer} of ${n.title} make of one test picture of each class`,
            true,
          ),
          layer === "filters"
            ? `${n.title}: the filters of its first convolution.`
            : `${n.title}, ${layer}: the channels that vary most, for the first test picture of each class, before the activation.`,
        ),
      ),
  );
}

function embeddings() {
  const found = networks.filter((n) => DATA.maps.networks && DATA.maps.networks[n.name]);
  fill(
    "maps",
    found.length ? mapExplorer(found, found.includes(best) ? best : found[0]) : note("There are no maps to show."),
  );
}
