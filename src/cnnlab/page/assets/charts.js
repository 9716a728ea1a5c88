// Charts as SVG, drawn at the width they have: dots, lines, intervals.

const SHAPES = {
  o: (r) => `M${r},0A${r},${r} 0 1 1 ${-r},0A${r},${r} 0 1 1 ${r},0Z`,
  s: (r) => `M${-r},${-r}H${r}V${r}H${-r}Z`,
  "^": (r) => `M0,${-1.2 * r}L${1.1 * r},${0.8 * r}H${-1.1 * r}Z`,
  v: (r) => `M0,${1.2 * r}L${1.1 * r},${-0.8 * r}H${-1.1 * r}Z`,
  "<": (r) => `M${-1.2 * r},0L${0.8 * r},${1.1 * r}V${-1.1 * r}Z`,
  D: (r) => `M0,${-1.2 * r}L${1.2 * r},0L0,${1.2 * r}L${-1.2 * r},0Z`,
  P: (r) => ((a, b) => `M${-a},${-b}H${a}V${-a}H${b}V${a}H${a}V${b}H${-a}V${a}H${-b}V${-a}H${-a}Z`)(0.42 * r, 1.15 * r),
  X: (r) =>
    ((a, b) =>
      `M0,${-a}L${b - a},${-b}L${b},${a - b}L${a},0L${b},${b - a}L${b - a},${b}L0,${a}L${a - b},${b}L${-b},${b - a}L${-a},0L${-b},${a - b}L${a - b},${-b}Z`)(
      0.6 * r,
      1.1 * r,
    ),
  p: (r) => "M" + [0, 1, 2, 3, 4].map((k) => polar(1.1 * r, k / 5)).join("L") + "Z",
  "*": (r) => "M" + [...Array(10).keys()].map((k) => polar((k % 2 ? 0.5 : 1.35) * r, k / 10)).join("L") + "Z",
};
const polar = (r, turn) =>
  `${(r * Math.sin(2 * Math.PI * turn)).toFixed(2)},${(-r * Math.cos(2 * Math.PI * turn)).toFixed(2)}`;
const DASHES = ["", "7 3", "2 3", "10 3 2 3", "5 2 1 2 1 2", "12 4"];

/** A line's entry in a legend: its dashes by its place among the lines, its marker and colour, and a name. */
const seriesKey = ({ colour, marker }, place, name) =>
  h(
    "span",
    { class: "series", style: { "--base": colour } },
    svg(
      "svg",
      { viewBox: "0 -7 30 14", width: 30, height: 14, "aria-hidden": "true" },
      svg("path", { d: "M0,0H30", class: "line", "stroke-dasharray": DASHES[place % DASHES.length] }),
      svg("path", { d: SHAPES[marker](4), transform: "translate(15,0)", class: "dot" }),
    ),
    name,
  );

const text = (x, y, content, attributes = {}) => svg("text", { x, y, ...attributes }, content);
const line = (x1, y1, x2, y2, attributes = {}) => svg("line", { x1, y1, x2, y2, ...attributes });

/** A scale from values to places, with its ticks. */
function scale(low, high, from, to, log = false) {
  const f = log ? Math.log10 : (v) => v;
  const a = f(low),
    b = f(high) === f(low) ? f(low) + 1 : f(high);
  const at = (value) => from + ((f(value) - a) / (b - a)) * (to - from);
  return { at, ticks: log ? logTicks(low, high) : linearTicks(low, high, Math.abs(to - from) / (to < from ? 45 : 58)) };
}

function linearTicks(low, high, most) {
  const raw = (high - low) / Math.max(2, most) || 1,
    power = 10 ** Math.floor(Math.log10(raw));
  const step = power * ([1, 2, 2.5, 5, 10].find((m) => m * power >= raw) || 10);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++)
    ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
}

function logTicks(low, high) {
  const found = (steps) => {
    const ticks = [];
    for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++) {
      for (const m of steps)
        if (m * 10 ** e >= low * 0.999 && m * 10 ** e <= high * 1.001) ticks.push(Number((m * 10 ** e).toPrecision(3)));
    }
    return ticks;
  };
  const coarse = found([1]);
  return coarse.length > 2 ? coarse : found([1, 3]).length > 2 ? found([1, 3]) : found([1, 2, 5]);
}

const range = (values, margin) => {
  const low = Math.min(...values),
    high = Math.max(...values),
    pad = (high - low || Math.abs(high) || 1) * margin;
  return [low - pad, high + pad];
};

/** Frame, grid and axes; `area` is {left, right, top, bottom} in pixels. */
function axes(area, x, y, labels, formats) {
  return svg(
    "g",
    { class: "axes", "aria-hidden": "true" },
    y.ticks.map((v) => [
      line(area.left, y.at(v), area.right, y.at(v), { class: "grid" }),
      text(area.left - 8, y.at(v) + 4, formats[1](v), { "text-anchor": "end" }),
    ]),
    x.ticks.map((v) => [
      line(x.at(v), area.bottom, x.at(v), area.bottom + 5, { class: "tick" }),
      text(x.at(v), area.bottom + 18, formats[0](v), { "text-anchor": "middle" }),
    ]),
    line(area.left, area.bottom, area.right, area.bottom, { class: "axis" }),
    text(area.right, area.bottom + 36, labels[0], { "text-anchor": "end", class: "label" }),
    text(area.left - 8, area.top - 12, labels[1], { "text-anchor": "start", class: "label", dx: -area.left + 8 }),
  );
}

