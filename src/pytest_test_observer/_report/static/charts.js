// Charts by uPlot. They take their colours from the page's style and are drawn anew when the theme or the width changes.

const drawn = new Set();
const probe = make("i", { hidden: true });
const HEIGHT = 190;

function color(name) {
  if (!probe.isConnected) document.body.append(probe);
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

function redrawCharts() {
  for (const chart of drawn) chart.draw();
}

// `series`: {name, color, values, kind: "bars" | "line", dash}; bars of one chart stand on each other unless `beside`.
// `labels[i]` is written below place i, `say(i)` is the sentence about it.
function chart(figure, { title, labels, series, format, steps, say, hint, beside = false, hidden: unseen = [] }) {
  const hidden = new Set(unseen);
  const readout = make("p", { class: "readout" });
  const plot = make("div", { class: "plot", tabindex: "0", role: "group", "aria-label": `${title}: ${hint}. Arrow keys move.` });
  const entries = series.map((one) => button([make("i", { class: "swatch", style: { "--c": `var(--${one.color})` } }), one.name], (event) => {
    hidden.has(one.name) ? hidden.delete(one.name) : hidden.add(one.name);
    event.currentTarget.setAttribute("aria-pressed", String(!hidden.has(one.name)));
    self.draw();
  }, { "aria-pressed": String(!hidden.has(one.name)), title: `Show or hide ${one.name}` }));
  figure.replaceChildren(
    make("figcaption", {}, title, make("span", { class: "legend" }, series.length > 1 ? entries : "")), plot, readout);
  let shown = null;
  let at = labels.length - 1;

  function tell(place) {
    readout.textContent = place === null || place === undefined ? hint : say(place);
  }

  function stacked() {
    const below = labels.map(() => 0);
    return series.filter((one) => !hidden.has(one.name)).map((one) => {
      if (beside || one.kind !== "bars") return { ...one, drawn: one.values };
      return { ...one, drawn: one.values.map((value, place) => (below[place] += value)) };
    });
  }

  const self = {
    draw() {
      shown?.destroy();
      const width = plot.clientWidth;
      if (!width) return;
      // the highest of a stack is drawn first, those below it over it
      const layers = stacked().reverse();
      const axis = { stroke: color("soft"), grid: { stroke: color("grid"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
      const bars = beside ? layers.length : 0;
      shown = new uPlot({
        width, height: HEIGHT, legend: { show: false }, padding: [8, 8, 0, 0],
        cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
        scales: { x: { time: false, range: [-0.6, labels.length - 0.4] }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.06 : 1] } },
        axes: [
          { ...axis, grid: { show: false }, size: 28, space: 80, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000],
            values: (_, places) => places.map((place) => labels[place] ?? "") },
          { ...axis, size: 58, incrs: steps, values: (_, values) => values.map(format) },
        ],
        series: [{}, ...layers.map((one, index) => ({
          label: one.name, stroke: one.kind === "bars" ? undefined : color(one.color), fill: one.kind === "bars" ? color(one.color) : undefined,
          width: one.kind === "bars" ? 0 : 2, dash: one.dash, spanGaps: true, points: { show: one.kind !== "bars", size: 5, fill: color(one.color) },
          paths: one.kind === "bars" ? uPlot.paths.bars({ size: [bars ? 0.8 / bars : 0.78, 60], align: bars ? (index === 0 ? 1 : -1) : 0 }) : undefined,
        }))],
        hooks: { setCursor: [(u) => tell(u.cursor.idx)] },
      }, [labels.map((_, place) => place), ...layers.map((one) => one.drawn)], plot);
    },
  };
  plot.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -labels.length, End: labels.length }[event.key];
    if (!step || !shown) return;
    event.preventDefault();
    at = Math.max(0, Math.min(labels.length - 1, at + step));
    shown.setCursor({ left: shown.valToPos(at, "x"), top: HEIGHT / 3 });
    tell(at);
  });
  plot.addEventListener("focus", () => readout.setAttribute("aria-live", "polite"));
  plot.addEventListener("blur", () => { readout.removeAttribute("aria-live"); tell(null); });
  let width = 0;
  const observer = new ResizeObserver(() => {
    if (!plot.isConnected) observer.disconnect();
    else if (plot.clientWidth !== width) { width = plot.clientWidth; self.draw(); }
  });
  observer.observe(plot);
  tell(null);
  for (const old of drawn) if (old.figure === figure) drawn.delete(old);
  drawn.add(Object.assign(self, { figure }));
}
