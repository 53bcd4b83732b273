// Charts that answer the pointer. Where anything here fails, the drawings of the page stay as they are.
(() => {
"use strict";
const NEAR = 28; // pixels within which a point is shown
const EMBED = { ast: true, renderer: "svg", actions: false, tooltip: false, defaultStyle: false, hover: false, logLevel: 1 };

/** A number with five digits and a true minus. */
function number(value) {
  const size = Math.abs(value);
  const text = size >= 1e6 || (size > 0 && size < 1e-4) ? value.toExponential(3) : String(Number(value.toPrecision(5)));
  return text.replace(/-/g, "−");
}

/** Rows as objects, from columns and texts that are stored once. */
function unpacked({ keys, named, texts, rows }) {
  return rows.map((row) => {
    const entry = {};
    keys.forEach((key, k) => {
      if (row[k] !== null) entry[key] = named.includes(key) ? texts[row[k]] : row[k];
    });
    return entry;
  });
}

/** Every drawn item that stands for data, with its place in the drawing. */
function* drawn(mark, x = 0, y = 0) {
  if (/^(axis|legend|title)/.test(mark.role || "")) return;
  for (const item of mark.items) {
    if (mark.marktype === "group") {
      for (const inner of item.items) yield* drawn(inner, x + (item.x || 0), y + (item.y || 0));
    } else if (["symbol", "line", "rect"].includes(mark.marktype) && label(item.datum)) {
      yield { item, kind: mark.marktype, x: x + item.x, y: y + item.y };
    }
  }
}

function label(datum) {
  return datum && (datum.arm || datum.row);
}

class Chart {
  constructor(figure, hidden) {
    this.hidden = hidden;
    this.given = JSON.parse(figure.querySelector("script").textContent);
    this.data = Object.fromEntries(Object.entries(this.given.data).map(([name, table]) => [name, unpacked(table)]));
    this.still = figure.querySelector(".still");
    this.place = document.createElement("div");
    this.place.className = "live";
    this.still.after(this.place);
    this.log = {};
    for (const axis of this.given.log) {
      this.log[axis] = this.given.spec.layer.some((layer) => ((layer.encoding[axis] || {}).scale || {}).type === "log");
    }
  }

  /** The specification for the present width, axes and arms. */
  spec() {
    const spec = structuredClone(this.given.spec);
    spec.datasets = this.data;
    spec.width = this.place.clientWidth;
    spec.params[0].value = this.hidden();
    for (const { encoding } of spec.layer) {
      for (const axis of this.given.log) {
        const channel = encoding[axis];
        if (!channel || channel.type !== "quantitative") continue;
        const { zero, domain, ...scale } = channel.scale || {};
        channel.scale = { ...scale, type: this.log[axis] ? "log" : "linear" };
        if (domain && !(this.log[axis] && domain[0] <= 0)) channel.scale.domain = domain;
        if (!this.log[axis] && zero !== undefined) channel.scale.zero = zero;
      }
    }
    return spec;
  }

  async draw() {
    if (this.view) this.view.finalize();
    const { view } = await vegaEmbed(this.place, this.spec(), EMBED);
    this.view = view;
    const svg = this.place.querySelector("svg");
    svg.setAttribute("aria-hidden", "true"); // its marks have no names; the whole has those of the drawing
    this.place.setAttribute("role", "img");
    this.place.setAttribute("aria-labelledby", this.still.querySelector("svg").getAttribute("aria-labelledby"));
    svg.addEventListener("pointermove", (event) => this.show(event, svg));
    svg.addEventListener("pointerleave", hide);
    this.still.hidden = true;
    this.place.dataset.drawn = "true";
  }

  /** What stands at the pointer, or the nearest point. */
  show(event, svg) {
    const box = svg.getBoundingClientRect();
    const [left, top] = this.corner();
    const x = event.clientX - box.left - left;
    const y = event.clientY - box.top - top;
    let best = null;
    let least = NEAR;
    for (const each of drawn(this.view.scenegraph().root)) {
      let far;
      if (each.kind === "rect") {
        const inside = x >= each.x && x <= each.x + each.item.width && y >= each.y && y <= each.y + each.item.height;
        far = inside ? 0 : Infinity;
      } else {
        const visible = each.x >= -1 && each.y >= -1 && each.x <= this.view.width() + 1 && each.y <= this.view.height() + 1;
        far = visible ? Math.hypot(each.x - x, each.y - y) : Infinity;
      }
      if (far < least) [best, least] = [each, far];
    }
    if (!best) return hide();
    const at = best.kind === "rect" ? [event.clientX, event.clientY] : [best.x + left + box.left, best.y + top + box.top];
    return tell(this.lines(best.item.datum), at, best.kind !== "rect");
  }

  /** Where the plot begins in the drawing, in pixels. */
  corner() {
    const { left, top } = this.view.padding();
    const [x, y] = this.view.origin();
    return [x + left, y + top];
  }

  lines(datum) {
    const values = Object.entries(this.given.titles).filter(([field]) => field in datum).map(([field, title]) => {
      const [low, high] = [datum[`${field}1`], datum[`${field}2`]];
      const interval = low === undefined ? "" : ` [${number(low)}, ${number(high)}]`;
      return `${title}: ${number(datum[field])}${interval}`;
    });
    return [label(datum), ...["run", "part"].filter((key) => key in datum).map((key) => datum[key]), ...values];
  }

  /** Show a part of the axes that is so many times as long, or everything. */
  zoom(factor) {
    if (!factor) return this.draw();
    for (const axis of ["x", "y"]) {
      const scale = this.given.zoom.includes(axis) && this.view.scale(axis);
      if (!scale) continue;
      const [low, high] = scale.domain().map((value) => (this.log[axis] ? Math.log(value) : value));
      const [middle, half] = [(low + high) / 2, (factor * (high - low)) / 2];
      const ends = [middle - half, middle + half].map((value) => (this.log[axis] ? Math.exp(value) : value));
      this.view.signal(`zoom_${axis}`, ends);
    }
    return this.view.runAsync();
  }
}

const tip = document.createElement("div");
const ring = document.createElement("div");
tip.className = "tip";
ring.className = "ring";

function tell(lines, [x, y], ringed) {
  tip.replaceChildren(...lines.map((text, k) => {
    const line = document.createElement(k ? "span" : "strong");
    line.textContent = text;
    return line;
  }));
  document.body.append(tip, ring);
  tip.style.left = `${Math.max(4, Math.min(x + 14, document.documentElement.clientWidth - tip.offsetWidth - 4))}px`;
  tip.style.top = `${y + 18 + tip.offsetHeight > innerHeight ? y - tip.offsetHeight - 12 : y + 14}px`;
  ring.hidden = !ringed;
  ring.style.left = `${x}px`;
  ring.style.top = `${y}px`;
}

function hide() {
  tip.remove();
  ring.remove();
}

function button(text, title, press, pressed) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.title = title;
  if (pressed !== undefined) made.setAttribute("aria-pressed", pressed);
  made.addEventListener("click", () => press(made));
  return made;
}

function tools(chart, name) {
  const bar = document.createElement("div");
  bar.className = "tools";
  bar.setAttribute("role", "group");
  bar.setAttribute("aria-label", `${name}: axes`);
  for (const axis of chart.given.log) {
    bar.append(button(`log ${axis}`, `Logarithmic ${axis} axis`, (made) => {
      chart.log[axis] = !chart.log[axis];
      made.setAttribute("aria-pressed", chart.log[axis]);
      chart.draw();
    }, chart.log[axis]));
  }
  if (chart.given.zoom.length) {
    bar.append(
      button("+", "Zoom in (or Ctrl and the wheel)", () => chart.zoom(0.7)),
      button("−", "Zoom out", () => chart.zoom(1 / 0.7)),
      button("all", "Show everything (or double-click)", () => chart.zoom(0)),
    );
  }
  chart.place.after(bar);
}

/** The charts that share a legend: its boxes switch arms on and off in all of them. */
function group(section) {
  const legend = section.querySelector(".legend");
  const boxes = legend ? [...legend.querySelectorAll("input")] : [];
  const hidden = () => boxes.filter((box) => !box.checked).map((box) => box.value);
  const charts = [];
  const update = () => {
    hide();
    charts.forEach((chart) => chart.view && chart.view.signal("hidden_arms", hidden()).runAsync());
  };
  boxes.forEach((box) => box.addEventListener("change", update));
  const seen = new IntersectionObserver((entries) => entries.filter((entry) => entry.isIntersecting).forEach(({ target }) => {
    seen.unobserve(target);
    start(target).catch((error) => console.warn(`bpfree: the drawing stays as it is: ${error.message}`));
  }), { rootMargin: "600px" });

  async function start(figure) {
    const chart = new Chart(figure, hidden);
    await chart.draw();
    tools(chart, figure.querySelector("figcaption strong").textContent);
    charts.push(chart);
    if (legend) legend.hidden = false;
    let width = chart.place.clientWidth;
    new ResizeObserver(() => {
      if (chart.place.clientWidth === width || !chart.place.clientWidth) return;
      width = chart.place.clientWidth;
      chart.draw();
    }).observe(chart.place);
  }
  section.querySelectorAll("figure.chart").forEach((figure) => seen.observe(figure));
}

if (globalThis.vegaEmbed) document.querySelectorAll(".drawings").forEach(group);
addEventListener("scroll", hide, { passive: true });
})();