const canvas = (width, height, label, ...children) =>
  svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label }, children);

/** Dots with their intervals and names; dots are {title, x, y, low, high, colour, marker}. */
function dotChart(dots, { label, xlabel, ylabel, xformat, yformat }) {
  return responsive((width) => {
    const height = Math.min(380, Math.max(270, width * 0.66)),
      area = { left: 52, right: width - 14, top: 34, bottom: height - 46 };
    const xs = dots.map((d) => d.x),
      ratio = Math.max(...xs) / Math.min(...xs);
    const log = ratio > 8,
      spread = log ? [Math.min(...xs) / 1.7, Math.max(...xs) * 1.7] : range(xs, 0.2);
    const x = scale(...spread, area.left, area.right, log);
    const y = scale(
      ...range(
        dots.flatMap((d) => [d.low, d.high]),
        0.12,
      ),
      area.bottom,
      area.top,
    );
    const taken = dots.map((d) => ({
      x: x.at(d.x) - 8,
      y: y.at(d.high) - 2,
      w: 16,
      h: y.at(d.low) - y.at(d.high) + 4,
    }));
    return canvas(
      width,
      height,
      label,
      axes(area, x, y, [xlabel, ylabel], [xformat, yformat]),
      dots.map((d) =>
        svg(
          "g",
          { class: "series", style: { "--base": d.colour }, "data-name": d.title },
          svg(
            "title",
            {},
            `${d.title}: ${yformat(d.y)} (${yformat(d.low)} to ${yformat(d.high)}), ${xlabel} ${xformat(d.x)}`,
          ),
          line(x.at(d.x), y.at(d.low), x.at(d.x), y.at(d.high), { class: "interval" }),
          svg("path", { d: SHAPES[d.marker](5.5), transform: `translate(${x.at(d.x)},${y.at(d.y)})`, class: "dot" }),
          named(d.title, x.at(d.x), y.at(d.y), taken, { ...area, right: width }),
        ),
      ),
    );
  });
}

const NAME_WEIGHT = 20; // a name over another cannot be read, one over an interval can
const OUTSIDE = 1e9; // more than any name covers

/** A name next to its dot, where it covers least of intervals and, above all, of other names; `room` is its frame. */
function named(title, x, y, taken, room) {
  const w = title.length * 7 + 4;
  const beside = (row) => [
    [10, 4 + 14 * row, "start"],
    [-10, 4 + 14 * row, "end"],
  ];
  const above = [
    [0, -14, "middle"],
    [0, 24, "middle"],
  ];
  const tries = [...beside(0), ...above, ...[1, -1, 2, -2, 3, -3, 4, -4].flatMap(beside)];
  const box = ([dx, dy, anchor]) => ({
    x: x + dx - (anchor === "end" ? w : anchor === "middle" ? w / 2 : 0),
    y: y + dy - 11,
    w,
    h: 14,
    weight: NAME_WEIGHT,
  });
  const inside = (b) => b.x >= room.left && b.x + b.w <= room.right && b.y >= room.top && b.y + b.h <= room.bottom;
  const shared = (from, length, other, its) => Math.max(0, Math.min(from + length, other + its) - Math.max(from, other));
  const covered = (b) =>
    taken.reduce((sum, t) => sum + (t.weight ?? 1) * shared(b.x, b.w, t.x, t.w) * shared(b.y, b.h, t.y, t.h), 0);
  const costs = tries.map((t) => covered(box(t)) + (inside(box(t)) ? 0 : OUTSIDE));
  const place = tries[costs.indexOf(Math.min(...costs))];
  taken.push(box(place));
  return text(x + place[0], y + place[1], title, { "text-anchor": place[2], class: "name" });
}

