/** The falling error and the learning rate, drawn as SVG at the size of its container. */

const namespace = "http://www.w3.org/2000/svg";
const height = 260;
const margin = { top: 30, right: 46, bottom: 38, left: 40 };
const superscripts = "⁰¹²³⁴⁵⁶⁷⁸⁹";

function make(name, attributes, text) {
  const element = document.createElementNS(namespace, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** A round step that divides `largest` into about four. */
function roundStep(largest) {
  const rough = largest / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= rough);
}

/** [lowest, highest, step] of the error's axis. */
function errorAxis(curve) {
  if (!curve.length) return [0, 10, 2.5];
  const errors = curve.map((point) => point[1]).sort((one, other) => one - other);
  // The first steps of a network can be far off; they may leave the plot at the top.
  const most = errors[Math.floor(0.97 * (errors.length - 1))];
  const span = Math.max(most - errors[0], 0.1 * most, 1e-3);
  const step = roundStep(1.2 * span);
  return [Math.max(0, Math.floor((errors[0] - 0.1 * span) / step)) * step, Math.ceil((most + 0.1 * span) / step) * step, step];
}

export class Plot {
  #container;
  #curve = [];
  #steps = 1;

  constructor(container) {
    this.#container = container;
    new ResizeObserver(() => this.#draw()).observe(container);
  }

  /** curve: [fraction of the work, error, learning rate] of each point. */
  show(curve, steps) {
    this.#curve = curve;
    this.#steps = steps;
    this.#draw();
  }

  #draw() {
    const curve = this.#curve;
    const width = this.#container.clientWidth;
    if (width <= margin.left + margin.right) return;
    const right = width - margin.right;
    const bottom = height - margin.bottom;
    const last = curve.at(-1);
    const spoken = last ? `Error ${last[1].toFixed(1)} per cent of the first estimate's, learning rate ${last[2].toPrecision(2)}` : "Nothing learned yet";
    const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": spoken });

    const clip = make("clipPath", { id: "plot-clip" });
    clip.append(make("rect", { x: margin.left, y: margin.top, width: right - margin.left, height: bottom - margin.top }));
    svg.append(clip);

    const across = (fraction) => margin.left + fraction * (right - margin.left);
    for (const fraction of [0, 0.25, 0.5, 0.75, 1]) {
      svg.append(make("text", { x: across(fraction), y: bottom + 16, "text-anchor": "middle" }, `${100 * fraction}`));
    }
    const work = this.#steps > 1 ? "per cent of the work; each step learns anew" : "per cent of the work";
    svg.append(make("text", { x: across(0.5), y: bottom + 33, "text-anchor": "middle" }, work));

    const [least, most, step] = errorAxis(curve);
    const errorHeight = (error) => bottom - ((error - least) / (most - least)) * (bottom - margin.top);
    for (let tick = least; tick <= most + step / 2; tick += step) {
      const y = errorHeight(tick);
      svg.append(make("line", { class: "grid", x1: margin.left, x2: right, y1: y, y2: y }));
      svg.append(make("text", { x: margin.left - 6, y: y + 4, "text-anchor": "end" }, String(Number(tick.toPrecision(4)))));
    }

    const rates = curve.map((point) => point[2]).filter((rate) => rate > 0);
    const upper = rates.length ? Math.ceil(Math.log10(Math.max(...rates)) - 1e-9) : -2;
    const lower = Math.min(rates.length ? Math.floor(Math.log10(Math.min(...rates)) + 1e-9) : -5, upper - 2);
    const rateHeight = (rate) => margin.top + ((upper - Math.log10(rate)) / (upper - lower)) * (bottom - margin.top);
    for (let power = lower; power <= upper; power += 1) {
      const digits = [...String(Math.abs(power))].map((digit) => superscripts[digit]).join("");
      svg.append(make("text", { x: right + 6, y: rateHeight(10 ** power) + 4 }, `10${power < 0 ? "⁻" : ""}${digits}`));
    }

    svg.append(make("text", { class: "error-name", x: 0, y: 14 }, "— error, % of the first estimate's"));
    svg.append(make("text", { class: "rate-name", x: width, y: 14, "text-anchor": "end" }, "- - learning rate"));
    const line = (points) => points.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join(" ");
    const lines = make("g", { "clip-path": "url(#plot-clip)" });
    lines.append(
      make("polyline", { class: "rate-line", points: line(curve.filter((point) => point[2] > 0).map((point) => [across(point[0]), rateHeight(point[2])])) }),
      make("polyline", { class: "error-line", points: line(curve.map((point) => [across(point[0]), errorHeight(point[1])])) }),
    );
    svg.append(lines);
    this.#container.replaceChildren(svg);
  }
}