/** Curves over one another; series are {title, colour, marker, dash, x, y, faint}. Pointing names the nearest point. */
function lineChart(current, { label, xlabel, xformat }) {
  return responsive((width) => {
    const { series, ylabel, log, yformat } = current();
    const height = Math.min(440, Math.max(300, width * 0.52)),
      area = { left: 52, right: width - (width > 560 ? 76 : 16), top: 34, bottom: height - 46 };
    const all = series.flatMap((s) => s.x.map((v, i) => ({ x: v, y: s.y[i], s }))).filter((p) => Number.isFinite(p.y));
    if (!all.length) return h("p", { class: "note" }, "Every curve is hidden.");
    const xs = all.map((p) => p.x);
    const x = scale(log ? Math.min(...xs) : 0, Math.max(...xs), area.left, area.right, log);
    const y = scale(
      ...range(
        all.map((p) => p.y),
        0.06,
      ),
      area.bottom,
      area.top,
    );
    const taken = series
        .filter((s) => !s.faint)
        .map((s) => ({ x: x.at(s.x.at(-1)) - 5, y: y.at(s.y.at(-1)) - 5, w: 10, h: 10 })),
      readout = svg("g", { class: "readout" });
    const chart = canvas(
      width,
      height,
      label,
      axes(area, x, y, [xlabel, ylabel], [xformat, yformat]),
      series.map((s) =>
        svg(
          "g",
          { class: "series" + (s.faint ? " faint" : ""), style: { "--base": s.colour }, "data-series": s.name },
          svg("path", {
            d: "M" + s.x.map((v, i) => `${x.at(v).toFixed(1)},${y.at(s.y[i]).toFixed(1)}`).join("L"),
            class: "line",
            "stroke-dasharray": s.dash,
          }),
          !s.faint &&
            svg("path", {
              d: SHAPES[s.marker](4),
              transform: `translate(${x.at(s.x.at(-1))},${y.at(s.y.at(-1))})`,
              class: "dot",
            }),
          !s.faint &&
            width > 560 &&
            named(s.title, x.at(s.x.at(-1)), y.at(s.y.at(-1)), taken, { ...area, right: width }),
        ),
      ),
      readout,
    );
    chart.addEventListener("pointermove", (event) => {
      const frame = chart.getBoundingClientRect(),
        px = (event.clientX - frame.left) * (width / frame.width),
        py = (event.clientY - frame.top) * (height / frame.height);
      const far = (p) => (x.at(p.x) - px) ** 2 + (y.at(p.y) - py) ** 2;
      const near = all.reduce((best, p) => (far(p) < far(best) ? p : best));
      const left = x.at(near.x) > width / 2;
      readout.replaceChildren(
        svg("circle", { cx: x.at(near.x), cy: y.at(near.y), r: 6 }),
        text(
          x.at(near.x) + (left ? -10 : 10),
          Math.max(area.top + 4, y.at(near.y) - 10),
          `${near.s.title}${near.s.faint ? ", training" : ""}: ${yformat(near.y)} at ${xformat(near.x)}`,
          { "text-anchor": left ? "end" : "start" },
        ),
      );
    });
    chart.addEventListener("pointerleave", () => readout.replaceChildren());
    return chart;
  });
}

/** Intervals one under another; rows are {title, detail, mean, low, high, dots}. Arrows mark ends beyond the frame.
 *  A row whose low is null has a mean and no interval. */
function intervalChart(rows, { label, xlabel, xformat, zero, limits }) {
  return responsive((width) => {
    const step = 36,
      left = Math.min(190, Math.max(118, width * 0.3)),
      height = rows.length * step + 58;
    const area = { left, right: width - 16, top: 8, bottom: height - 46 };
    const x = scale(...limits, area.left, area.right);
    return canvas(
      width,
      height,
      label,
      svg(
        "g",
        { class: "axes", "aria-hidden": "true" },
        x.ticks.map((v) => [
          line(x.at(v), area.top, x.at(v), area.bottom, { class: "grid" }),
          text(x.at(v), area.bottom + 18, xformat(v), { "text-anchor": "middle" }),
        ]),
        zero !== undefined && line(x.at(zero), area.top, x.at(zero), area.bottom, { class: "zero" }),
        text(area.right, area.bottom + 38, xlabel, { "text-anchor": "end", class: "label" }),
      ),
      rows.map((row, place) => {
        const y = area.top + step * (place + 0.5);
        return svg(
          "g",
          { class: "series", "data-row": row.title, style: { "--base": "var(--accent)" } },
          text(0, y - (row.detail ? 3 : -4), cut(row.title, left / 7.5), { class: "name" }),
          row.detail && text(0, y + 12, cut(row.detail, left / 6.4), { class: "detail" }),
          row.mean !== null && interval(row, y, x, limits, xformat),
        );
      }),
    );
  });
}

function interval(row, y, x, [low, high], format) {
  const inside = (v) => Math.min(Math.max(v, low), high);
  const ends = row.low === null ? [] : [row.low, row.high];
  return [
    svg("title", {}, `${row.title}: ${format(row.mean)}${ends.length ? ` (${ends.map(format).join(" to ")})` : ""}`),
    ends.length > 0 && line(x.at(inside(row.low)), y, x.at(inside(row.high)), y, { class: "interval" }),
    ends.map((end, side) =>
      inside(end) === end
        ? line(x.at(end), y - 4, x.at(end), y + 4, { class: "interval" })
        : svg("path", {
            d: SHAPES["<"](4),
            class: "arrow",
            transform: `translate(${x.at(inside(end))},${y})${side ? " rotate(180)" : ""}`,
          }),
    ),
    (row.dots || []).map((v) => svg("circle", { cx: x.at(inside(v)), cy: y + 10, r: 2.4, class: "seed" })),
    svg("path", { d: SHAPES.D(4.5), class: "dot", transform: `translate(${x.at(inside(row.mean))},${y})` }),
  ];
}
